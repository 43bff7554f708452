"""Files with exact content, owner and mode, which are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longshore.errors import InvalidSpec
from longshore.model.host import Ids

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
#: (user, group) on the node.
Owner = tuple[int, int]
ROOT: Owner = (0, 0)


def owner_of(ids: Ids | None, uid: int, gid: int, field: str) -> Owner:
    """The node's numbers for those of a container.

    Args:
        ids: its user namespace, None if it has none.
        field: of the request, which has `uid` and `gid`.

    Raises:
        InvalidSpec: its user namespace has no such number.
    """
    if ids is None:
        return uid, gid
    return _outside(ids, uid, f"{field}.uid"), _outside(ids, gid, f"{field}.gid")


def place(
    file: Path, data: bytes, *, mode: int = 0o644, owner: Owner = ROOT, durable: bool = False
) -> None:
    """Puts a new file there, instead of what may be there already.

    Args:
        durable: the content is on the disk before the name is; the name is when its folder has
            been synced.

    Raises:
        OSError: and nothing has changed.
    """
    new = file.with_name(f".{file.name}.new")
    # Nobody else's before it says what it should: what a killed agent left may be another file.
    new.unlink(missing_ok=True)
    with _opened(new) as fd:
        # Before the mode: a change of owner takes setuid away.
        os.fchown(fd, *owner)
        os.fchmod(fd, mode)
        with open(fd, "wb", closefd=False) as opened:
            opened.write(data)
        if durable:
            os.fsync(fd)
    new.replace(file)


def sync_folder(folder: Path) -> None:
    """The names in it are on the disk when it returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _opened(new: Path) -> Iterator[int]:
    fd = os.open(new, _NEW, 0o600)
    try:
        yield fd
    except OSError:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _outside(ids: Ids, number: int, field: str) -> int:
    try:
        return ids.outside(number)
    except ValueError as error:
        why = f"the container's user namespace has no such number: {error}"
        raise InvalidSpec(
            f"cannot give a file to {number}: {why}",
            field=field,
            details={"faults": [{"field": field, "why": why}]},
        ) from error
