"""Files of containers' cgroups, kept open between two readings.

To open one costs four times what it costs to read it. A descriptor holds nothing of a cgroup: that
is removed all the same, and reading then fails, which is how we learn of it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from longshore.errors import HostFailed, NotFound
from longshore.host.cgroup_places import Hierarchies, container_of, levels_of
from longshore.host.cgroup_tree import VANISHED
from longshore.model.running import Running

#: The v2 hierarchy; v1's go by the names of their controllers.
UNIFIED = "unified"
#: Of the largest of them, memory.stat, no kernel fills a tenth.
_SIZE = 65536
#: Of the descriptors that the agent may have, this part.
_SHARE = 4
_MOST = 8192
_ABSENT = -1
#: Of a value of model/status.py, before it is one.
Fields = dict[str, Any]
#: Hierarchy, file, level.
_Key = tuple[str, str, int]


class Gone(Exception):
    """The container's cgroup is there no more."""


@dataclass(frozen=True, eq=False)
class Group:
    """Files of a container's own cgroup in one hierarchy that are always read together."""

    hierarchy: str
    files: tuple[str, ...]


@dataclass
class Files:
    """The cgroups of one run of a container, by hierarchy, the container's own one first."""

    pid: int
    levels: Mapping[str, tuple[str, ...]]
    room: Room
    _open: dict[_Key, int] = field(default_factory=dict)
    #: Those of `_open` of groups that are all in it.
    _groups: dict[Group, list[int]] = field(default_factory=dict)

    def read(self, hierarchy: str, file: str, level: int = 0) -> bytes:
        """Empty: this kernel has no such file there.

        Raises:
            Gone: the cgroup is.
            HostFailed: it cannot be read.
        """
        key = (hierarchy, file, level)
        descriptor = self._open.get(key)
        if descriptor == _ABSENT:
            return b""
        try:
            if descriptor is not None:
                return os.pread(descriptor, _SIZE, 0)
            return self._first(key)
        except OSError as error:
            if error.errno in VANISHED:
                raise Gone from error
            path = self._path(key)
            raise HostFailed(f"cannot read {path}: {error.strerror}", object=path) from error

    def together(self, group: Group) -> list[bytes]:
        """What `read` gives for each of them, in a third of its time."""
        descriptors = self._groups.get(group)
        if descriptors is not None:
            try:
                return [b"" if one == _ABSENT else os.pread(one, _SIZE, 0) for one in descriptors]
            except OSError:
                del self._groups[group]  # `read` says what is the matter, and with which
        found = [self.read(group.hierarchy, file) for file in group.files]
        kept = [self._open.get((group.hierarchy, file, 0)) for file in group.files]
        descriptors = [one for one in kept if one is not None]
        if len(descriptors) == len(kept):
            self._groups[group] = descriptors
        return found

    def lower(self, hierarchy: str, file: str) -> list[bytes]:
        """What `read` gives for each level beneath the container's own."""
        return [
            self.read(hierarchy, file, level) for level in range(1, len(self.levels[hierarchy]))
        ]

    def close(self) -> None:
        self._groups.clear()
        for descriptor in self._open.values():
            if descriptor != _ABSENT:
                os.close(descriptor)
                self.room.free += 1
        self._open.clear()

    def _path(self, key: _Key) -> str:
        hierarchy, file, level = key
        return f"{self.levels[hierarchy][level]}/{file}"

    def _first(self, key: _Key) -> bytes:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not os.path.isdir(os.path.dirname(path)):
                raise
            self._open[key] = _ABSENT
            return b""
        try:
            data = os.pread(descriptor, _SIZE, 0)
        except OSError as error:
            os.close(descriptor)
            if error.errno in VANISHED:
                raise
            # Such as pressure where the kernel was told not to count it.
            self._open[key] = _ABSENT
            return b""
        if self.room.free > 0:
            self.room.free -= 1
            self._open[key] = descriptor
        else:
            os.close(descriptor)
        return data


@dataclass
class Room:
    """How many more files may be kept open; what is above that is opened again each time."""

    free: int = field(
        default_factory=lambda: min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE, _MOST)
    )


class Kept:
    """The files of all containers that were read. Belongs to one thread at a time."""

    def __init__(self, there: Hierarchies, room: Room | None = None) -> None:
        self._there = there
        self._room = room or Room()
        self._files: dict[str, Files] = {}

    def of(self, one: Running) -> Files:
        """Raises Gone when it has ended."""
        files = self._files.get(one.id)
        if files is None or files.pid != one.pid:
            self.forget(one.id)
            files = self._files[one.id] = self._found(one)
        return files

    def forget(self, id: str) -> None:
        files = self._files.pop(id, None)
        if files is not None:
            files.close()

    def keep(self, ids: Collection[str]) -> None:
        """Closes those of all others."""
        for id in self._files.keys() - set(ids):
            self.forget(id)

    def _found(self, one: Running) -> Files:
        try:
            places = self._there.places(str(one.pid))
        except NotFound as error:
            raise Gone from error
        levels = {}
        for place in places:
            found = levels_of(place)
            # The number may be another process's by now.
            if not found or container_of(found[0].name) != one.id:
                continue
            texts = tuple(map(str, found))
            names = [UNIFIED] if self._there.is_unified(place) else place.controllers
            levels.update(dict.fromkeys(names, texts))
        if not levels:
            raise Gone
        return Files(one.pid, levels, self._room)
