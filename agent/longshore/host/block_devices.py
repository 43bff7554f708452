"""Disks of the node, as limits of block I/O name them. Asks sysfs; touches no disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

_DEV = "/dev/"
#: I/O schedulers that know weights (CFQ before Linux 5.0).
_WEIGHING = ("[bfq]", "[cfq]")

Number = tuple[int, int]


def disk_number(path: str, sys: Path = Path("/sys")) -> Number:
    """Major and minor number of a whole disk.

    Raises:
        ValueError: why its I/O cannot be limited.
    """
    # Elsewhere a path may lie on a file system that does not answer.
    if not path.startswith(_DEV) or ".." in Path(path).parts:
        raise ValueError(f"{path} is not beneath /dev")
    try:
        found = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if not stat.S_ISBLK(found.st_mode):
        raise ValueError(f"{path} is no block device")
    number = os.major(found.st_rdev), os.minor(found.st_rdev)
    folder = sys / "dev/block" / text(number)
    if not folder.exists():
        raise ValueError(f"{path}: there is no disk behind it")
    if (folder / "partition").exists():
        disk = folder.resolve().parent.name
        raise ValueError(f"{path} is a partition, and the kernel limits whole disks: {_DEV}{disk}")
    return number


def disk_numbers(paths: Iterable[str]) -> dict[str, Number]:
    """By path, of those that are whole disks (still)."""
    found = {}
    for path in paths:
        try:
            found[path] = disk_number(path)
        except ValueError:
            continue
    return found


def text(number: Number) -> str:
    """`8:0`, as cgroup files and sysfs have it."""
    return f"{number[0]}:{number[1]}"


def any_weighs(sys: Path = Path("/sys")) -> bool:
    """Whether a disk of the node has a scheduler that goes by the weights of cgroups."""
    for file in sorted((sys / "block").glob("*/queue/scheduler")):
        try:
            if any(one in file.read_text() for one in _WEIGHING):
                return True
        except OSError:
            continue  # unplugged just now
    return False
