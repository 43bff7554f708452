"""A tar unpacked in a folder of a container.

First the whole of it is looked at: what has no place in there is refused before anything is
written. Then each entry is made under a name of its own, and only when it is whole gets the name
that it is to have: no link of the container's is written through, no pipe opened, and a program
that runs stays as it was for who runs it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from longshore.errors import Conflict, InvalidRequest, PathNotFound
from longshore.host.paths import found, is_kernels
from longshore.host.removal import remove_tree
from longshore.host.views import View
from longshore.model import tar
from longshore.model.copying import Unpacking
from longshore.model.host import Ids
from longshore.model.tar import Entry, Tar, inside

_ENTRIES_MAX = 4_000_000
#: Links and folders that are remembered.
_REMEMBERED_MAX = 250_000
_FOLDER_MODE = 0o755
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: The file system cannot make a file that has no name yet.
_NAMED_ONLY = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


def check(file: BinaryIO, ids: Ids | None, check: Callable[[], None]) -> int:
    """How many entries it has, all of which may be unpacked.

    Args:
        ids: of the container's user namespace.
        check: asked now and then; raises when nobody wants it any more.

    Raises:
        InvalidRequest: it is no tar, or has something in it that is refused.
    """
    size = os.fstat(file.fileno()).st_size
    links: set[str] = set()
    count = 0
    try:
        for entry in Tar(file.read, size):
            count += 1
            if count > _ENTRIES_MAX or len(links) > _REMEMBERED_MAX:
                raise ValueError("there is too much in it")
            if count % 1000 == 0:
                check()
            _check(entry, links, ids)
    except ValueError as error:
        raise InvalidRequest(
            f"cannot unpack the archive: {error}", field="tar", hint="nothing was written"
        ) from error
    return count


def _check(entry: Entry, links: set[str], ids: Ids | None) -> None:
    path = inside(entry.path)
    if entry.kind in tar.DEVICES:
        raise ValueError(f"{entry.shown} is a device")
    if entry.kind == tar.HARD_LINK:
        inside(entry.link)
    if entry.kind == tar.SYMLINK and not entry.link:
        raise ValueError(f"{entry.shown} is a link to nothing")
    if not path and entry.kind != tar.FOLDER:
        raise ValueError("its top is no folder")
    parts = path.split("/")
    for end in range(1, len(parts)):
        if (above := "/".join(parts[:end])) in links:
            raise ValueError(f"{entry.shown} leads through {above!r}, a link of its own")
    for number in (entry.uid, entry.gid):
        if number >= (ids.size if ids else 2**32 - 1):
            raise ValueError(f"{entry.shown} belongs to {number}, which is nobody there")
    if entry.kind == tar.SYMLINK:
        links.add(path)
    else:
        links.discard(path)


def unpacked(
    view: View, path: str, file: BinaryIO, how: Unpacking, deadline: float
) -> Iterator[None]:
    """Unpacks a checked tar in the folder `path`, a step at a time.

    Args:
        deadline: monotonic seconds, for what is removed to make place.

    Raises:
        PathNotFound: there is no such folder.
        Conflict: something is in the way; the container has ended.
        OSError: as it says.
    """
    with found(view, path, follow=True) as top:
        if not stat.S_ISDIR(os.fstat(top).st_mode):
            raise PathNotFound(
                f"cannot copy to {path}: it is no folder in the container",
                field="path",
                object=path,
            )
    archive = Tar(file.read)
    into = _Into(view, path, how, deadline, archive)
    with into.held:
        for entry in archive:
            view.alive()
            yield from into.make(entry)
            yield
        into.finish()


@dataclass
class _Into:
    """`folders`: when those that were made or given their nature were last changed, by path."""

    view: View
    top: str
    how: Unpacking
    deadline: float
    archive: Tar
    held: ExitStack = field(default_factory=ExitStack)
    folders: dict[str, int] = field(default_factory=dict)
    _open: tuple[str, int] | None = None

    def make(self, entry: Entry) -> Iterator[None]:
        path = inside(entry.path)
        if not path:
            return  # the folder itself stays as it is
        above, _, name = path.rpartition("/")
        at = self._folder(above)
        if entry.kind == tar.FOLDER:
            self._make_folder(at, name, path, entry)
        elif entry.kind == tar.FILE:
            yield from self._make_file(at, name, entry)
        else:
            with self._place(at, name, entry) as new:
                self._make_other(at, new, entry)
                self._give_named(at, new, entry)

    def finish(self) -> None:
        """What was made in a folder changed its time."""
        for path, moment in self.folders.items():
            with suppress(OSError, PathNotFound), self._found(path, follow=False) as fd:
                os.utime(f"/proc/self/fd/{fd}", (moment, moment))

    def _folder(self, path: str) -> int:
        """Opened beneath the container's root; the last one stays open for the next entry."""
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        self.held.close()
        self._open = None
        try:
            fd = self._opened(path)
        except PathNotFound:
            above, _, name = path.rpartition("/")
            if not name:
                raise
            at = self._folder(above)
            os.mkdir(name, 0o700, dir_fd=at)
            made = Entry(tar.FOLDER, path, mode=_FOLDER_MODE)
            self._give_named(at, name, made, moment=False)
            self.held.close()
            fd = self._opened(path)
        self.held.callback(os.close, fd)
        self._open = (path, fd)
        return fd

    def _opened(self, path: str) -> int:
        with self._found(path, follow=True) as fd:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise self._in_the_way(path, "is no folder")
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextmanager
    def _found(self, path: str, *, follow: bool) -> Iterator[int]:
        with found(self.view, f"{self.top}/{path}", follow=follow) as fd:
            yield fd

    def _make_folder(self, at: int, name: str, path: str, entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=at)
        except FileExistsError:
            if not self._leads_to_folder(path):
                self._make_room(at, name, entry)
                os.mkdir(name, 0o700, dir_fd=at)
        with self._found(path, follow=True) as fd:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise self._in_the_way(path, "is no folder")
            self._give(fd, entry)
        if len(self.folders) < _REMEMBERED_MAX:
            self.folders[path] = entry.modified_at

    def _leads_to_folder(self, path: str) -> bool:
        try:
            with self._found(path, follow=True) as fd:
                return stat.S_ISDIR(os.fstat(fd).st_mode)
        except PathNotFound:
            return False  # a link to nothing

    def _make_file(self, at: int, name: str, entry: Entry) -> Iterator[None]:
        with ExitStack() as held:
            try:
                fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=at)
                new = None
            except OSError as error:
                if error.errno not in _NAMED_ONLY:
                    raise
                new = _unused()
                fd = os.open(new, _NEW, 0o600, dir_fd=at)
                held.callback(_remove, at, new)
            held.callback(os.close, fd)
            for piece in self.archive.content():
                self.view.alive()
                _write(fd, piece)
                yield
            os.ftruncate(fd, entry.size)
            self._give(fd, entry)
            with self._place(at, name, entry, new, fd) as linked:
                if new is None:
                    os.link(f"/proc/self/fd/{fd}", linked, dst_dir_fd=at, follow_symlinks=True)

    @contextmanager
    def _place(
        self, at: int, name: str, entry: Entry, new: str | None = None, content: int | None = None
    ) -> Iterator[str]:
        """A name under which the body makes it, or has made it (`new`); then it gets its own."""
        made = new or _unused()
        try:
            yield made
            self._check_place(at, name, entry)
            try:
                os.rename(made, name, src_dir_fd=at, dst_dir_fd=at)
            except OSError as error:
                if error.errno != errno.EBUSY or content is None:
                    raise
                # A file that something is mounted on cannot be replaced; so it is written to.
                self._write_to(at, name, content)
        finally:
            _remove(at, made)

    def _write_to(self, at: int, name: str, content: int) -> None:
        target = os.open(name, _PATH, dir_fd=at)
        try:
            if not stat.S_ISREG(os.fstat(target).st_mode) or is_kernels(target):
                raise self._in_the_way(name, "is mounted there, and no file")
            file = os.open(f"/proc/self/fd/{target}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        finally:
            os.close(target)
        try:
            os.lseek(content, 0, os.SEEK_SET)
            while piece := os.read(content, tar.PIECE):
                _write(file, piece, holes=False)
        finally:
            os.close(file)

    def _check_place(self, at: int, name: str, entry: Entry) -> None:
        try:
            there = os.lstat(name, dir_fd=at)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode):
            self._make_room(at, name, entry)

    def _make_room(self, at: int, name: str, entry: Entry) -> None:
        """For a folder where there is something else, or the reverse."""
        if not self.how.replace:
            what = "is no folder" if entry.kind == tar.FOLDER else "is a folder"
            raise self._in_the_way(inside(entry.path), what)
        try:
            os.unlink(name, dir_fd=at)
        except IsADirectoryError:
            remove_tree(Path(f"/proc/self/fd/{at}/{name}"), self.deadline)

    def _make_other(self, at: int, new: str, entry: Entry) -> None:
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, new, dir_fd=at)
        elif entry.kind == tar.FIFO:
            os.mkfifo(new, 0o600, dir_fd=at)
        else:
            with self._found(inside(entry.link), follow=False) as first:
                if not stat.S_ISREG(os.fstat(first).st_mode):
                    raise self._in_the_way(inside(entry.link), "is no file to link to")
                source = f"/proc/self/fd/{first}"
                os.link(source, new, dst_dir_fd=at, follow_symlinks=True)

    def _give_named(self, at: int, name: str, entry: Entry, *, moment: bool = True) -> None:
        """By its descriptor: what has the name now may be a link that the container has put there,
        and chmod(2) follows those, on the node."""
        fd = os.open(name, _PATH, dir_fd=at)
        try:
            self._give(fd, entry, moment=moment)
        finally:
            os.close(fd)

    def _give(self, fd: int, entry: Entry, *, moment: bool = True) -> None:
        """Owner, mode and time. A hard link has those of the file, a link no mode."""
        if entry.kind == tar.HARD_LINK:
            return
        owner, path = self.how.owner, f"/proc/self/fd/{fd}"
        uid, gid = (owner.uid, owner.gid) if owner else (entry.uid, entry.gid)
        ids = self.view.ids
        if ids is not None:
            uid, gid = ids.outside(uid), ids.outside(gid)
        # In this order: a change of owner takes setuid away.
        os.chown(path, uid, gid)
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(path, entry.mode)
        if moment:
            os.utime(path, (entry.modified_at, entry.modified_at))

    def _in_the_way(self, path: str, what: str) -> Conflict:
        whole = f"{self.top.rstrip('/')}/{path}"
        return Conflict(f"cannot unpack the archive: {whole} {what}", field="path", object=whole)


def _unused() -> str:
    return f".longshore-{secrets.token_hex(8)}"


def _remove(at: int, name: str) -> None:
    """One that got its own name is gone; of a hard link to the same file a rename leaves both."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=at)


def _write(file: int, piece: bytes, *, holes: bool = True) -> None:
    """At its place; where there are only zeros, a hole is left, which takes no room."""
    if holes and piece.count(0) == len(piece):
        os.lseek(file, len(piece), os.SEEK_CUR)
        return
    while piece:
        piece = piece[os.write(file, piece) :]
