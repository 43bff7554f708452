"""Files of this machine as a tar, made while it is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from longshore.model import tar
from longshore.model.tar import Entry

_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.FOLDER,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFIFO: tar.FIFO,
}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class Packing:
    """A tar of what is at `source`, whose names begin with `name`, `.` for what is in a folder.

    Args:
        owners: whether the files keep theirs.
        note: told of each that is left out.
    """

    source: Path
    name: str
    owners: bool
    note: Callable[[str], None]
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def pieces(self) -> Iterator[bytes]:
        """Raises OSError for what cannot be read."""
        self._links.clear()
        pending = [(self.source, self.name)]
        while pending:
            path, name = pending.pop()
            nature = os.lstat(path)
            yield from self._one(path, name, nature)
            if stat.S_ISDIR(nature.st_mode):
                with os.scandir(path) as entries:
                    pending += [(Path(one.path), f"{name}/{one.name}") for one in entries]
        yield tar.END

    def _one(self, path: Path, name: str, nature: os.stat_result) -> Iterator[bytes]:
        kind = _KINDS.get(stat.S_IFMT(nature.st_mode))
        if kind is None:
            self.note(f"{str(path)!r} is left out: it is a device or a socket")
            return
        entry = Entry(
            kind,
            f"{name}/" if kind == tar.FOLDER else name,
            link=os.readlink(path) if kind == tar.SYMLINK else "",
            size=nature.st_size if kind == tar.FILE else 0,
            mode=stat.S_IMODE(nature.st_mode),
            uid=nature.st_uid if self.owners else 0,
            gid=nature.st_gid if self.owners else 0,
            modified_at=int(nature.st_mtime),
        )
        if kind != tar.FILE:
            yield tar.header(entry)
            return
        first = self._links.setdefault((nature.st_dev, nature.st_ino), name)
        if nature.st_nlink > 1 and first != name:
            yield tar.header(Entry(tar.HARD_LINK, name, first, mode=entry.mode))
            return
        fd = os.open(path, _READ)
        try:
            yield tar.header(entry)
            yield from _content(fd, entry.size)
        finally:
            os.close(fd)


def _content(file: int, size: int) -> Iterator[bytes]:
    """As many bytes as were announced, whatever becomes of the file meanwhile."""
    left = size
    while left and (piece := os.read(file, min(left, tar.PIECE))):
        left -= len(piece)
        yield piece
    while left:
        yield bytes(min(left, tar.PIECE))
        left -= min(left, tar.PIECE)
    yield tar.padding(size)
