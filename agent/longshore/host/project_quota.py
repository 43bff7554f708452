"""Limits of folders on xfs and ext4: project quota, by ioctl and quotactl_fd.

A container's folders get a project number made from its id. Who has which number, the folders say
themselves: they get it before the project gets its limit. So a project that has a limit and no
files is a container's that is gone, and one that has either is not free.

Structures: include/uapi/linux/quota.h and fs.h; quotactl(2), ioctl_xfs_fsgetxattr(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from longshore.model.names import Names

_LIBC = ctypes.CDLL(None, use_errno=True)
#: The same on every architecture; Linux 5.14.
_SYS_QUOTACTL_FD = 443
_PRJQUOTA = 2
_GET, _SET, _GET_NEXT = 0x800007, 0x800008, 0x800009
_FSGETXATTR, _FSSETXATTR = 0x801C581F, 0x401C5820
_FSXATTR = struct.Struct("=5I8x")
_PROJINHERIT = 0x200
#: struct if_nextdqblk: hard and soft limit in blocks of 1024, bytes used; the same of inodes (no
#: blocks); two times; which of these are meant; the project's number. if_dqblk ends before that.
_DQBLK = struct.Struct("=8Q2I")
_BLOCK = 1024
_QIF_BLIMITS, _QIF_ILIMITS = 1, 4
#: Bytes of the limit for which there may be one file, and how many there may be in any case.
_FILE, _FILES_MIN = 4096, 1024
#: The file system has no such quota, or it is off; the kernel is too old, or forbids it.
_OFF = (errno.ESRCH, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
#: Ours: so many from here on, far from the small numbers that people choose.
_FIRST, _COUNT = 1 << 30, 1 << 30


@dataclass(frozen=True)
class _Project:
    """`limit` in bytes, None for none; `inodes`: how many files it has."""

    number: int
    limit: int | None
    inodes: int


@dataclass(frozen=True)
class ProjectQuota:
    """Of the file system that `folder` is in. All of it raises OSError."""

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_on(self) -> bool:
        with _opened(self.folder) as fd:
            try:
                _next(fd, _FIRST)
            except OSError as error:
                if error.errno in _OFF:
                    return False
                raise
        return True

    def any_limited(self) -> bool:
        """Clears away the limits of containers that are gone."""
        with self._lock, _opened(self.folder) as fd:
            return _clear(fd)

    def limit(self, names: Names, folders: Sequence[Path], size: int) -> None:
        """Of all that is made in the folders from now on, together; rounded down to 1024 bytes. And
        of files, by the size of a block: ext4 has no more than it was made with, for everybody."""
        with self._lock, _opened(self.folder) as fd:
            number = next(filter(None, map(_number_of, folders)), None) or _free(fd, names)
            for folder in folders:
                _assign(folder, number)
            _set_limit(fd, number, size)

    def read(self, names: Names, folders: Sequence[Path]) -> int | None:
        """None: there is no limit, or not all of the folders are under it."""
        numbers = {_number_of(folder) for folder in folders}
        if len(numbers) != 1 or (number := numbers.pop()) is None:
            return None
        with _opened(self.folder) as fd:
            return _project(fd, number).limit

    def remove(self, names: Names, folders: Sequence[Path]) -> None:
        """The files keep their number, which then stands for nothing."""
        with self._lock, _opened(self.folder) as fd:
            for number in set(filter(None, map(_number_of, folders))):
                _set_limit(fd, number, 0)
            _clear(fd)


def _free(fd: int, names: Names) -> int:
    """The number that the id makes, or the next that nobody has."""
    start = int.from_bytes(hashlib.sha256(names.id.encode()).digest()[:4], "big")
    for step in range(_COUNT):
        number = _FIRST + (start + step) % _COUNT
        found = _project(fd, number)
        if found.limit is None and not found.inodes:
            return number
    raise OSError(errno.ENOSPC, "every project number has files")


def _clear(fd: int) -> bool:
    """Takes limits from projects of ours without files; whether one with files has a limit."""
    any_left = False
    for project in list(_projects(fd)):
        if project.limit is not None and project.inodes:
            any_left = True
        elif project.limit is not None:
            _set_limit(fd, project.number, 0)
    return any_left


def _projects(fd: int) -> Iterator[_Project]:
    """Ours, of which the file system knows anything, by number."""
    found = _next(fd, _FIRST)
    while found is not None:
        yield found
        found = _next(fd, found.number + 1)


def _next(fd: int, number: int) -> _Project | None:
    """The first of ours from there on."""
    try:
        data = _quotactl(fd, _GET_NEXT, number, bytes(_DQBLK.size))
    except FileNotFoundError:
        return None
    found = _DQBLK.unpack(data)[9]
    return _parse(found, data) if number <= found < _FIRST + _COUNT else None


def _project(fd: int, number: int) -> _Project:
    try:
        return _parse(number, _quotactl(fd, _GET, number, bytes(_DQBLK.size)))
    except FileNotFoundError:
        return _Project(number, None, 0)


def _parse(number: int, data: bytes) -> _Project:
    hard, _, _, _, _, inodes, *_ = _DQBLK.unpack(data)
    return _Project(number, hard * _BLOCK or None, inodes)


def _set_limit(fd: int, number: int, size: int) -> None:
    """0: none."""
    blocks = size // _BLOCK
    files = max(_FILES_MIN, size // _FILE) if size else 0
    limited = _QIF_BLIMITS | _QIF_ILIMITS
    data = _DQBLK.pack(blocks, blocks, 0, files, files, 0, 0, 0, limited, 0)
    _quotactl(fd, _SET, number, data)


def _quotactl(fd: int, command: int, number: int, data: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data, len(data))
    which = ctypes.c_uint(command << 8 | _PRJQUOTA)
    done = _LIBC.syscall(
        ctypes.c_long(_SYS_QUOTACTL_FD), ctypes.c_uint(fd), which, ctypes.c_uint(number), buffer
    )
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw


def _number_of(folder: Path) -> int | None:
    """Its project, if what is made in it will be in that too and it is one of ours."""
    with _opened(folder) as fd:
        flags, _, _, number, _ = _FSXATTR.unpack(_fsxattr(fd))
    is_ours = _FIRST <= number < _FIRST + _COUNT
    return number if is_ours and flags & _PROJINHERIT else None


def _assign(folder: Path, number: int) -> None:
    with _opened(folder) as fd:
        flags, extent, extents, _, cow = _FSXATTR.unpack(_fsxattr(fd))
        new = _FSXATTR.pack(flags | _PROJINHERIT, extent, extents, number, cow)
        fcntl.ioctl(fd, _FSSETXATTR, bytearray(new), True)


def _fsxattr(fd: int) -> bytes:
    buffer = bytearray(_FSXATTR.size)
    fcntl.ioctl(fd, _FSGETXATTR, buffer, True)
    return bytes(buffer)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
