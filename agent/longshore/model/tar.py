"""Tar streams as containers' files come and go in them: written piece by piece, read with care.

Python's `tarfile` keeps every member in memory, and reads a header of any size; neither is for what
strangers send. Formats: POSIX ustar and pax (IEEE Std 1003.1, pax), and GNU's long names. Pure: the
bytes come from a function.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

BLOCK = 512
#: What ends an archive.
END = bytes(2 * BLOCK)
#: Bytes of a piece of a file's content.
PIECE = 1024 * 1024
FILE, HARD_LINK, SYMLINK, FOLDER, FIFO = b"0", b"1", b"2", b"5", b"6"
CHARACTER_DEVICE, BLOCK_DEVICE = b"3", b"4"
DEVICES = (CHARACTER_DEVICE, BLOCK_DEVICE)
#: PATH_MAX of Linux.
PATH_MAX = 4096
#: Of one extended header, in bytes.
_EXTENDED_MAX = 64 * 1024
#: Digits of the length of a record in it.
_LENGTH_MAX = 7
#: A file, and where its name ends in a slash a folder, as tar was before it had folders.
_OLD = b"\0"
#: A file for which room was saved in one piece, to whom that matters.
_SAVED = b"7"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_KINDS = (FILE, HARD_LINK, SYMLINK, FOLDER, FIFO, *DEVICES)


@dataclass(frozen=True)
class Entry:
    """One member. `size`: bytes of a file's content; `mode`: permission bits; `link`: what a link
    says; `modified_at`: Unix seconds; `device`: major and minor number."""

    kind: bytes
    path: str
    link: str = ""
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    modified_at: int = 0
    device: tuple[int, int] = (0, 0)

    @property
    def shown(self) -> str:
        """The path for a message."""
        return repr(self.path[:255])


def header(entry: Entry) -> bytes:
    """What stands before the entry's content, in blocks."""
    info = tarfile.TarInfo(entry.path)
    info.type, info.linkname, info.size = entry.kind, entry.link, entry.size
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.mtime = max(0, entry.modified_at)
    info.devmajor, info.devminor = entry.device
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What fills up the last block of so many bytes."""
    return bytes(-size % BLOCK)


def inside(path: str) -> str:
    """A member's path, relative and without `./`, empty for the top itself.

    Raises:
        ValueError: it leads out, or is none.
    """
    if len(path) > PATH_MAX:
        raise ValueError(f"the path {path[:64]!r}… is too long")
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path[:255]!r} leads out of it")
    clean = posixpath.normpath(path)
    return "" if clean == "." else clean


class Tar:
    """The members of an archive, in their order; the content of one may be read before the next.

    Args:
        read: the next bytes, fewer than asked for only at the end.
        total: bytes that there are, where that is known: a size beyond them is refused at once.

    Raises, from every method:
        ValueError: it is no tar, is cut off, or has something in it that no tar has.
    """

    def __init__(self, read: Callable[[int], bytes], total: int | None = None) -> None:
        self._read = read
        self._total = total
        self._at = 0
        #: Bytes of the present member, its padding included, that were not read yet.
        self._left = 0
        self._content = 0

    @property
    def at(self) -> int:
        """Bytes that were read."""
        return self._at

    def __iter__(self) -> Iterator[Entry]:
        extended, first = _Extended(), True
        while True:
            self._skip()
            block = self._read(BLOCK)
            self._at += len(block)
            # Two blocks of zeros end it; some writers leave them out.
            if not block.strip(b"\0"):
                if extended != _Extended() or (first and not block):
                    raise ValueError("it is empty" if first else "it is cut off")
                return
            entry = _parsed(block, first=first)
            first = False
            if entry.kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
                if entry.size > _EXTENDED_MAX:
                    raise ValueError("one of its headers is too large")
                self._begin(entry.size)
                extended = extended.with_(entry.kind, b"".join(self.content()))
                continue
            entry, extended = extended.applied(entry), _Extended()
            self._begin(entry.size)
            yield entry

    def content(self) -> Iterator[bytes]:
        """Of the present member, in pieces."""
        while self._content:
            piece = self._exactly(min(PIECE, self._content))
            self._content -= len(piece)
            yield piece

    def _begin(self, size: int) -> None:
        if self._total is not None and self._at + size > self._total:
            raise ValueError("it is cut off")
        self._content = size
        self._left = size + len(padding(size))

    def _skip(self) -> None:
        while self._left:
            # The last padding may be missing where nothing follows it.
            piece = self._read(min(PIECE, self._left))
            self._at += len(piece)
            self._left -= len(piece)
            self._content = max(0, self._content - len(piece))
            if not piece:
                if self._content:
                    raise ValueError("it is cut off")
                self._left = 0

    def _exactly(self, size: int) -> bytes:
        piece = self._read(size)
        self._at += len(piece)
        self._left -= len(piece)
        if len(piece) < size:
            raise ValueError("it is cut off")
        return piece


@dataclass(frozen=True)
class _Extended:
    """What the headers before a member's own say of it."""

    path: str = ""
    link: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    is_sparse: bool = False

    def with_(self, kind: bytes, data: bytes) -> _Extended:
        if kind == _PAX_GLOBAL:
            return self  # it says nothing that matters here
        if kind == _LONG_NAME:
            return replace(self, path=_text(data))
        if kind == _LONG_LINK:
            return replace(self, link=_text(data))
        records = _pax(data)
        numbers: dict[str, int] = {
            name: _number(records[name]) for name in ("size", "uid", "gid") if name in records
        }
        if "mtime" in records:
            numbers["mtime"] = _number(records["mtime"].partition(".")[0].removeprefix("-"))
        return _Extended(
            records.get("path", self.path),
            records.get("linkpath", self.link),
            {**self.numbers, **numbers},
            self.is_sparse or any(key.startswith("GNU.sparse") for key in records),
        )

    def applied(self, entry: Entry) -> Entry:
        path, get = self.path or entry.path, self.numbers.get
        if entry.kind == _OLD:
            entry = replace(entry, kind=FOLDER if path.endswith("/") else FILE)
        if self.is_sparse or entry.kind not in _KINDS:
            what = "sparse" if self.is_sparse else f"of a kind ({entry.kind!r}) that is not known"
            raise ValueError(f"{path[:255]!r} is {what}")
        return replace(
            entry,
            path=path,
            link=self.link or entry.link,
            # Of what has no content the size means nothing.
            size=get("size", entry.size) if entry.kind == FILE else 0,
            uid=get("uid", entry.uid),
            gid=get("gid", entry.gid),
            modified_at=get("mtime", entry.modified_at),
        )


def _parsed(block: bytes, *, first: bool) -> Entry:
    """A header as it stands. Raises ValueError if it is none."""
    if len(block) < BLOCK:
        raise ValueError("it is no tar" if first else "it is cut off")
    try:
        wanted = int(block[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        wanted = -1
    if wanted != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise ValueError("it is no tar" if first else "something in it is no header")
    kind, path = block[156:157], _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    path = f"{prefix}/{path}" if prefix else path
    kind = FILE if kind == _SAVED else kind
    return Entry(
        kind,
        path,
        _text(block[157:257]),
        _field(block[124:136]),
        _field(block[100:108]) & 0o7777,
        _field(block[108:116]),
        _field(block[116:124]),
        _field(block[136:148]),
        (_field(block[329:337]), _field(block[337:345])) if kind in DEVICES else (0, 0),
    )


def _field(field: bytes) -> int:
    # GNU's way where the digits do not do: the top bit, and then a number in base 256.
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        return _number(str(value))
    try:
        value = int(field.partition(b"\0")[0].strip(b" ") or b"0", 8)
    except ValueError as error:
        raise ValueError("a number in it is none") from error
    return _number(str(value))


def _number(text: str) -> int:
    """`int` takes more than tar means, such as signs and blanks."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        raise ValueError("a number in it is none")
    return int(text)


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
        if not equals or length <= len(digits) + 1 or data[at - 1 : at] != b"\n":
            raise ValueError("one of its headers is damaged")
        # A NUL in a name would cut it off for the kernel.
        found[_text(key)] = _text(value)
    return found
