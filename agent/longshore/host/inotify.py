"""inotify(7) by ctypes: wait until something in one folder is written or closed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from longshore.errors import Exhausted, HostFailed

IN_MODIFY, _IN_CLOSE_WRITE = 0x2, 0x8
_IN_MOVED_TO, IN_CREATE = 0x80, 0x100
IN_Q_OVERFLOW, IN_IGNORED = 0x4000, 0x8000
_MASK = IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | IN_CREATE
EVENT = struct.Struct("iIII")
ABSENT = (errno.ENOENT, errno.ENOTDIR)
_FULL = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class News:
    """`any`: something happened in the folder. `closed`: a writer has closed its file."""

    any: bool
    closed: bool


class Inotify:
    """A watch on `folder`; one that does not exist yet is looked for again at each wait.

    Raises:
        Exhausted: the node's limit on inotify instances or watches is reached.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watching = False
        self._descriptor = checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), folder)
        try:
            self._watch()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Inotify:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def wait(self, timeout: float) -> News:
        """Waits up to `timeout` seconds for the next event."""
        if not self._watching and self._watch():
            return News(any=True, closed=False)  # what was written before the watch stood
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return News(any=False, closed=False)
        seen = self._drain()
        if seen & IN_IGNORED:
            self._watching = False  # the folder is gone, and may come again
        return News(any=bool(seen & ~IN_IGNORED), closed=bool(seen & _IN_CLOSE_WRITE))

    def _watch(self) -> bool:
        added = libc.inotify_add_watch(self._descriptor, os.fsencode(self._folder), _MASK)
        if added < 0 and ctypes.get_errno() in ABSENT:
            return False
        checked(added, self._folder)
        self._watching = True
        return True

    def _drain(self) -> int:
        """The masks of all events that wait, in one."""
        seen = 0
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                at = 0
                while at < len(data):
                    _, mask, _, length = EVENT.unpack_from(data, at)
                    at += EVENT.size
                    if data[at : at + 1] != b"." or not length:  # what is hidden is ours
                        seen |= mask
                    at += length
        return seen


def checked(result: int, folder: Path) -> int:
    if result >= 0:
        return result
    number = ctypes.get_errno()
    cls = Exhausted if number in _FULL else HostFailed
    raise cls(
        f"cannot follow {folder}: {os.strerror(number)}",
        object=str(folder),
        hint="raise fs.inotify.max_user_instances or max_user_watches"
        if cls is Exhausted
        else None,
    )
