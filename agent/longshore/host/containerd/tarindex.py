"""Where in a tar its files lie.

Python's `tarfile` trusts what it reads: a header's size can make it read itself into memory, or,
before its fix for CVE-2025-8194, go round for ever. Here only the headers are read, with a bound
on everything, and what has no place in an image archive is refused: devices, sparse files, paths
and links that lead out of it, two files of one name.

Formats: POSIX ustar and pax (IEEE Std 1003.1, pax), and GNU's long names.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from longshore.errors import BadImage

_BLOCK = 512
#: Of all kinds: folders and extended headers are read as well.
_HEADERS_MAX = 32768
#: Of one extended header, in bytes.
_EXTENDED_MAX = 64 * 1024
#: Digits of the length of a record in it.
_LENGTH_MAX = 7
#: PATH_MAX of Linux.
_PATH_MAX = 4096
_LINKS_MAX = 8
_FILES = (b"0", b"\0", b"7")
_FOLDER, _HARD_LINK, _SYMLINK = b"5", b"1", b"2"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_SPARSE = b"S"
_REFUSED = {b"3": "a device", b"4": "a device", b"6": "a fifo", _SPARSE: "a sparse file"}


@dataclass(frozen=True)
class Member:
    """A regular file: `size` bytes from `start` on; or a link to another member's path."""

    start: int
    size: int
    link: str | None = None


@dataclass(frozen=True)
class TarIndex:
    """The files and links in a tar, by path."""

    members: Mapping[str, Member]

    def __contains__(self, path: str) -> bool:
        return path in self.members

    def find(self, path: str) -> Member:
        """The regular file at the path; links within the archive are followed."""
        at = inside(path)
        for _ in range(_LINKS_MAX):
            member = self.members.get(at)
            if member is None:
                break
            if member.link is None:
                return member
            at = member.link
        raise BadImage(f"cannot read the archive: {path[:255]!r} is missing", object=path[:255])


def inside(path: str) -> str:
    """The member's path without `./`; one that leads out of the archive is an attack."""
    if len(path) > _PATH_MAX:
        raise BadImage(f"cannot read the archive: path {path[:255]!r}… is too long")
    clean = posixpath.normpath(path)
    if clean.startswith(("/", "../")) or clean == "..":
        raise BadImage(f"cannot read the archive: path {path[:255]!r} leads out of it")
    return clean


def read(file: int, size: int, check: Callable[[], None] = lambda: None) -> TarIndex:
    """Reads the headers of the tar in the first `size` bytes of the file descriptor.

    Args:
        check: asked for each; what it raises ends it.

    Raises:
        BadImage: it is no tar, is cut off, or holds what an image archive does not.
        OSError: it cannot be read.
    """
    found: dict[str, Member] = {}
    for header in _headers(file, size, check):
        path, shown = header.path, repr(header.path[:255])
        if header.is_sparse or header.kind in _REFUSED:
            what = _REFUSED.get(header.kind, _REFUSED[_SPARSE])
            raise BadImage(f"cannot read the archive: {shown} is {what}")
        if header.kind == _FOLDER or header.is_folder:
            continue
        if path in found:
            raise BadImage(f"cannot read the archive: it has two files {shown}")
        found[path] = Member(header.start, header.size, header.link)
    return TarIndex(found)


@dataclass(frozen=True)
class _Header:
    """One member, with what extended headers say of it."""

    kind: bytes
    path: str
    link: str | None
    start: int
    size: int
    is_sparse: bool
    is_folder: bool


def _headers(file: int, total: int, check: Callable[[], None]) -> Iterator[_Header]:
    at, extended, count = 0, _Extended(), 0
    while (block := os.pread(file, _BLOCK, at)).strip(b"\0"):
        check()
        count += 1
        if count > _HEADERS_MAX:
            raise BadImage(f"cannot read the archive: more than {_HEADERS_MAX} headers")
        kind, size = _checked(block, at)
        start = at + _BLOCK
        if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            _check_inside(total, start, size)
            extended = extended.with_(kind, _text_of(file, start, size))
        else:
            # Of what has no data the size means nothing.
            size = (size if extended.size is None else extended.size) if kind in _FILES else 0
            _check_inside(total, start, size)
            yield _header(block, kind, extended, start, size)
            extended = _Extended()
        at = start + -(-size // _BLOCK) * _BLOCK
    # Two blocks of zeros end it; some writers leave them out.
    if at == 0:
        raise BadImage("cannot read the archive: it is empty")


def _header(block: bytes, kind: bytes, extended: _Extended, start: int, size: int) -> _Header:
    name = _name(block)
    path = inside(extended.path or name)
    link = None
    if kind in (_SYMLINK, _HARD_LINK):
        base = posixpath.dirname(path) if kind == _SYMLINK else ""
        link = inside(posixpath.join(base, extended.link or _text(block[157:257])))
    elif kind not in (_FOLDER, *_FILES, *_REFUSED):
        raise BadImage(f"cannot read the archive: {path[:255]!r} is of unknown kind {kind!r}")
    return _Header(kind, path, link, start, size, extended.is_sparse, name.endswith("/"))


@dataclass(frozen=True)
class _Extended:
    """What the headers before a member's own say of it."""

    path: str = ""
    link: str = ""
    size: int | None = None
    is_sparse: bool = False

    def with_(self, kind: bytes, data: bytes) -> _Extended:
        if kind == _PAX_GLOBAL:
            return self  # it says nothing that matters here
        if kind == _LONG_NAME:
            return replace(self, path=_text(data))
        if kind == _LONG_LINK:
            return replace(self, link=_text(data))
        records = _pax(data)
        return _Extended(
            records.get("path", self.path),
            records.get("linkpath", self.link),
            _number(records["size"]) if "size" in records else self.size,
            self.is_sparse or any(key.startswith("GNU.sparse") for key in records),
        )


def _text_of(file: int, start: int, size: int) -> bytes:
    if size > _EXTENDED_MAX:
        raise BadImage("cannot read the archive: one of its headers is too large")
    return os.pread(file, size, start)


def _checked(header: bytes, at: int) -> tuple[bytes, int]:
    """Type and size that a header says, if it is one."""
    if len(header) < _BLOCK:
        raise BadImage("cannot read the archive: it is cut off")
    try:
        wanted = int(header[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        wanted = -1
    if wanted != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        where = f"at byte {at} is no header" if at else "it is no tar"
        raise BadImage(f"cannot read the archive: {where}")
    field = header[124:136]
    # GNU's way beyond 8 GiB: the top bit, and then a number in base 256.
    if field[0] & 0x80:
        size = int.from_bytes(field, "big", signed=False) - (0x80 << 88)
    else:
        try:
            size = int(field.strip(b" \0") or b"0", 8)
        except ValueError as error:
            raise BadImage("cannot read the archive: a size is no number") from error
    return header[156:157], _number(str(size))


def _number(text: str) -> int:
    """A size; `int` takes more than tar means, such as signs and blanks."""
    if not text.isdecimal() or len(text) > 19:
        raise BadImage("cannot read the archive: a size is no number")
    return int(text)


def _check_inside(total: int, start: int, length: int) -> None:
    if start + length > total:
        raise BadImage("cannot read the archive: it is cut off")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    """The records of a pax header: `length key=value\\n`, the length counting itself."""
    found, at = {}, 0
    while at < len(data):
        digits, blank, _ = data[at : at + _LENGTH_MAX + 1].partition(b" ")
        length = int(digits) if blank and digits.isdigit() else 0
        record = data[at + len(digits) + 1 : at + length - 1]
        at += length
        key, equals, value = record.partition(b"=")
        if not equals or length <= len(digits) + 1:
            raise BadImage("cannot read the archive: one of its headers is damaged")
        found[_text(key)] = value.decode(errors="surrogateescape")
    return found
