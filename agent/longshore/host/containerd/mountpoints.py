"""What the runtime made in a container's layer to mount on: no content of an image.

Where an image has no /etc/hosts, there is an empty one in the layer, and so on for all that is
mounted. A layer of whiteouts on top takes them out of sight.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from longshore.host.containerd import layers
from longshore.host.copying import copy_nature, folder_beneath

#: What lies deeper is not looked at, and stays.
_DEPTH_MAX = 64
#: Nothing, or a file or a link on the way.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

Tree = dict[str, "Tree"]


def made(upper: str, lower: Sequence[str], targets: Iterable[str]) -> list[PurePosixPath]:
    """Paths in the container's own layer, relative, that are there only to be mounted on.

    Args:
        upper, lower: the container's layer, and those of its image, topmost first.
        targets: where the container has mounts.

    Raises:
        OSError: a layer cannot be read.
    """
    tree: Tree = {}
    for target in targets:
        parts = PurePosixPath(target).parts[1:]
        if ".." in parts or len(parts) > _DEPTH_MAX:
            continue
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
    return list(_made(upper, lower, PurePosixPath(), tree))


def hide(paths: Sequence[PurePosixPath], upper: str, top: str) -> None:
    """Fills the empty folder `top`, which is to be stacked above `upper`, with whiteouts.

    Raises:
        OSError: as it says.
    """
    folders = {parent for path in paths for parent in path.parents}
    for folder in sorted(folders, key=lambda one: len(one.parts)):
        Path(top, folder).mkdir(exist_ok=True)
    for path in paths:
        os.mknod(Path(top, path), stat.S_IFCHR, 0)
    # Of folders in several layers the topmost's owner, mode and times count: they must not change.
    for folder in sorted(folders, key=lambda one: -len(one.parts)):
        with (
            folder_beneath(Path(upper), folder) as source,
            folder_beneath(Path(top), folder) as target,
        ):
            copy_nature(source, ".", target, ".")


def _made(
    upper: str, lower: Sequence[str], at: PurePosixPath, tree: Mapping[str, Tree]
) -> Iterator[PurePosixPath]:
    for name, below in tree.items():
        path = at / name
        if not layers.has(lower, str(path)) and _is_made(upper, path, below):
            yield path
        else:
            yield from _made(upper, lower, path, below)


def _is_made(upper: str, path: PurePosixPath, below: Mapping[str, Tree]) -> bool:
    """Whether it is there, and empty but for what is mounted on in it."""
    try:
        with folder_beneath(Path(upper), path.parent) as parent:
            entry = os.lstat(path.name, dir_fd=parent)
        if not stat.S_ISDIR(entry.st_mode):
            return stat.S_ISREG(entry.st_mode) and entry.st_size == 0 and not below
        with folder_beneath(Path(upper), path) as folder, os.scandir(folder) as entries:
            return all(
                one.name in below and _is_made(upper, path / one.name, below[one.name])
                for one in entries
            )
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise
