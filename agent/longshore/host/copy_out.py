"""A tar of what is at a path of a container, made while it is sent.

The container may change all of it meanwhile: what is gone when its turn comes is left out, and a
file has the length that it had when its turn came, filled up with zeros if it is shorter then.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from longshore.host.copying import folder_beneath
from longshore.host.paths import is_kernels, read_regular
from longshore.host.views import View
from longshore.model import tar
from longshore.model.status import PathStatus
from longshore.model.tar import Entry

#: Of an owner that the container's user namespace has no number for.
_NOBODY = 65534
#: So many files with several names are known again; further ones are sent under each name.
_LINKS_MAX = 100_000
#: What a folder was replaced by, or a folder's name too long, when its turn came.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ESTALE})
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.FOLDER,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFIFO: tar.FIFO,
    stat.S_IFCHR: tar.CHARACTER_DEVICE,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
}


def status_of(fd: int, name: str) -> PathStatus:
    """Of an O_PATH descriptor."""
    nature = os.fstat(fd)
    return PathStatus(
        name=name,
        size=nature.st_size,
        mode=nature.st_mode,
        modified_at=nature.st_mtime_ns / 1e9,
        link=os.readlink("", dir_fd=fd) if stat.S_ISLNK(nature.st_mode) else "",
    )


def tar_of(view: View, fd: int, name: str) -> Generator[bytes, None, None]:
    """The pieces of it, of about a mebibyte; an empty one at first, and where nothing came for a
    while.

    Args:
        fd: O_PATH, of what is copied; closed at the end, as the view is.
        name: what the names in it begin with.

    Raises:
        Conflict: the container has ended.
        OSError: something cannot be read.
    """
    try:
        yield b""
        yield from _gathered(_Out(view, fd, name))
    finally:
        os.close(fd)
        view.close()


@dataclass
class _Out:
    """`links`: name of the first of each file that has several."""

    view: View
    top: int
    name: str
    links: dict[tuple[int, int], str] = field(default_factory=dict)

    def all(self) -> Iterator[bytes]:
        nature = os.fstat(self.top)
        yield from self._one(self.top, self.name, nature)
        pending = [Path()] if stat.S_ISDIR(nature.st_mode) else []
        # One folder is open at a time, and each is reached anew from the top without following a
        # link: neither depth nor breadth costs more than a line in a list.
        while pending:
            folder = pending.pop()
            try:
                yield from self._folder(folder, pending)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
        yield tar.END

    def _folder(self, folder: Path, pending: list[Path]) -> Iterator[bytes]:
        with folder_beneath(self.top, folder) as at:
            if is_kernels(at):
                return
            with os.scandir(at) as entries:
                for entry in entries:
                    yield b""
                    try:
                        fd = os.open(entry.name, _PATH, dir_fd=at)
                    except OSError as error:
                        if error.errno in _GONE:
                            continue
                        raise
                    try:
                        nature = os.fstat(fd)
                        path = folder / entry.name
                        yield from self._one(fd, f"{self.name}/{path}", nature)
                        if stat.S_ISDIR(nature.st_mode):
                            pending.append(path)
                    finally:
                        os.close(fd)

    def _one(self, fd: int, name: str, nature: os.stat_result) -> Iterator[bytes]:
        kind = _KINDS.get(stat.S_IFMT(nature.st_mode))
        if kind is None:
            return  # a socket is nothing without who listens
        entry = self._entry(kind, fd, name, nature)
        if kind == tar.FILE and nature.st_nlink > 1:
            key = (nature.st_dev, nature.st_ino)
            first = self.links.get(key)
            if first is not None:
                yield tar.header(self._hard_link(entry, first))
                return
            if len(self.links) < _LINKS_MAX:
                self.links[key] = name
        if kind != tar.FILE:
            yield tar.header(entry)
            return
        content = read_regular(fd)
        try:
            # A file of the kernel's own, bound into the container, has no length and no end.
            if is_kernels(content):
                return
            yield tar.header(entry)
            yield from _content(content, entry.size)
        finally:
            os.close(content)

    def _entry(self, kind: bytes, fd: int, name: str, nature: os.stat_result) -> Entry:
        return Entry(
            kind,
            f"{name}/" if kind == tar.FOLDER else name,
            link=os.readlink("", dir_fd=fd) if kind == tar.SYMLINK else "",
            size=nature.st_size if kind == tar.FILE else 0,
            mode=stat.S_IMODE(nature.st_mode),
            uid=self._inside(nature.st_uid),
            gid=self._inside(nature.st_gid),
            modified_at=int(nature.st_mtime),
            device=(os.major(nature.st_rdev), os.minor(nature.st_rdev)),
        )

    def _hard_link(self, entry: Entry, first: str) -> Entry:
        return Entry(
            *(tar.HARD_LINK, entry.path, first, 0, entry.mode, entry.uid, entry.gid),
            entry.modified_at,
        )

    def _inside(self, number: int) -> int:
        ids = self.view.ids
        if ids is None:
            return number
        return number - ids.first if ids.covers(number) else _NOBODY


def _content(file: int, size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := os.read(file, min(left, tar.PIECE))):
        left -= len(piece)
        yield piece
    while left:  # it has become shorter
        yield bytes(min(left, tar.PIECE))
        left -= min(left, tar.PIECE)
    yield tar.padding(size)


def _gathered(out: _Out) -> Iterator[bytes]:
    """Small pieces together, so that a thousand small files are no thousand messages; and an empty
    one for every thousand entries of which nothing is sent."""
    parts: list[bytes] = []
    size = idle = 0
    for piece in out.all():
        idle += 1
        if piece:
            parts.append(piece)
            size += len(piece)
        if size >= tar.PIECE or idle >= 1000:
            out.view.alive()
            yield b"".join(parts)
            parts, size, idle = [], 0, 0
    if parts:
        yield b"".join(parts)
