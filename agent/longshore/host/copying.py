"""Copying a file of an image as it is: content with its holes, owner, mode, times, attributes.

Works on names in opened folders alone and follows no link, whatever the image has made of them.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from longshore.host.mounts import open_beneath

#: overlayfs's own marks on the files of a layer.
_OVERLAY = ("trusted.overlay.", "user.overlay.")
#: capabilities(7): who sets it needs CAP_SETFCAP.
_CAPABILITY = "security.capability"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 32 * 1024 * 1024
#: The two file systems cannot copy between them by themselves.
_BY_HAND = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class Incapable(PermissionError):
    """The kernel refuses what takes a capability that the agent has not got.

    Args:
        capability: its name, as CAP_SETFCAP.
        what: which thing may not be done, for people.
        name: of the file.
    """

    def __init__(self, capability: str, what: str, name: str) -> None:
        super().__init__(errno.EPERM, what, name)
        self.capability = capability


@contextmanager
def folder_beneath(root: Path | int, *path: PurePath) -> Iterator[int]:
    """A folder beneath one that is trusted, opened without following a link on the way.

    Raises:
        OSError: also for a link.
    """
    folder = os.open(root, _FOLDER) if isinstance(root, Path) else os.dup(root)
    try:
        beneath = open_beneath(folder, Path(*path), follow=False)
    finally:
        os.close(folder)
    try:
        opened = os.open(".", _FOLDER, dir_fd=beneath)
    finally:
        os.close(beneath)
    try:
        yield opened
    finally:
        os.close(opened)


def copy_file(source: int, name: str, target: int, deadline: float) -> None:
    """Copies `name` from one opened folder to another; a folder is made empty. What is a device is
    left out, since nobody but the node itself should hand those out.

    Args:
        deadline: monotonic seconds.

    Raises:
        TimeoutError: it is later than that.
        Incapable: it has capabilities, and the agent may not give it those.
        OSError: it cannot be read, or not be written.
    """
    mode = os.lstat(name, dir_fd=source).st_mode
    make = _MAKE.get(stat.S_IFMT(mode))
    if make is None:
        return
    make(source, name, target, deadline)
    copy_nature(source, name, target, name)


def copy_nature(source: int, name: str, target: int, new: str) -> None:
    """Makes owner, attributes, mode and times of `new` those of `name`.

    In this order: a change of owner takes setuid and file capabilities away.

    Raises:
        As `copy_file`.
    """
    entry = os.lstat(name, dir_fd=source)
    os.chown(new, entry.st_uid, entry.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(entry.st_mode):
        os.chmod(new, stat.S_IMODE(entry.st_mode), dir_fd=target)
    _copy_attributes(f"/proc/self/fd/{source}/{name}", f"/proc/self/fd/{target}/{new}")
    times = (entry.st_atime_ns, entry.st_mtime_ns)
    os.utime(new, ns=times, dir_fd=target, follow_symlinks=False)


def _copy_attributes(source: str, target: str) -> None:
    for name in os.listxattr(source, follow_symlinks=False):
        if name.startswith(_OVERLAY):
            continue
        value = os.getxattr(source, name, follow_symlinks=False)
        try:
            os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EPERM and name == _CAPABILITY:
                what = "the agent may not give a file the capabilities that it has in the image"
                raise Incapable("CAP_SETFCAP", what, os.path.basename(target)) from error
            # As `cp -a` does: a file system without attributes takes the file without them.
            if error.errno != errno.EOPNOTSUPP:
                raise


def _regular(source: int, name: str, target: int, deadline: float) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    old = os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source)
    try:
        new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
        try:
            _content(old, new, deadline)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _content(old: int, new: int, deadline: float) -> None:
    size = os.fstat(old).st_size
    os.ftruncate(new, size)
    at = 0
    while at < size:
        try:
            begin = os.lseek(old, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # A hole up to the end.
            raise
        end = at = os.lseek(old, begin, os.SEEK_HOLE)
        while begin < end:
            if time.monotonic() > deadline:
                raise TimeoutError
            copied = _piece(old, new, begin, min(end - begin, _PIECE))
            if copied == 0:
                return
            begin += copied


def _piece(old: int, new: int, at: int, size: int) -> int:
    try:
        return os.copy_file_range(old, new, size, at, at)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
    os.lseek(new, at, os.SEEK_SET)
    return os.sendfile(new, old, at, size)


def _folder(source: int, name: str, target: int, deadline: float) -> None:
    os.mkdir(name, 0o700, dir_fd=target)


def _link(source: int, name: str, target: int, deadline: float) -> None:
    os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)


def _fifo(source: int, name: str, target: int, deadline: float) -> None:
    os.mkfifo(name, 0o600, dir_fd=target)


def _socket(source: int, name: str, target: int, deadline: float) -> None:
    os.mknod(name, 0o600 | stat.S_IFSOCK, dir_fd=target)


_MAKE: dict[int, Callable[[int, str, int, float], None]] = {
    stat.S_IFREG: _regular,
    stat.S_IFDIR: _folder,
    stat.S_IFLNK: _link,
    stat.S_IFIFO: _fifo,
    stat.S_IFSOCK: _socket,
}
