"""One log file as it is read: from where, up to where, in which pieces, and of which times."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from longshore.errors import HostFailed
from longshore.host.log_cut import line_at, line_of
from longshore.host.log_index import Index
from longshore.model.logs import Mark

CHUNK = 64 * 1024


@dataclass
class LogFile:
    """It may come, go, be replaced and be cut at its head; what is gone is read to its end.

    `offset`: up to where it has been read. `end`: up to where it may be for now, and `at`: the time
    of the last byte before it.
    """

    stream: str
    path: Path
    offset: int = 0
    end: int = 0
    at: float = 0.0
    _descriptor: int | None = None
    _index: Index | None = field(default=None, repr=False)

    def begin(
        self, tail: int | None, since: float | None, until: float | None, after: int = 0
    ) -> None:
        """Sets the offset to where the last `tail` lines of that time begin, or to `after`, unless
        there never was so much."""
        with reading(self.path):
            self.reopen()
            if self._descriptor is None:
                return
            self.offset = after
            self.look(until)
            if since is not None:
                self.offset = at = self._before(since)
                if at < self.end:
                    self.offset = line_of(self._descriptor, at, self._head())
            if tail is not None:
                self.offset = max(self.offset, _tail(self._descriptor, tail, self.end))

    def look(self, until: float | None) -> None:
        """Sets the end: what is there now, of it whole lines that were written before `until`."""
        with reading(self.path):
            if self._descriptor is None:
                return
            status = os.fstat(self._descriptor)
            if status.st_size < self.offset:
                self.offset = 0  # emptied: what is there now is new
            self.end, self.at = status.st_size, status.st_mtime
            if until is not None and self.at >= until:
                last = self._before(until)
                self.end = max(self.offset, line_of(self._descriptor, last, self._head()))

    def segments(self) -> Iterator[Mark]:
        """What is to be read, cut by its times."""
        last = self.offset
        if self._index is not None:
            for mark in self._index.marks(self.offset):
                if mark.offset >= self.end:
                    # Marked since we looked, or the end of what is asked for: its time is known.
                    yield Mark(self.end, mark.at)
                    return
                yield mark
                last = mark.offset
        if self.end > last:
            yield Mark(self.end, self.at)

    def read(self, end: int) -> bytes:
        """The next bytes of what is before `end`; b"": all was read."""
        with reading(self.path):
            while self._descriptor is not None:
                self.offset = max(self.offset, self._head())
                if self.offset >= end:
                    break
                data = os.pread(self._descriptor, min(CHUNK, end - self.offset), self.offset)
                if self._head() > self.offset:
                    continue  # it was cut meanwhile: what was read may be a hole
                if data[:1] == b"\0" and self._skip(end):
                    continue
                self.offset += len(data)
                return data
        return b""

    def unread(self, size: int) -> None:
        self.offset -= size

    def reopen(self) -> bool:
        """Whether there is another file than before; not for what is no file: a pipe's open would
        wait for ever. Raises OSError."""
        try:
            found = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        status = os.fstat(found)
        same = self._descriptor is not None and os.path.samestat(status, os.fstat(self._descriptor))
        if same or not stat.S_ISREG(status.st_mode):
            os.close(found)
            if self._index is not None:
                self._index.open()
            return False
        self.close()
        self._descriptor, self.offset = found, 0
        self._index = Index(self.path)
        return True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._index is not None:
            self._index.close()
            self._index = None

    def _head(self) -> int:
        return self._index.head() if self._index else 0

    def _before(self, at: float) -> int:
        """How much had been written by then. What has no mark yet is as old as the file says."""
        return self.end if self.at < at else self._index.before(at) if self._index else 0

    def _skip(self, end: int) -> bool:
        """Goes on behind a hole that no index tells of, with the first line that is whole."""
        assert self._descriptor is not None
        found = _data_at(self._descriptor, self.offset)
        if found == self.offset:
            return False
        if found is None:
            self.offset = end
            return True
        line = line_at(self._descriptor, found + 1, end)
        self.offset = found if line == found + 1 else line
        return True


def _data_at(descriptor: int, offset: int) -> int | None:
    """Where data begins at or after `offset`, None if there is none any more."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _tail(descriptor: int, lines: int, size: int) -> int:
    """Where the last `lines` lines before `size` begin; an unfinished one counts."""
    head = _data_at(descriptor, 0)
    if head is None or lines == 0 or size == 0:
        return size
    wanted = lines + (os.pread(descriptor, 1, size - 1) == b"\n")
    end = size
    while end > head:
        start = max(head, end - CHUNK)
        block = os.pread(descriptor, end - start, start)
        found = block.count(b"\n")
        if found >= wanted:
            at = len(block)
            for _ in range(wanted):
                at = block.rindex(b"\n", 0, at)
            return start + at + 1
        wanted -= found
        end = start
    return 0


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostFailed(
            f"cannot read the log {path}: {error.strerror}", object=str(path)
        ) from error
