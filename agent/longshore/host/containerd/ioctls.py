"""Calls of ioctl that a container with a disk limit may not make: they would lead around it.

Whoever owns a file may move it to another project, or have a folder not hand its project on; and
whoever may write to a folder of btrfs may make subvolumes there. A seccomp filter lists what is
allowed, and cannot say 'none of these': so it lists all other numbers, by their leading bits. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

#: include/uapi/linux/fs.h and btrfs.h: FS_IOC_FSSETXATTR; FS_IOC_SETFLAGS and what it is for
#: programs of 32 bits; BTRFS_IOC_SNAP_CREATE and BTRFS_IOC_SUBVOL_CREATE, both old and new.
AROUND_QUOTA = frozenset(
    {0x401C5820, 0x40086602, 0x40046602, 0x50009401, 0x5000940E, 0x50009417, 0x50009418}
)
#: The kernel looks at no more of the argument.
_BITS = 32


def all_but(numbers: Collection[int]) -> list[dict[str, Any]]:
    """Conditions on ioctl's second argument, as the OCI spec has them: each number that is not one
    of these meets exactly one, and these meet none."""
    return [
        {"index": 1, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        for mask, value in _others(frozenset(numbers), 0, _BITS)
    ]


def _others(numbers: frozenset[int], begin: int, free: int) -> Iterator[tuple[int, int]]:
    """Mask and value of what begins so, its last `free` bits being anything, without `numbers`."""
    if not numbers:
        yield (1 << _BITS) - (1 << free), begin
    elif free:
        half = 1 << (free - 1)
        for start in (begin, begin + half):
            inside = frozenset(one for one in numbers if start <= one < start + half)
            yield from _others(inside, start, free - 1)
