"""What a container sends is unpacked where it was wanted, and nowhere else."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from e2e.tars import member, packed
from longshore.cli.packing import Packing
from longshore.cli.unpacking import Pieces, Unpacking
from longshore.errors import LongshoreError


def unpack(target: Path, tar: bytes, *, owners: bool = False) -> list[str]:
    notes: list[str] = []
    Unpacking(target, owners, notes.append).unpack(io.BytesIO(tar).read)
    return notes


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_goes_out_comes_back(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep" / "empty").mkdir(parents=True)
    (source / "deep").chmod(0o750)
    (source / "file").write_bytes(b"hello" * 300_000)
    (source / "file").chmod(0o640)
    os.utime(source / "file", (5, 5))
    os.link(source / "file", source / "other")
    (source / "link").symlink_to("/nowhere/at/all")
    os.mkfifo(source / "pipe")
    notes: list[str] = []
    pieces = list(Packing(source, "top", False, notes.append).pieces())
    assert unpack(target, b"".join(pieces)) == ["'top/pipe' is left out: it is a device or a pipe"]
    assert listed(target) == ["deep", "deep/empty", "file", "link", "other"]
    assert (target / "file").read_bytes() == b"hello" * 300_000
    assert (target / "file").stat().st_ino == (target / "other").stat().st_ino
    assert stat.S_IMODE((target / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((target / "deep").stat().st_mode) == 0o750
    assert (target / "file").stat().st_mtime == 5
    assert (target / "link").readlink() == Path("/nowhere/at/all")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "top/../../evil", "top/a/../../../evil"])
def test_no_path_leads_out(tmp_path: Path, name: str) -> None:
    target = tmp_path / "in" / "target"
    target.parent.mkdir()
    with pytest.raises(LongshoreError, match="leads out"):
        unpack(target, packed(member("top", type=tarfile.DIRTYPE), member(name, b"x")))
    assert listed(tmp_path) == ["in", "in/target"]


def test_no_link_is_gone_through(tmp_path: Path) -> None:
    """Neither one that the tar brings, nor one that was there."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    (outside / "file").write_text("mine")
    link = member("top/l", type=tarfile.SYMTYPE, linkname=str(outside))
    top = member("top", type=tarfile.DIRTYPE, mode=0o755)
    hostile = {
        "through": [link, member("top/l/new", b"x")],
        "folder": [link, member("top/l", type=tarfile.DIRTYPE), member("top/l/new", b"x")],
        "hard link": [link, member("top/h", type=tarfile.LNKTYPE, linkname="top/l/file")],
    }
    target.mkdir()
    for why, members in hostile.items():
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            unpack(target / why, packed(top, *members))
    (target / "there").mkdir()
    (target / "there" / "l").symlink_to(outside)
    (target / "there" / "f").symlink_to(outside / "file")
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        unpack(target / "there", packed(top, member("top/l/new", b"x")))
    unpack(target / "there", packed(top, member("top/f", b"theirs")))
    assert (target / "there" / "f").read_bytes() == b"theirs"
    assert (listed(outside), (outside / "file").read_text()) == (["file"], "mine")


def test_rights_that_came_from_there(tmp_path: Path) -> None:
    """A program of root's that runs as root for everybody is not for this machine, unless asked."""
    tool = packed(member("tool", b"x", mode=0o6755, uid=7, gid=8))
    unpack(tmp_path / "plain", tool)
    unpack(tmp_path / "whole", tool, owners=True)
    plain, whole = (tmp_path / "plain").stat(), (tmp_path / "whole").stat()
    assert (stat.S_IMODE(plain.st_mode), plain.st_uid) == (0o755, os.getuid())
    assert (stat.S_IMODE(whole.st_mode), whole.st_uid, whole.st_gid) == (0o6755, 7, 8)


def test_devices(tmp_path: Path) -> None:
    null = member("top/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    assert len(unpack(tmp_path / "t", packed(member("top", type=tarfile.DIRTYPE), null))) == 1
    assert listed(tmp_path / "t") == []
    # One that is named as the target is written to, and stays what it is.
    unpack(Path("/dev/null"), packed(member("f", b"x" * 100)))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_what_is_cut_off(tmp_path: Path) -> None:
    tar = packed(member("f", b"x" * 5000))
    for size in (0, 100, 3000):
        with pytest.raises(LongshoreError, match="cannot unpack"):
            unpack(tmp_path / "f", tar[:size])


def test_pieces_are_read_as_a_file() -> None:
    stream = Pieces(iter([b"abc", b"d", b"efgh"]))
    assert [stream.read(one) for one in (2, 3, 1, 9, 9)] == [b"ab", b"cde", b"f", b"gh", b""]
