"""Paths in a container's view: opened beneath its root, and never what is no file of its own.

Whoever runs in there may swap any file for a link, a pipe or a device at any moment. So nothing is
opened for its content before it is known, by a descriptor that opens nothing (O_PATH), to be a
regular file or a folder; and what the kernel itself makes up (/proc, /sys) is not gone into: the
agent would see more there than the container may.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from longshore.errors import InvalidRequest, PathNotFound
from longshore.host.mounts import open_in_root
from longshore.host.views import View

_LIBC = ctypes.CDLL(None, use_errno=True)
_TRIES = 16
#: f_type of statfs(2) of what holds no files of anybody: proc, sysfs, devpts, cgroup and cgroup2,
#: mqueue, debugfs, tracefs, securityfs, bpf, pstore, configfs, efivarfs, binfmt_misc.
_KERNELS = frozenset(
    {
        *(0x9FA0, 0x62656572, 0x1CD1, 0x27E0EB, 0x63677270, 0x19800202, 0x64626720, 0x74726163),
        *(0x73636673, 0xCAFE4A11, 0x6165676C, 0x62656570, 0xDE5E81E4, 0x42494E4D),
    }
)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@contextmanager
def found(view: View, path: str, *, follow: bool) -> Iterator[int]:
    """An O_PATH descriptor of what is at the path.

    Raises:
        PathNotFound: nothing, or what leads through a link of /proc.
        InvalidRequest: it is the kernel's own.
        OSError: as it says.
    """
    fd = _opened(view, path, follow=follow)
    try:
        if is_kernels(fd):
            raise InvalidRequest(
                f"cannot copy {path}: it is in a file system of the kernel's own",
                field="path",
                object=path,
            )
        yield fd
    finally:
        os.close(fd)


def _opened(view: View, path: str, *, follow: bool) -> int:
    for left in reversed(range(_TRIES)):
        try:
            return open_in_root(view.root, path, follow=follow)
        except OSError as error:
            # While somebody renames things in there the kernel cannot tell.
            if error.errno == errno.EAGAIN and left:
                continue
            if error.errno in _GONE:
                raise PathNotFound(
                    f"cannot find {path} in the container: {error.strerror}",
                    field="path",
                    object=path,
                ) from error
            raise
    raise AssertionError("the last try returns or raises")


def is_kernels(fd: int) -> bool:
    """Whether what is opened (O_PATH does) is of a file system of the kernel's own."""
    buffer = (ctypes.c_long * 32)()
    if _LIBC.fstatfs(fd, ctypes.byref(buffer)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer[0] in _KERNELS


def read_regular(fd: int) -> int:
    """A descriptor to read what an O_PATH descriptor is of, a regular file."""
    assert stat.S_ISREG(os.fstat(fd).st_mode)
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)


def last_part(path: str) -> str:
    """What its tar's names begin with; `.` of the root."""
    return posixpath.basename(posixpath.normpath(path)) or "."
