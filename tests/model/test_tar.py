"""Tars written and read by hand, against Python's own; and what is none."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import pytest

from longshore.model import tar
from longshore.model.tar import Entry, Tar, inside

ENTRIES = (
    Entry(tar.FOLDER, "d/", mode=0o1755, uid=1, gid=2, modified_at=3),
    Entry(tar.FILE, "d/f", size=700, mode=0o4644, uid=2**21, gid=2**30, modified_at=2**33),
    Entry(tar.FILE, "d/" + "ü" * 150, size=0),
    Entry(tar.SYMLINK, "d/s", link="../" + "x" * 200, mode=0o777),
    Entry(tar.HARD_LINK, "d/h", link="d/f"),
    Entry(tar.FIFO, "d/p"),
    Entry(tar.CHARACTER_DEVICE, "d/c", device=(1, 3)),
    Entry(tar.FILE, "odd\udcff\nname", size=3),
)


def written(*entries: Entry) -> bytes:
    parts = [
        tar.header(one) + b"x" * one.size + (tar.padding(one.size) if one.size else b"")
        for one in entries
    ]
    return b"".join(parts) + tar.END


def read(data: bytes, total: int | None = None) -> list[Entry]:
    return list(Tar(io.BytesIO(data).read, total))


def test_what_is_written_is_read() -> None:
    data = written(*ENTRIES)
    assert read(data, len(data)) == list(ENTRIES)
    archive, sizes = Tar(io.BytesIO(data).read), []
    for entry in archive:
        sizes.append(sum(map(len, archive.content())))
        assert sizes[-1] == entry.size
    assert archive.at == len(data) - tar.BLOCK
    with tarfile.open(fileobj=io.BytesIO(data)) as other:
        names = [info.name + ("/" if info.isdir() else "") for info in other]
    assert names == [one.path for one in ENTRIES]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_of_other_writers(form: int) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name in ("a/" * 60 + "file", "b"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = 5, 12, 70_000
            archive.addfile(info, io.BytesIO(b"12345"))
    long, short = read(made.getvalue())
    assert (long.path, short.path) == ("a/" * 60 + "file", "b")
    assert {(one.size, one.modified_at, one.uid) for one in (long, short)} == {(5, 12, 70_000)}


def test_what_is_none() -> None:
    data = written(replace(ENTRIES[1], size=1500))
    for cut in (0, 1, 511, 512, 700, 1024):
        with pytest.raises(ValueError, match=r"is cut off|is no tar|is empty"):
            read(data[:cut])
    for at in (0, 100, 148, 156):
        with pytest.raises(ValueError, match="no tar"):
            read(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    with pytest.raises(ValueError, match="cut off"):
        read(data, total=600)
    lies = tar.header(Entry(tar.FILE, "huge", size=2**60))
    with pytest.raises(ValueError, match="cut off"):
        read(lies, len(lies))
    bomb = bytearray(tar.header(Entry(tar.FILE, "x", size=2**30))[:512])
    bomb[156:157] = b"x"
    bomb[148:156] = b" " * 8
    bomb[148:156] = b"%06o\0 " % sum(bomb)
    with pytest.raises(ValueError, match="too large"):
        read(bytes(bomb))


def test_records_of_a_pax_header() -> None:
    def pax(records: bytes) -> bytes:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, len(records)
        return info.tobuf(tarfile.USTAR_FORMAT) + records + tar.padding(len(records))

    file = tar.header(Entry(tar.FILE, "f")) + tar.END
    assert read(pax(b"15 path=a\0../b\n") + file)[0].path == "a"
    for records in (b"path=a\n", b"99 path=a\n", b"0 path=a\n", b"8 a=b\n", b"11 size=-1\n"):
        with pytest.raises(ValueError, match=r"damaged|number"):
            read(pax(records) + file)
    with pytest.raises(ValueError, match="sparse"):
        read(pax(b"22 GNU.sparse.major=1\n") + file)


def test_paths() -> None:
    assert [inside(one) for one in ("a", "./a/", "a//b", ".", "./")] == ["a", "a", "a/b", "", ""]
    for path in ("", "/a", "..", "a/../b", "../a", "a/..", "x" * 5000):
        with pytest.raises(ValueError, match=r"leads out|too long"):
            inside(path)
