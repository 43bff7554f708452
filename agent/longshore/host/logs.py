"""What a container wrote: two files that the shim appends to and nobody else writes.

A log may be kept short by punching a hole at its head, which never moves what follows; so the
offsets stay true, and a hole is skipped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import HostFailed
from longshore.host.inotify import Inotify
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.status import LogChunk

_CHUNK = 64 * 1024
#: Longest wait for news, in seconds: the caller then learns that we are still here.
_WAKE = 2.0
#: The shim closes the files when the container ends; soon after, `ended` will say so.
_SOON = 0.02


class Logs:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(
        self,
        names: Names,
        *,
        tail: int | None,
        follow: bool,
        ended: Callable[[], bool],
    ) -> Generator[LogChunk, None, None]:
        """stdout, then stderr, from the last `tail` lines of each on (None: all there is).

        With `follow` it goes on until `ended` says that nothing more will come, and yields an
        empty chunk every few seconds. The first one is empty: all that is written from then on will
        be read, even if the files are removed meanwhile. A file that is missing is an empty one.

        Raises:
            HostFailed: a file cannot be read.
        """
        files = [
            _File("stdout", self._layout.stdout(names)),
            _File("stderr", self._layout.stderr(names)),
        ]
        with contextlib.ExitStack() as stack:
            watch = stack.enter_context(Inotify(self._layout.folder(names))) if follow else None
            for file in files:
                stack.callback(file.close)
                with _reading(file.path):
                    file.seek_tail(tail)
            if follow:
                yield LogChunk("stdout", b"")
            # Not long at first: what closed the files before we watched them makes no event.
            wait = _SOON
            while True:
                # Asked before reading: what was written before it ended is read after it.
                last = watch is None or ended()
                for file in files:
                    yield from file.news()
                if last or watch is None:
                    return
                news = watch.wait(wait)
                wait = _SOON if news.closed else min(_WAKE, wait * 2)
                if not news.any:
                    yield LogChunk("stdout", b"")


@dataclass
class _File:
    """One of the two. It may come, go and be replaced; what is gone is read to its end."""

    stream: str
    path: Path
    offset: int = 0
    descriptor: int | None = None

    def seek_tail(self, tail: int | None) -> None:
        """Sets the offset to the beginning of the last `tail` lines."""
        self._reopen()
        if tail is not None and self.descriptor is not None:
            self.offset = _tail(self.descriptor, tail)

    def news(self) -> Iterator[LogChunk]:
        more = True
        while more:
            while data := self._next():
                yield LogChunk(self.stream, data)
            with _reading(self.path):
                more = self._reopen()

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _next(self) -> bytes:
        if self.descriptor is None:
            return b""
        with _reading(self.path):
            if os.fstat(self.descriptor).st_size < self.offset:
                self.offset = 0  # truncated: what is there now is new
            data_at = _data_at(self.descriptor, self.offset)
            if data_at is None:
                return b""
            data = os.pread(self.descriptor, _CHUNK, data_at)
            skipped = data_at > self.offset
            self.offset = data_at + len(data)
            # A hole that does not end at a block's border has its last zeros in the block.
            return (data.lstrip(b"\0") or self._next()) if skipped else data

    def _reopen(self) -> bool:
        """Whether there is another file than before; not for what is no file: a pipe's open would
        wait for ever."""
        try:
            found = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        status = os.fstat(found)
        same = self.descriptor is not None and os.path.samestat(status, os.fstat(self.descriptor))
        if same or not stat.S_ISREG(status.st_mode):
            os.close(found)
            return False
        self.close()
        self.descriptor, self.offset = found, 0
        return True


def _data_at(descriptor: int, offset: int) -> int | None:
    """Where data begins at or after `offset`, None if there is none any more."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _tail(descriptor: int, lines: int) -> int:
    """Where the last `lines` lines begin; an unfinished one counts."""
    size = os.fstat(descriptor).st_size
    head = _data_at(descriptor, 0)
    if head is None or lines == 0:
        return size
    wanted = lines + (os.pread(descriptor, 1, size - 1) == b"\n")
    end = size
    while end > head:
        start = max(head, end - _CHUNK)
        block = os.pread(descriptor, end - start, start)
        found = block.count(b"\n")
        if found >= wanted:
            at = len(block)
            for _ in range(wanted):
                at = block.rindex(b"\n", 0, at)
            return start + at + 1
        wanted -= found
        end = start
    return head


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostFailed(
            f"cannot read the log {path}: {error.strerror}", object=str(path)
        ) from error
