"""Which containers' logs have grown: one inotify instance for all, however many there are.

Between two calls of `grown` the kernel makes one event of many, so that much output costs no more
than a little.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from collections.abc import Iterator
from pathlib import Path

from longshore.errors import HostFailed
from longshore.host.inotify import (
    ABSENT,
    EVENT,
    IN_CREATE,
    IN_IGNORED,
    IN_MODIFY,
    IN_Q_OVERFLOW,
    libc,
)
from longshore.model.names import is_container_id

_ONLY_FOLDERS = 0x01000000
_LOGS = frozenset({b"stdout.log", b"stderr.log"})


class LogWatch:
    """Of one thread, but for `interrupt`.

    Args:
        containers: the folder of containers' folders.
    """

    def __init__(self, containers: Path) -> None:
        self._containers = containers
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        #: -1 where the node has no instance to give: then all are looked at, at each call.
        self._descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ids: dict[int, str] = {}
        #: Those that could not be watched.
        self._unwatched: set[str] = set()
        self._root = self._add(containers, IN_CREATE)
        self._fresh = True

    def close(self) -> None:
        os.close(self._wake)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def interrupt(self) -> None:
        """Ends a `grown` that waits, and the next."""
        os.eventfd_write(self._wake, 1)

    def grown(self, timeout: float) -> set[str]:
        """Ids of those whose logs have changed since the last call, or are gone, or may have; waits
        up to `timeout` seconds for the first. Raises HostFailed."""
        if self._fresh:
            self._fresh = False
            return self._all()
        poll = select.poll()
        for descriptor in (self._wake, self._descriptor):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        poll.poll(timeout * 1000)
        found = set(self._drain()) | self._unwatched
        return found if self._root >= 0 else found | self._all()

    def unwatched(self) -> bool:
        """Whether the node's limits keep it from watching all."""
        return self._root < 0 or bool(self._unwatched)

    def _drain(self) -> Iterator[str]:
        if self._descriptor < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                at = 0
                while at < len(data):
                    watch, mask, _, length = EVENT.unpack_from(data, at)
                    at += EVENT.size
                    name = data[at : at + length].rstrip(b"\0")
                    at += length
                    yield from self._told(watch, mask, name)

    def _told(self, watch: int, mask: int, name: bytes) -> Iterator[str]:
        if mask & IN_Q_OVERFLOW:
            yield from self._all()
        elif watch == self._root:
            if is_container_id(id := os.fsdecode(name)):
                self._watch(id)
                yield id
        elif mask & IN_IGNORED:
            if id := self._ids.pop(watch, ""):
                yield id
        elif name in _LOGS and watch in self._ids:
            yield self._ids[watch]

    def _all(self) -> set[str]:
        """Watches those that are not yet."""
        try:
            there = {name for name in os.listdir(self._containers) if is_container_id(name)}
        except OSError as error:
            raise HostFailed(
                f"cannot list {self._containers}: {error.strerror}", object=str(self._containers)
            ) from error
        self._unwatched &= there
        for id in there - set(self._ids.values()):
            self._watch(id)
        return there

    def _watch(self, id: str) -> None:
        watch = self._add(self._containers / id, IN_MODIFY)
        if watch >= 0:
            self._ids[watch] = id
            self._unwatched.discard(id)
        elif ctypes.get_errno() in ABSENT:
            self._unwatched.discard(id)
        else:
            self._unwatched.add(id)

    def _add(self, folder: Path, mask: int) -> int:
        """-1, and errno, if that does not work."""
        if self._descriptor < 0:
            ctypes.set_errno(0)
            return -1
        return int(
            libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask | _ONLY_FOLDERS)
        )
