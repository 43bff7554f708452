"""btrfs's ioctls for subvolumes and their quota groups, which Python does not have.

All of them raise OSError. Structures and numbers: the kernel's include/uapi/linux/btrfs.h and
btrfs_tree.h; what lies in the quota tree, Documentation/filesystems/btrfs and btrfs-quota(8).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MAGIC = 0x94
_WRITE, _READ = 1 << 30, 2 << 30
_U64_MAX = 2**64 - 1
_ROOT_TREE, _QUOTA_TREE = 1, 8
#: Types of keys.
_ROOT_ITEM, _ROOT_BACKREF = 132, 144
_STATUS, _INFO, _LIMIT, _RELATION = 240, 242, 244, 246
#: Of a search: what is wanted (tree, range of the key's three parts), and one item's header.
_KEY = struct.Struct("=7Q4I4Q")
_HEADER = struct.Struct("=3Q2I")
_SEARCH_SIZE = 4096
_LIMITS = struct.Struct("=6Q")
_MAX_RFER, _MAX_EXCL = 1, 2
_ENABLE, _ENABLE_SIMPLE = 1, 4
_ON, _RESCANS, _INCONSISTENT, _SIMPLE = 1, 2, 4, 8
#: Inode of every subvolume's root folder, and the lowest number that a subvolume can have but for
#: the file system's own.
FIRST_FREE = 256
_LEVEL = 48
_LAST_FREE = (1 << _LEVEL) - 1
#: Object, type and offset.
_Key = tuple[int, int, int]
_LAST_KEY: _Key = (_U64_MAX, _RELATION, _U64_MAX)
#: As many as the answer holds.
_MANY = 2**32 - 1


@dataclass(frozen=True)
class Mode:
    """How quota is kept.

    Attributes:
        simple: an extent counts for the subvolume that wrote it; else for whom nobody shares it
            with, which the kernel finds out by walking.
        stale: the numbers are wrong, and nothing is held to its limit until a rescan.
    """

    simple: bool
    stale: bool


@dataclass(frozen=True)
class Groups:
    """Quota groups by number: level << 48 | a subvolume's number (level 0), or any.

    Attributes:
        used: bytes; as of the last transaction, so up to half a minute old.
        limits: bytes, of those that have a limit.
        members: group → those of lower levels that count for it as well.
    """

    used: Mapping[int, int]
    limits: Mapping[int, int]
    members: Mapping[int, Set[int]]


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor by which the ioctls find the file system."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def level(group: int) -> int:
    return group >> _LEVEL


def group_at(level: int, number: int) -> int:
    return level << _LEVEL | number


def mode(fd: int) -> Mode | None:
    """None: quota is off."""
    data = _item(fd, _QUOTA_TREE, 0, _STATUS, 0)
    flags = struct.unpack_from("=3Q", data)[2] if data else 0
    if not flags & _ON:
        return None
    return Mode(bool(flags & _SIMPLE), bool(flags & _INCONSISTENT) and not flags & _RESCANS)


def groups(fd: int) -> Groups:
    """All there are; none while quota is off."""
    used, limits = {}, {}
    members: dict[int, set[int]] = {}
    for objectid, kind, offset, data in _search(fd, _QUOTA_TREE, (0, _INFO, 0), _LAST_KEY):
        if kind == _INFO:
            used[offset] = struct.unpack_from("=4Q", data)[3]
        elif kind == _LIMIT and (limit := _limit(data)) is not None:
            limits[offset] = limit
        # Each relation is there twice, once from either end.
        elif kind == _RELATION and level(objectid) < level(offset):
            members.setdefault(offset, set()).add(objectid)
    return Groups(used, limits, members)


def limit_of(fd: int, group: int) -> int | None:
    """Bytes; None: it has no limit, or is not there."""
    data = _item(fd, _QUOTA_TREE, 0, _LIMIT, group)
    return _limit(data) if data else None


def members_of(fd: int, group: int) -> list[int]:
    found = _search(fd, _QUOTA_TREE, (group, _RELATION, 0), (group, _RELATION, _U64_MAX))
    return [offset for _, _, offset, _ in found if level(offset) < level(group)]


def enable_quota(fd: int) -> None:
    """Simple quota where the kernel has it (6.7); else the accounting kind, which is slower."""
    for kind in (_ENABLE_SIMPLE, _ENABLE):
        try:
            _ioctl(fd, _READ | _WRITE, 40, struct.pack("=2Q", kind, 0))
        except OSError as error:
            if error.errno == errno.EINVAL and kind != _ENABLE:
                continue
            raise
        return


def rescan(fd: int) -> None:
    """Begins to count anew, in the background. One that is under way is fine."""
    try:
        _ioctl(fd, _WRITE, 44, struct.pack("=8Q", *[0] * 8))
    except OSError as error:
        if error.errno != errno.EINPROGRESS:
            raise


def make_group(fd: int, group: int) -> None:
    """One that is there is fine."""
    try:
        _ioctl(fd, _WRITE, 42, struct.pack("=2Q", 1, group))
    except FileExistsError:
        return


def remove_group(fd: int, group: int) -> bool:
    """False: it has members, or what its subvolume wrote is still there. Gone already is fine."""
    try:
        _ioctl(fd, _WRITE, 42, struct.pack("=2Q", 0, group))
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def join(fd: int, member: int, group: int) -> None:
    """What counts for `member` counts for `group` too. A member already is fine."""
    try:
        _ioctl(fd, _WRITE, 41, struct.pack("=3Q", 1, member, group))
    except FileExistsError:
        return


def leave(fd: int, member: int, group: int) -> None:
    """No member is fine."""
    try:
        _ioctl(fd, _WRITE, 41, struct.pack("=3Q", 0, member, group))
    except FileNotFoundError:
        return


def set_limit(fd: int, group: int, size: int | None, *, exclusive: bool) -> None:
    """Bytes of all it can see, or of what is exclusively its own. None: no limit."""
    flag = _MAX_EXCL if exclusive else _MAX_RFER
    # All ones mean: take this limit away.
    value = _U64_MAX if size is None else size
    sizes = (0, value) if exclusive else (value, 0)
    _ioctl(fd, _READ, 43, _LIMITS.pack(group, flag, *sizes, 0, 0))


def subvolumes(fd: int) -> set[int]:
    """Numbers, also of those that are deleted and not all gone yet."""
    first, last = (FIRST_FREE, _ROOT_ITEM, 0), (_LAST_FREE, _ROOT_ITEM, _U64_MAX)
    return {
        number for number, kind, _, _ in _search(fd, _ROOT_TREE, first, last) if kind == _ROOT_ITEM
    }


def subvolume_of(fd: int) -> int:
    """Number of the subvolume that an open file or folder is in."""
    data = _ioctl(fd, _READ | _WRITE, 18, struct.pack("=2Q4080x", 0, FIRST_FREE))
    number: int = struct.unpack_from("=Q", data)[0]
    return number


def name_of(fd: int, subvolume: int) -> str | None:
    """Under which it is in the folder where it was made; None if it is gone."""
    first, last = (subvolume, _ROOT_BACKREF, 0), (subvolume, _ROOT_BACKREF, _U64_MAX)
    found = _search(fd, _ROOT_TREE, first, last)
    for _, _, _, data in found:
        size = struct.unpack_from("=2QH", data)[2]
        return os.fsdecode(data[18 : 18 + size])
    return None


def _ioctl(fd: int, direction: int, number: int, data: bytes) -> bytearray:
    buffer = bytearray(data)
    fcntl.ioctl(fd, direction | len(buffer) << 16 | _MAGIC << 8 | number, buffer, True)
    return buffer


def _limit(data: bytes) -> int | None:
    which, referenced, exclusive = struct.unpack_from("=3Q", data)
    sizes = ((_MAX_RFER, referenced), (_MAX_EXCL, exclusive))
    return min((size for flag, size in sizes if which & flag), default=None)


def _item(fd: int, tree: int, *key: int) -> bytes | None:
    objectid, kind, offset = key
    found = _search(fd, tree, (objectid, kind, offset), (objectid, kind, offset))
    return next((data for _, _, _, data in found), None)


def _search(fd: int, tree: int, first: _Key, last: _Key) -> Iterator[tuple[int, int, int, bytes]]:
    """Items of a tree whose keys lie between the two, these included: the three parts of a key
    are one long number. Each item's key, and its content. No such tree: none."""
    while first <= last:
        key = _KEY.pack(
            tree, first[0], last[0], first[2], last[2], 0, _U64_MAX, first[1], last[1], _MANY,
            *[0] * 5,
        )  # fmt: skip
        try:
            data = _ioctl(fd, _READ | _WRITE, 17, key.ljust(_SEARCH_SIZE, b"\0"))
        except FileNotFoundError:
            return
        count = _KEY.unpack_from(data)[9]
        at = _KEY.size
        for _ in range(count):
            _, objectid, offset, kind, size = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            yield objectid, kind, offset, bytes(data[at : at + size])
            at += size
            first = _after(objectid, kind, offset)
        if not count:
            return


def _after(objectid: int, kind: int, offset: int) -> _Key:
    following = (objectid << 72 | kind << 64 | offset) + 1
    return following >> 72, following >> 64 & 0xFF, following & _U64_MAX
