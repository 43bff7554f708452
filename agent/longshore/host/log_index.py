"""A log's time index, in a file beside it: written as the log grows, read when it is asked for.

    16 bytes    magic, and the log's head: the offset of the first line that is kept
    16 bytes    offset, time: a mark (model/logs.py), and so on; offsets rise, times never fall

Only appended to, and a hole punched where marks are of what is no longer kept: a hole reads as
marks of offset 0, so that searching needs to know nothing of it. A reader has it open meanwhile.
One that is broken, or missing, is an empty one: the log is then as old as its file.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from longshore.model.logs import Mark

_MAGIC = b"lslog\0\0\1"
_HEADER = struct.Struct("<8sQ")
_MARK = struct.Struct("<Qd")
_SIZE = _MARK.size
#: Marks read at a time.
_BATCH = 1024
_MODE = 0o640


def beside(log: Path) -> Path:
    """Hidden, as what the container does not see of its folder."""
    return log.with_name(f".{log.stem}.index")


class Index:
    """Open for reading; `write`: also for that. Raises OSError.

    Of one container's logs there is one writer, and any number of readers.
    """

    def __init__(self, log: Path, *, write: bool = False) -> None:
        self._path = beside(log)
        self._descriptor: int | None = None
        if not write:
            self.open()
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, _MODE)
        if self._read(0, len(_MAGIC)) != _MAGIC:
            self.reset()

    def open(self) -> None:
        """To read it, if it was not there before and is now."""
        if self._descriptor is None:
            with contextlib.suppress(FileNotFoundError):
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def head(self) -> int:
        """Where what is kept begins."""
        data = self._read(0, _HEADER.size)
        if len(data) < _HEADER.size:
            return 0
        magic, head = _HEADER.unpack(data)
        return int(head) if magic == _MAGIC else 0

    def size(self) -> int:
        """Bytes of disk, about."""
        return 0 if self._descriptor is None else os.fstat(self._descriptor).st_blocks * 512

    def last(self) -> Mark:
        """The newest; of an empty one: nothing, at no time."""
        count = self._count()
        return self._mark(count - 1) if count else Mark(0, 0.0)

    def before(self, at: float) -> int:
        """How much had been written before this time, as far as the marks tell."""
        first = self._search(lambda mark: mark.at >= at)
        return self._mark(first - 1).offset if first else 0

    def marks(self, offset: int) -> Iterator[Mark]:
        """Those above an offset, in order."""
        at = self._search(lambda mark: mark.offset > offset)
        while data := self._marks(at, _BATCH):
            for mark in _MARK.iter_unpack(data):
                yield Mark(*mark)
            at += len(data) // _SIZE

    def add(self, marks: list[Mark]) -> None:
        at = _HEADER.size + self._count() * _SIZE  # a half written one is overwritten
        self._write(at, b"".join(_MARK.pack(mark.offset, mark.at) for mark in marks))

    def set_head(self, head: int) -> int:
        """Returns up to which byte of the index its marks are of what was before the head."""
        self._write(0, _HEADER.pack(_MAGIC, head))
        first = self._search(lambda mark: mark.offset > head)
        return _HEADER.size + first * _SIZE

    def rebase(self, length: int) -> None:
        """So many bytes were taken out of the log before its head."""
        head = self.head()
        marks = [Mark(mark.offset - length, mark.at) for mark in self.marks(head)]
        self.reset()
        self.add(marks)
        self.set_head(head - length)

    def reset(self) -> None:
        """What follows is of a log that begins anew."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        self._write(0, _HEADER.pack(_MAGIC, 0))

    @property
    def descriptor(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def _count(self) -> int:
        """Of whole ones."""
        if self._descriptor is None:
            return 0
        return max(0, os.fstat(self._descriptor).st_size - _HEADER.size) // _SIZE

    def _mark(self, index: int) -> Mark:
        data = self._marks(index, 1)
        # Shorter than it was: the log has begun anew.
        return Mark(*_MARK.unpack(data)) if data else Mark(0, 0.0)

    def _marks(self, index: int, count: int) -> bytes:
        data = self._read(_HEADER.size + index * _SIZE, count * _SIZE)
        return data[: len(data) // _SIZE * _SIZE]

    def _search(self, is_past: Callable[[Mark], bool]) -> int:
        """Number of the first mark of which that is true."""
        low, high = 0, self._count()
        while low < high:
            middle = (low + high) // 2
            if is_past(self._mark(middle)):
                high = middle
            else:
                low = middle + 1
        return low

    def _read(self, at: int, size: int) -> bytes:
        return b"" if self._descriptor is None else os.pread(self._descriptor, size, at)

    def _write(self, at: int, data: bytes) -> None:
        assert self._descriptor is not None
        while data:
            written = os.pwrite(self._descriptor, data, at)
            at, data = at + written, data[written:]
