"""The cgroup hierarchies of this host, and where in them a process is.

Hosts are v1, v2, or hybrid: v1 with a v2 hierarchy at `unified` beside it, which may hold some of
the controllers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from longshore.errors import HostFailed, NotFound
from longshore.host.cgroup_tree import VANISHED, children
from longshore.model.names import is_container_id

_SCOPE = re.compile(r"[a-z][a-z0-9_]*-(.*)\.scope")


@dataclass(frozen=True)
class Place:
    """Where a process is in one hierarchy: `folder` is the hierarchy's root on the host."""

    controllers: frozenset[str]
    folder: Path
    path: str
    #: v1: the hierarchy has controllers of its own.
    numbered: bool = False


class Hierarchies:
    """Args:
    root: where the cgroup file systems are mounted.
    proc: where proc is mounted.
    """

    def __init__(self, root: Path, proc: Path) -> None:
        self.root = root
        self._proc = proc
        self._v1_folders: dict[str, Path] = {}

    @cached_property
    def mode(self) -> str:
        """`v2`, `hybrid` or `v1`. Kept: no running host changes it, and every create asks."""
        if (self.root / "cgroup.controllers").exists():
            return "v2"
        return "hybrid" if (self.root / "unified" / "cgroup.controllers").exists() else "v1"

    @property
    def unified(self) -> Path:
        return self.root if self.mode == "v2" else self.root / "unified"

    def unified_controllers(self) -> frozenset[str]:
        try:
            return frozenset((self.unified / "cgroup.controllers").read_text().split())
        except FileNotFoundError:
            return frozenset()

    def is_unified(self, place: Place) -> bool:
        return place.folder == self.unified

    def places(self, pid: str) -> list[Place]:
        """From /proc/PID/cgroup, whose lines are `number:controllers:path`, v2's `0::path`."""
        try:
            return self.parsed(self.cgroup_of(pid))
        except OSError as error:
            raise unread(pid, error) from error

    def cgroup_of(self, pid: str) -> str:
        return (self._proc / pid / "cgroup").read_text()

    def parsed(self, text: str) -> list[Place]:
        places = []
        for line in text.splitlines():
            _, names, path = line.split(":", 2)
            if not names:
                places.append(Place(self.unified_controllers(), self.unified, path))
            elif not names.startswith("name=") and (folder := self.v1_folder(names)):
                places.append(Place(frozenset(names.split(",")), folder, path, numbered=True))
        return places

    def v1_folder(self, names: str) -> Path | None:
        """`cpu,cpuacct` mounted together is found under the joined or under either name.

        Kept, as the mode is: every read asks for each of them.
        """
        if names not in self._v1_folders:
            candidates = (self.root / name for name in (names, *names.split(",")))
            found = next((folder for folder in candidates if folder.is_dir()), None)
            if found is None:
                return None
            self._v1_folders[names] = found
        return self._v1_folders[names]

    def folders(self) -> Iterator[Path]:
        """The root folder of each, named ones too; symbolic links name one a second time."""
        if self.mode == "v2":
            yield self.root
        else:
            yield from (child for child in children(self.root) if not child.is_symlink())


def levels_of(place: Place) -> list[Path]:
    """The container's own cgroup first, then down to the process's; empty if it is in none."""
    parts = Path(place.path.removesuffix(" (deleted)").lstrip("/")).parts
    own = next((i for i, part in enumerate(parts) if container_of(part)), len(parts))
    return [place.folder.joinpath(*parts[: i + 1]) for i in range(own, len(parts))]


def container_of(name: str) -> str | None:
    """The id that a cgroup's name says: `<id>` or `<parent>-<id>.scope`."""
    if scope := _SCOPE.fullmatch(name):
        name = scope[1]
    return name if is_container_id(name) else None


def unread(pid: int | str, error: OSError) -> NotFound | HostFailed:
    """A process or its cgroup that ended while we looked is not there; the rest is a failure."""
    if error.errno in VANISHED:
        return NotFound(f"cannot read the limits of process {pid}: it is gone", object=str(pid))
    return HostFailed(f"cannot read the limits of process {pid}: {error.strerror}", object=str(pid))
