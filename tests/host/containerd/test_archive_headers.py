"""Tars made by hand to do harm. Every one is refused by its headers, before anything is stored."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.errors import BadImage, Interrupted
from longshore.host.containerd import tarindex
from longshore.host.containerd.tarindex import Member, TarIndex


def header(
    name: bytes = b"file", size: bytes = b"00000000000\0", kind: bytes = b"0", link: bytes = b""
) -> bytes:
    """One of ustar's, with its checksum."""
    block = bytearray(512)
    fields = ((0, name), (100, b"0000644\0"), (124, size), (156, kind), (157, link))
    for at, value in (*fields, (257, b"ustar\x0000"), (148, b" " * 8)):
        block[at : at + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(*records: tuple[str, str], kind: bytes = b"x") -> bytes:
    data = b""
    for key, value in records:
        record = f" {key}={value}\n".encode()
        length = next(n for n in range(len(record), 9999) if n == len(record) + len(str(n)))
        data += str(length).encode() + record
    return header(size=b"%011o\0" % len(data), kind=kind) + padded(data)


def big(size: int) -> bytes:
    """GNU's way to write a number; negative ones are possible."""
    return (size % 2**96).to_bytes(12, "big") if size < 0 else bytes([0x80]) + size.to_bytes(11)


def index(tmp_path: Path, data: bytes) -> TarIndex:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with path.open("rb") as file:
        return tarindex.read(file.fileno(), len(data))


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "zeros": (bytes(4096), "empty"),
    "text": (b"no archive\n" * 100, "no tar"),
    "half a header": (header()[:300], "cut off"),
    "a wrong checksum": (header().replace(b"file", b"fill"), "no tar"),
    "rubbish after a file": (header() + b"?" * 512, "at byte 512 is no header"),
    "a path up": (header(b"../evil"), "leads out"),
    "a path down and up": (header(b"a/../../evil"), "leads out"),
    "an absolute path": (header(b"/etc/evil"), "leads out"),
    "a long path up": (pax(("path", "../evil")) + header(), "leads out"),
    "a path of GNU's up": (
        header(size=b"%011o\0" % 8, kind=b"L") + padded(b"../evil\0") + header(),
        "leads out",
    ),
    "a link up": (header(b"a/b", kind=b"2", link=b"../../etc/passwd"), "leads out"),
    "a link to the root": (header(kind=b"2", link=b"/etc/passwd"), "leads out"),
    "a hard link up": (header(b"a/b", kind=b"1", link=b"../etc/passwd"), "leads out"),
    "a long link up": (
        pax(("linkpath", "../../x")) + header(b"a/b", kind=b"2", link=b"ok"),
        "leads out",
    ),
    "a disk": (header(b"sda", kind=b"4"), "a device"),
    "a terminal": (header(b"tty", kind=b"3"), "a device"),
    "a fifo": (header(b"fifo", kind=b"6"), "a fifo"),
    "GNU's sparse file": (header(b"sparse", kind=b"S"), "a sparse file"),
    "pax's sparse file": (
        pax(("GNU.sparse.major", "1"), ("GNU.sparse.realsize", str(2**60))) + header(),
        "a sparse file",
    ),
    "an unknown kind": (header(kind=b"Z"), "unknown kind"),
    "two of one name": (header(b"a") + header(b"./a"), "two files"),
    "a file and a link of one name": (header(b"a") + header(b"a", kind=b"2", link=b"b"), "two"),
    "more than there is": (header(size=b"77777777777\0"), "cut off"),
    "far more than there is": (header(size=big(2**70)), "cut off|no number"),
    "a size by pax that is not there": (pax(("size", str(2**50))) + header(), "cut off"),
    "less than nothing": (header(size=big(-512)), "no number"),
    "less than nothing by pax": (pax(("size", "-512")) + header(), "no number"),
    "a size in words": (header(size=b"many"), "no number"),
    "a size with a sign": (header(size=b"-0000000100\0"), "no number"),
    "a huge header": (header(size=b"%011o\0" % 2**24, kind=b"x") + bytes(2**24), "too large"),
    "a header that is cut off": (header(size=b"%011o\0" % 5000, kind=b"x"), "cut off"),
    "a record that lies about its length": (
        header(size=b"%011o\0" % 12, kind=b"x") + padded(b"3 path=aaaa\n") + header(),
        "damaged",
    ),
    "a record without a length": (
        header(size=b"%011o\0" % 7, kind=b"x") + padded(b"path=a\n") + header(),
        "damaged",
    ),
    "too many files": (
        b"".join(header(b"%d" % i) for i in range(40000)),
        "more than 32768 headers",
    ),
    "too many folders": (header(b"folder/", kind=b"5") * 40000, "more than 32768 headers"),
    "too many extended headers": (pax(("path", "a")) * 40000, "more than 32768 headers"),
    "a path beyond PATH_MAX": (pax(("path", "a/" * 2100)) + header(), "too long"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_tar(tmp_path: Path, what: str) -> None:
    data, text = HOSTILE[what]
    with pytest.raises(BadImage, match=text) as caught:
        index(tmp_path, data)
    assert caught.value.message.startswith("cannot read the archive: ")
    assert caught.value.message.isprintable()


def test_it_can_be_called_off(tmp_path: Path) -> None:
    """Folders and extended headers are looked at as well."""
    data = header(b"folder/", kind=b"5") + pax(("path", "a")) + header()
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Interrupted("cannot go on: the agent stops")

    with path.open("rb") as file, pytest.raises(Interrupted):
        tarindex.read(file.fileno(), len(data), check)


def test_many_records_in_one_header(tmp_path: Path) -> None:
    """As many as fit: each is looked at once."""
    data = b"6 a=b\n" * 10_000 + b"10 path=x\n"
    found = index(
        tmp_path, header(size=b"%011o\0" % len(data), kind=b"x") + padded(data) + header()
    )
    assert set(found.members) == {"x"}


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    found = index(
        tmp_path,
        header(b"round", kind=b"2", link=b"round") + header(b"gone", kind=b"1", link=b"nonesuch"),
    )
    for path in ("round", "gone", "nonesuch"):
        with pytest.raises(BadImage, match="missing"):
            found.find(path)
    with pytest.raises(BadImage, match="leads out"):
        found.find("../x")


FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("form", FORMATS)
def test_what_tar_writes(tmp_path: Path, form: str) -> None:
    """Python's own writer, with names long enough to need more than one field."""
    memory = io.BytesIO()
    long = "/".join(["folder" * 5] * (4 if form == "ustar" else 12)) + "/file"
    with tarfile.open(
        fileobj=memory, mode="w", format=FORMATS[form], pax_headers={"comment": "global"}
    ) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in (("./folder/a", b"abc"), (long, bytes(700)), ("empty", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, kind, to in (
            ("folder/soft", tarfile.SYMTYPE, "../empty"),
            ("hard", tarfile.LNKTYPE, "folder/a" if form == "ustar" else long),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, to
            tar.addfile(link)
    data = memory.getvalue()
    found = index(tmp_path, data)
    assert set(found.members) == {"folder/a", long, "empty", "folder/soft", "hard"}
    at = found.find("folder/a")
    assert data[at.start : at.start + at.size] == b"abc"
    assert found.find("hard") == found.find("folder/a" if form == "ustar" else long)
    assert found.find(long).size == 700
    assert found.find("folder/soft") == found.find("empty")
    # Without the zeros at its end as well.
    assert index(tmp_path, data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512)) == found


def test_more_than_eight_gibibytes(tmp_path: Path) -> None:
    """Where octal digits do not reach; the file itself is a hole."""
    size = 9 * 2**30
    path = tmp_path / "big.tar"
    for head in (header(size=big(size)), pax(("size", str(size))) + header()):
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + size + 1024)
        with path.open("rb") as file:
            found = tarindex.read(file.fileno(), os.fstat(file.fileno()).st_size)
        assert found.find("file") == Member(len(head), size)


def test_a_header_is_what_it_seems(tmp_path: Path) -> None:
    """The helpers of this file make good headers, or the table above would prove nothing."""
    make: Callable[[bytes], TarIndex] = lambda data: index(tmp_path, data)  # noqa: E731 - one line
    assert make(header()).find("file") == Member(512, 0)
    assert make(pax(("path", "other")) + header()).find("other") == Member(1536, 0)
    assert make(header(kind=b"2", link=b"b") + header(b"b")).find("file") == Member(1024, 0)
