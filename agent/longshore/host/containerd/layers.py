"""Files of a snapshot, read through its layers without mounting it.

The layers are folders, topmost first, as overlayfs stacks them. Whoever filled them is not
trusted: no symlink is followed by the kernel, links are resolved within the layers, and only
a regular file is ever opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

_LINKS_MAX = 16
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: overlayfs marks a folder that hides those below it.
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def folders(mounts: Sequence[tuple[str, str, Sequence[str]]]) -> tuple[str, ...]:
    """The layers that a snapshot's mounts (type, source, options) stack, topmost first.

    Raises:
        ValueError: a snapshotter that stacks in a way unknown here.
    """
    if len(mounts) == 1:
        kind, source, options = mounts[0]
        if kind in ("bind", "rbind"):
            return (source,)
        if kind == "overlay":
            values = dict(option.partition("=")[::2] for option in options)
            upper = [values["upperdir"]] if "upperdir" in values else []
            return (*upper, *values.get("lowerdir", "").split(":"))
    raise ValueError(f"mounts of type {', '.join(kind for kind, _, _ in mounts) or 'none'}")


@dataclass(frozen=True)
class Found:
    """Something in the layers. `path`: relative to their root, without links. `layers`: those that
    make it up, topmost first; only a folder may be spread over several."""

    path: str
    layers: tuple[str, ...]
    is_folder: bool


def find(layers: Sequence[str], path: str) -> Found | None:
    """What a process in the container would see at `path`, None if there is nothing.

    Raises:
        OSError: links lead round in a circle.
    """
    for _ in range(_LINKS_MAX):
        with _at(layers, path) as place:
            if place is None:
                return None
            if not stat.S_ISLNK(place.mode):
                at = tuple(layers[number] for number in place.layers)
                return Found("/".join(place.path), at, stat.S_ISDIR(place.mode))
            path = place.behind()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def read(layers: Sequence[str], path: str, limit: int) -> bytes | None:
    """The file's content, None if there is none; no more than `limit` bytes are read.

    Raises:
        OSError: it is no regular file, or its links lead nowhere.
    """
    for _ in range(_LINKS_MAX):
        with _at(layers, path) as place:
            if place is None:
                return None
            if not stat.S_ISLNK(place.mode):
                return _content(place, limit)
            path = place.behind()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def has(layers: Sequence[str], path: str) -> bool:
    """Whether something is at `path`, or a link on the way there; no link is followed."""
    with _at(layers, path) as place:
        return place is not None


def is_whiteout(entry: os.stat_result) -> bool:
    """Whether it says that what the layers below have under this name is deleted."""
    return stat.S_ISCHR(entry.st_mode) and entry.st_rdev == 0


def is_opaque(folder: str) -> bool:
    """Whether this folder of a layer hides those below it; of a link nothing is followed."""
    for name in _OPAQUE:
        try:
            if os.getxattr(folder, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


@dataclass(frozen=True)
class _Place:
    """Where a walk along a path ended: at its end, or at a link on the way.

    `layers` are numbers; `folder` is a descriptor of the folder that has it, in the first of them;
    `rest` is what of the path is still to go.
    """

    path: tuple[str, ...]
    layers: tuple[int, ...]
    mode: int
    folder: int
    rest: tuple[str, ...] = ()

    def behind(self) -> str:
        """The path to go on with at a link; `..` never leads above the layers' root."""
        target = os.readlink(self.path[-1], dir_fd=self.folder)
        parts = [] if target.startswith("/") else list(self.path[:-1])
        for part in [*target.split("/"), *self.rest]:
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return "/".join(parts)


@contextmanager
def _at(layers: Sequence[str], path: str) -> Iterator[_Place | None]:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    with ExitStack() as opened:
        above = {
            number: _open(opened, layer, None, os.O_DIRECTORY)
            for number, layer in enumerate(layers)
        }
        place: _Place | None = _Place((), tuple(above), stat.S_IFDIR, -1)
        for depth in range(1, len(parts) + 1):
            place, above = _step(opened, above, parts[:depth])
            if place is None or not stat.S_ISDIR(place.mode):
                break
        if place is not None and place.path != parts:
            rest = parts[len(place.path) :]
            # Beneath a link something may be; beneath any other file there is nothing.
            place = replace(place, rest=rest) if stat.S_ISLNK(place.mode) else None
        yield place


def _step(
    opened: ExitStack, above: Mapping[int, int], path: tuple[str, ...]
) -> tuple[_Place | None, dict[int, int]]:
    """The path's last part in the folders above it, and, if it is a folder, its own descriptors."""
    name = path[-1]
    here: dict[int, int] = {}
    for number, at in above.items():
        try:
            entry = os.lstat(name, dir_fd=at)
        except FileNotFoundError:
            continue
        if is_whiteout(entry) or (here and not stat.S_ISDIR(entry.st_mode)):
            break
        if not stat.S_ISDIR(entry.st_mode):
            return _Place(path, (number,), entry.st_mode, at), {}
        here[number] = _open(opened, name, at, os.O_DIRECTORY)
        # An O_PATH descriptor has no attributes of its own to read; its path in /proc has.
        if is_opaque(f"/proc/self/fd/{at}/{name}"):
            break
    if not here:
        return None, {}
    return _Place(path, tuple(here), stat.S_IFDIR, above[next(iter(here))]), here


def _open(opened: ExitStack, name: str, at: int | None, flags: int) -> int:
    fd = os.open(name, _PATH | flags, dir_fd=at)
    opened.callback(os.close, fd)
    return fd


def _content(place: _Place, limit: int) -> bytes:
    name = "/".join(place.path)
    # Looked at before it is opened: to open a device may already do something.
    if stat.S_ISDIR(place.mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(place.mode):
        raise OSError(errno.EINVAL, "not a regular file", name)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(place.path[-1], flags, dir_fd=place.folder), "rb") as file:
        return file.read(limit)
