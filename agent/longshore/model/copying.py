"""Copying a container's files: what is known of them before anybody looks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.model.host import Ids, User
from longshore.model.mounts import Mount
from longshore.model.names import Names


@dataclass(frozen=True)
class Files:
    """A container's files, to be looked at or written to.

    Args:
        name: the container's, for messages.
        runs: they are seen as its first process sees them. Else as far as they are there: its own
            layer, its volumes and binds, but nothing that is in memory alone.
        mounts: all that is bound into it (`with_anonymous`).
        ids: of its user namespace.
        read_only: whether its own layer is.
    """

    names: Names
    name: str
    runs: bool
    mounts: Sequence[Mount]
    ids: Ids | None
    read_only: bool = False


@dataclass(frozen=True)
class Unpacking:
    """How a tar is unpacked.

    Args:
        owner: whose everything is to be; None: as the tar says.
        replace: whether a folder may take the place of something else, and the reverse.
    """

    owner: User | None
    replace: bool
