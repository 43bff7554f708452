"""Snapshots of containerd's snapshotter btrfs: each is a subvolume, named by its number."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longshore.host import btrfs

_SUBVOLUME = "subvolid="
#: Of its root; those that are mounted read-only or are layers are in others.
_WRITABLE = "active"


def number(found: Sequence[Any]) -> int | None:
    """The subvolume that a snapshot's mounts (containerd's messages) name; None if none does."""
    numbers = [
        int(option.removeprefix(_SUBVOLUME))
        for one in found
        if one.type == "btrfs"
        for option in one.options
        if option.startswith(_SUBVOLUME)
    ]
    return numbers[0] if numbers else None


def folder(root: Path, number: int, kind: str = _WRITABLE) -> Path:
    """Where a snapshot, a writable one by default, can be seen, beneath the snapshotter's root.

    Args:
        kind: `active`, or `view` of one that is read-only.

    Raises:
        OSError: it is not there.
    """
    with btrfs.opened(root) as fd:
        name = btrfs.name_of(fd, number)
    found = root / kind / (name or str(number))
    with btrfs.opened(found) as fd:
        if btrfs.subvolume_of(fd) != number:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(found))
    return found
