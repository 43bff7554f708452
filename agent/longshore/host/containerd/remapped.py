"""A snapshot as mounted for a container that has a user namespace.

The layers of the image are taken from a folder where they are mounted with other owners
(host/userns.py); the container's own layer stays where it is. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longshore.errors import HostFailed
from longshore.host.containerd import layers
from longshore.pb.containerd import types_pb2

_LOWER, _UPPER = "lowerdir=", "upperdir="


def common(found: Sequence[Any], id: str) -> Path:
    """The folder that has all layers of the snapshot (containerd's mounts of it) in it.

    Raises:
        HostFailed: the snapshotter does not stack folders.
    """
    try:
        folders = layers.folders([(one.type, one.source, one.options) for one in found])
    except ValueError as error:
        raise HostFailed(
            f"cannot move the users of the snapshot of {id}: {error}", object=id
        ) from error
    return Path(os.path.commonpath(folders))


def own(found: Sequence[Any]) -> list[Path]:
    """The folder that the container writes to."""
    uppers = [
        option.removeprefix(_UPPER)
        for one in found
        for option in one.options
        if option.startswith(_UPPER)
    ]
    # Of an image without a layer there is nothing else.
    return [Path(one) for one in uppers or [one.source for one in found]]


def mounts(found: Sequence[Any], id: str, seen: Path) -> list[types_pb2.Mount]:
    """The snapshot's mounts with the layers of the image from `seen`, which is `common` mounted
    once more.

    Raises:
        HostFailed: as `common`.
    """
    top = common(found, id)

    def moved(option: str) -> str:
        if not option.startswith(_LOWER):
            return option
        lower = option.removeprefix(_LOWER).split(":")
        return _LOWER + ":".join(str(seen / Path(one).relative_to(top)) for one in lower)

    return [
        types_pb2.Mount(type=one.type, source=one.source, options=[*map(moved, one.options)])
        for one in found
    ]
