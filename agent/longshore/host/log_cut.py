"""Keeps a log's file short at its head, while another process appends to it.

A hole punched there (fallocate(2)) gives its blocks back and moves nothing: offsets stay true, and
whoever reads or appends need not know. Cut is where a line begins, so that all that is kept is
whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from pathlib import Path

_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE = 0x1, 0x2, 0x8
#: As large as any file system's here; what is punched ends at one's border.
BLOCK = 65536
#: How far a line's end is looked for; longer ones are cut.
LINE_MAX = 1024 * 1024
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(descriptor: int, begin: int, end: int) -> bool:
    """Gives back the blocks in there, but for the one in which it ends. Whether the file system
    can. Raises OSError.
    """
    begin = begin // BLOCK * BLOCK
    length = end // BLOCK * BLOCK - begin
    if length <= 0:
        return True
    return _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, begin, length)


def collapse(descriptor: int, end: int) -> int:
    """Takes whole blocks out at the head, so that all behind moves; returns how many bytes, 0 if
    the file system cannot. Raises OSError."""
    length = end // BLOCK * BLOCK
    return length if length and _fallocate(descriptor, _COLLAPSE, 0, length) else 0


def _fallocate(descriptor: int, mode: int, begin: int, length: int) -> bool:
    if _libc.fallocate(descriptor, mode, begin, length) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number))


def line_at(descriptor: int, offset: int, end: int) -> int:
    """Where the first line that begins at or after `offset` does; `offset` itself where no line
    ends soon."""
    at = max(0, offset - 1)
    stop = min(end, at + LINE_MAX)
    while at < stop:
        data = os.pread(descriptor, min(65536, stop - at), at)
        if not data:
            break
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(data)
    return offset


def line_of(descriptor: int, offset: int, head: int) -> int:
    """Where the line begins that the byte before `offset` has not ended; `offset` itself for one
    that is very long."""
    at = offset
    stop = max(head, offset - LINE_MAX)
    while at > stop:
        start = max(stop, at - 65536)
        found = os.pread(descriptor, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return head if stop == head else offset


def why_not(folder: Path) -> str | None:
    """Why logs in this folder, which exists, cannot be kept short without losing lines."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * BLOCK)
            file.flush()
            if punch(file.fileno(), 0, BLOCK):
                return None
    except OSError as error:
        return f"no hole can be punched into a file in {folder}: {error.strerror}"
    return f"the file system of {folder} punches no holes"
