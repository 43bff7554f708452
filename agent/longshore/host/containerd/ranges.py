"""A piece of a file, read where it lies."""

from __future__ import annotations

import os

CHUNK = 1024 * 1024


class Range:
    """A `Reader` of `size` bytes of a file from `start` on. The file's own position stays."""

    def __init__(self, file: int, start: int, size: int) -> None:
        self._file = file
        self._at = start
        self._end = start + size

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._file, min(size, self._end - self._at), self._at)
        if not data and self._at < self._end:
            raise EOFError("the file has become shorter")
        self._at += len(data)
        return data

    def whole(self) -> bytes:
        parts = []
        while part := self.read(CHUNK):
            parts.append(part)
        return b"".join(parts)
