"""A file as it is once decompressed: gzip, bzip2, xz and zstd, by their first bytes.

A compressed stream is no place to look things up in: it is unpacked into a file without a name,
as much of it as is allowed, before anything else.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from longshore.errors import BadImage, Exhausted, HostFailed, MessageTooLarge

CHUNK = 1024 * 1024
#: What a damaged stream raises while it is read.
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, ValueError)
#: Of memory, in bytes; a stream may ask for 4 GiB. All that xz and zstd make by themselves fits.
_MEMORY_MAX = 128 * 1024 * 1024


@contextmanager
def plain(file: BinaryIO, spool: Path, limit: int, check: Callable[[], None]) -> Iterator[BinaryIO]:
    """The file itself, or one in the folder `spool` that is gone with the block.

    Args:
        limit: bytes, compressed and not.
        check: asked between pieces; what it raises ends it.

    Raises:
        BadImage: the stream is damaged.
        MessageTooLarge: it is above the limit.
        Exhausted: the disk is full.
    """
    start = file.read(6)
    file.seek(0, 2)
    _check_size(file.tell(), limit)
    file.seek(0)
    opener = next((how for magic, how in _OPENERS if start.startswith(magic)), None)
    if opener is None:
        yield file
        return
    with ExitStack() as stack:
        with _spooling(spool):
            there = stack.enter_context(tempfile.TemporaryFile(dir=spool))
        size = 0
        for chunk in _chunks(opener, file):
            size += len(chunk)
            _check_size(size, limit)
            check()
            with _spooling(spool):
                there.write(chunk)
        with _spooling(spool):
            there.flush()
        yield there


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise MessageTooLarge(
            f"cannot load the image: the archive is above {limit} bytes",
            hint="[images] archive_max in the agent's configuration sets the limit",
            details={"max_size": limit},
        )


def _chunks(opener: Callable[[BinaryIO], Iterator[bytes]], file: BinaryIO) -> Iterator[bytes]:
    try:
        yield from opener(file)
    except _DAMAGED as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise BadImage(f"cannot read the archive: {why}") from error


@contextmanager
def _spooling(spool: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT) else HostFailed
        raise kind(
            f"cannot load the image: cannot decompress it in {spool}: {error.strerror}"
        ) from error


def _reading(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _bzip2(file: BinaryIO) -> Iterator[bytes]:
    with bz2.BZ2File(file) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _xz(file: BinaryIO) -> Iterator[bytes]:
    """LZMAFile has no limit of memory."""
    pieces, data = _reading(file), b""
    stream: lzma.LZMADecompressor | None = None
    while True:
        if not data and (stream is None or stream.eof or stream.needs_input):
            data = next(pieces, b"")
            if not data:
                break
        if stream is None or stream.eof:
            # One may follow another, with zeros between them.
            data = data.lstrip(b"\0")
            if not data:
                continue
            stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_MAX)
        yield stream.decompress(data, CHUNK)
        data = stream.unused_data
    if stream is None or not stream.eof:
        raise EOFError("it is cut off")


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    """A stream that is cut off just ends: what is missing then, the tar will tell."""
    stream = zstandard.ZstdDecompressor(max_window_size=_MEMORY_MAX)
    with stream.stream_reader(file, read_across_frames=True, closefd=False) as reader:
        while chunk := reader.read(CHUNK):
            yield chunk


_OPENERS: tuple[tuple[bytes, Callable[[BinaryIO], Iterator[bytes]]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"BZh", _bzip2),
    (b"\xfd7zXZ\0", _xz),
    (b"\x28\xb5\x2f\xfd", _zstd),
)
