"""A folder of a snapshot copied out of its layers, as overlayfs would show it, without a mount.

One folder of one layer is open at a time, and each is reached anew from its layer's root without
following a link: neither depth nor breadth of what somebody put into an image costs more than a
line in a list.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longshore.host.containerd.layers import Found, is_opaque, is_whiteout
from longshore.host.copying import copy_file, copy_nature, folder_beneath

#: Files and folders; an image has some tens of thousands in all.
ENTRIES_MAX = 1_000_000


@dataclass(frozen=True)
class _Folder:
    """One that is in some of the layers; `path` is relative to what is copied."""

    path: Path
    layers: tuple[int, ...]


@dataclass
class _Copy:
    """What is under way. `sources`: each layer's root, and where in it the folder is; `links`: the
    first copy of each file that has several names."""

    sources: Sequence[tuple[Path, Path]]
    target: int
    deadline: float
    left: int
    links: dict[tuple[int, int], Path] = field(default_factory=dict)

    def count(self) -> None:
        if time.monotonic() > self.deadline:
            raise TimeoutError
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.E2BIG, "too many files")


def copy_folder(found: Found, target: Path, deadline: float, entries_max: int = ENTRIES_MAX) -> int:
    """Fills the empty folder `target`, and makes owner, mode and times those of the image's.

    Args:
        found: the folder, by `layers.find`.
        deadline: monotonic seconds.

    Returns:
        How many files and folders there are in it.

    Raises:
        TimeoutError: it is later than that.
        OSError: something cannot be copied; E2BIG: there are more than `entries_max`.
    """
    with folder_beneath(target) as into:
        sources = [(Path(layer), Path(found.path)) for layer in found.layers]
        copy = _Copy(sources, into, deadline, entries_max)
        done = [_Folder(Path(), tuple(range(len(found.layers))))]
        for folder in done:  # grows meanwhile
            done.extend(_fill(copy, folder))
        # Last, and the deepest first: what is made in a folder changes its time.
        for folder in reversed(done):
            _finish(copy, folder)
    return entries_max - copy.left


def _fill(copy: _Copy, folder: _Folder) -> list[_Folder]:
    """Copies what is no folder, makes those that are, and returns them."""
    inside: dict[str, list[int]] = {}
    #: Names of which the layers below have no more say.
    settled: set[str] = set()
    with folder_beneath(copy.target, folder.path) as into:
        for number in folder.layers:
            last = number == folder.layers[-1]
            source = copy.sources[number]
            with folder_beneath(*source, folder.path) as at, os.scandir(at) as entries:
                for entry in entries:
                    name = entry.name
                    if name in settled:
                        continue
                    there = entry.stat(follow_symlinks=False)
                    is_folder = stat.S_ISDIR(there.st_mode)
                    if is_folder and not is_whiteout(there):
                        if name not in inside:
                            copy.count()
                            os.mkdir(name, 0o700, dir_fd=into)
                        inside.setdefault(name, []).append(number)
                    elif not is_whiteout(there) and name not in inside:
                        copy.count()
                        _copy(copy, at, there, folder.path / name, into)
                    ends = not is_folder or is_opaque(f"/proc/self/fd/{at}/{name}")
                    if ends and not last:
                        settled.add(name)
    return [_Folder(folder.path / name, tuple(layers)) for name, layers in inside.items()]


def _copy(copy: _Copy, at: int, there: os.stat_result, path: Path, into: int) -> None:
    key = (there.st_dev, there.st_ino)
    first = copy.links.get(key)
    if first is not None:
        os.link(first, path.name, src_dir_fd=copy.target, dst_dir_fd=into, follow_symlinks=False)
        return
    if there.st_nlink > 1 and stat.S_ISREG(there.st_mode):
        copy.links[key] = path
    copy_file(at, path.name, into, copy.deadline)


def _finish(copy: _Copy, folder: _Folder) -> None:
    """Gives the copy what the topmost layer's folder has."""
    source = copy.sources[folder.layers[0]]
    with (
        folder_beneath(*source, folder.path) as at,
        folder_beneath(copy.target, folder.path) as into,
    ):
        copy_nature(at, ".", into, ".")
