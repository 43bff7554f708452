"""A container's tar unpacked on this machine, and nowhere but where it was wanted.

Who made the tar is not trusted. Each folder on the way is opened from the one before it, and no
link is gone through, be it the tar's or an older one; a setuid bit that came from a container is
dropped unless the owners are to be kept; devices, pipes and sockets are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from longshore.errors import LongshoreError
from longshore.model import tar
from longshore.model.tar import Entry, Tar

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Folders whose time and mode are set at the end.
_REMEMBERED_MAX = 250_000


@dataclass
class Unpacking:
    """Args:
    target: what the tar's top becomes; the folder above it is there.
    owners: whether files keep theirs, which takes root.
    note: told of each entry that is left out.
    """

    target: Path
    owners: bool
    note: Callable[[str], None]
    count: int = 0
    size: int = 0
    _folders: list[tuple[tuple[str, ...], Entry]] = field(default_factory=list)

    def unpack(self, read: Callable[[int], bytes]) -> None:
        """Raises LongshoreError for a tar that is none or wants to go elsewhere, OSError for what
        cannot be written."""
        archive = Tar(read)
        try:
            for entry in archive:
                self._make(archive, entry)
        except ValueError as error:
            raise LongshoreError(f"cannot unpack what the container sent: {error}") from error
        for path, entry in reversed(self._folders):
            with suppress(OSError), self._folder(path) as at:
                self._give(at, entry)

    def _make(self, archive: Tar, entry: Entry) -> None:
        path = _below(entry.path)
        if entry.kind in (*tar.DEVICES, tar.FIFO):
            self.note(f"{entry.shown} is left out: it is a device or a pipe")
            return
        if entry.kind == tar.FOLDER:
            with self._folder(path, make=True):
                pass
            if len(self._folders) < _REMEMBERED_MAX:
                self._folders.append((path, entry))
        elif not path and entry.kind == tar.FILE and _is_special(self.target):
            # A terminal, a pipe, /dev/null: written to, and never replaced.
            with self.target.open("wb") as file:
                for piece in archive.content():
                    file.write(piece)
                    self.size += len(piece)
        else:
            self._make_in_folder(archive, path, entry)
        self.count += 1

    def _make_in_folder(self, archive: Tar, path: tuple[str, ...], entry: Entry) -> None:
        with self._above(path) as (at, name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at)
            if entry.kind == tar.SYMLINK:
                os.symlink(entry.link, name, dir_fd=at)
                if self.owners:
                    os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
            elif entry.kind == tar.HARD_LINK:
                with self._above(_below(entry.link)) as (source, first):
                    os.link(first, name, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)
            else:
                fd = os.open(name, _NEW, 0o600, dir_fd=at)
                try:
                    with open(fd, "wb", closefd=False) as file:
                        for piece in archive.content():
                            file.write(piece)
                            self.size += len(piece)
                    self._give(fd, entry)
                finally:
                    os.close(fd)

    def _give(self, fd: int, entry: Entry) -> None:
        if self.owners:
            os.chown(fd, entry.uid, entry.gid)
        os.chmod(fd, entry.mode if self.owners else entry.mode & 0o777)
        os.utime(fd, (entry.modified_at, entry.modified_at))

    @contextmanager
    def _above(self, path: tuple[str, ...]) -> Iterator[tuple[int, str]]:
        """The folder that it is in, made if it is not there, and its name in it."""
        if path:
            with self._folder(path[:-1], make=True) as at:
                yield at, path[-1]
            return
        at = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield at, self.target.name
        finally:
            os.close(at)

    @contextmanager
    def _folder(self, path: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        at = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in (self.target.name, *path):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=at)
                at, above = os.open(name, _FOLDER, dir_fd=at), at
                os.close(above)
            yield at
        finally:
            os.close(at)


class Pieces:
    """Pieces of bytes, read as from a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Fewer than asked for only at the end."""
        parts: list[bytes] = []
        wanted = size
        while wanted:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:wanted], self._rest[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def drain(self) -> None:
        """To its end, where it is said whether all of it came."""
        for _ in self._pieces:
            pass


def _below(path: str) -> tuple[str, ...]:
    """Beneath the tar's top, whose own name it begins with. Raises ValueError: it leads out."""
    return tuple(part for part in tar.inside(path).split("/") if part)[1:]


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
