"""What a bind, a named volume and a borrowed one become: what is seen, how, and what is made."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from host.volumekit import Host
from longshore.errors import HostFailed, InvalidSpec, PolicyForbids
from longshore.host import folders
from longshore.host.folders import make_allowed
from longshore.host.volumes import Volumes
from longshore.model.mounts import Bind, Borrowed, Mount, NamedVolume, NewFolder
from longshore.model.names import Names


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as stack:
        host = Host(tmp_path, stack)
        yield host
        host.volumes.unmount(host.names)
        assert host.mounted() == []


def writable(folder: Path) -> bool:
    try:
        (folder / "written").touch()
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return False
    (folder / "written").unlink()
    return True


@pytest.mark.parametrize(
    ("recursive", "read_only", "seen", "below"),
    [
        ("enabled", False, True, False),
        ("enabled", True, True, False),
        ("writable", True, True, True),
        ("disabled", False, False, False),
        ("disabled", True, False, False),
    ],
)
def test_mounts_beneath_the_source(
    host: Host, recursive: str, read_only: bool, seen: bool, below: bool
) -> None:
    (host.root / "a" / "sub").mkdir()
    host.mount("-t", "tmpfs", "tmpfs", at=host.root / "a" / "sub")
    (host.root / "a" / "sub" / "mark").touch()
    host.volumes.mount(host.names, [host.bind("a", recursive=recursive, read_only=read_only)])
    assert (host.at() / "sub" / "mark").exists() == seen
    assert writable(host.at()) == (not read_only)
    assert writable(host.at() / "sub") == (below or not read_only)
    assert writable(host.root / "a")


# Sources that are made.


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_what_is_missing_is_made_as_asked(host: Host, umask: int) -> None:
    bind = host.bind("a/one/two", create={"uid": 1234, "gid": 5678, "mode": 0o2751})
    before = (host.root / "a").stat()
    old = os.umask(umask)
    try:
        host.volumes.check([bind])
        assert not (host.root / "a/one").exists(), "a question makes nothing"
        host.volumes.mount(host.names, [bind])
    finally:
        os.umask(old)
    for folder in ("a/one", "a/one/two"):
        entry = (host.root / folder).stat()
        assert (entry.st_uid, entry.st_gid, stat.S_IMODE(entry.st_mode)) == (1234, 5678, 0o2751)
    after = (host.root / "a").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    # What is there stays as it is, and what is in it too.
    (host.at() / "kept").touch()
    host.volumes.mount(host.names, [host.bind("a/one/two", create={"mode": 0o700})])
    assert (host.at() / "kept").exists()
    assert (host.root / "a/one/two").stat().st_uid == 1234
    host.volumes.unmount(host.names)
    assert (host.root / "a/one/two/kept").exists()


@pytest.mark.parametrize("moment", ["fchown", "fchmod", "rename"])
def test_a_death_in_the_midst_leaves_nothing_half_made(host: Host, moment: str) -> None:
    """The next that makes something there takes away what it left."""
    program = f"""
import os, signal, sys
from pathlib import Path
from longshore.host import folders
from longshore.model.mounts import NewFolder
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if {moment!r} == "rename": folders.rename_new = die
else: setattr(os, {moment!r}, die)
folders.make_allowed(Path(sys.argv[1]) / "new", [Path(sys.argv[1])], "f", NewFolder(uid=7))
"""
    ended = subprocess.run([sys.executable, "-c", program, host.root], check=False)
    assert ended.returncode == -signal.SIGKILL
    left = set(os.listdir(host.root)) - {"a", "b"}
    assert [name.startswith(".longshore-new-") for name in left] == [True]
    (host.root / ".longshore-new-data").mkdir()
    (host.root / ".longshore-new-data" / "kept").touch()
    host.volumes.mount(host.names, [host.bind("new", create={"uid": 7, "mode": 0o750})])
    made = (host.root / "new").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (7, 0o750)
    assert sorted(os.listdir(host.root)) == [".longshore-new-data", "a", "b", "new"]


def test_several_make_one_at_once(host: Host) -> None:
    new = NewFolder(uid=7, mode=0o750)
    for number in range(20):
        source = host.root / str(number) / "x"

        def make(_: int, source: Path = source) -> int:
            fd = make_allowed(source, [host.root], "f", new)
            try:
                found = os.fstat(fd)
                assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (7, 0o750), "never half made"
                return found.st_ino
            finally:
                os.close(fd)

        with ThreadPoolExecutor() as pool:
            assert len(set(pool.map(make, range(4)))) == 1
        assert os.listdir(source.parent) == ["x"]
    assert not [name for name in os.listdir(host.root) if name.startswith(".")]


def test_where_nothing_can_be_renamed_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(folders, "rename_new", cannot)
    host.volumes.mount(host.names, [host.bind("new", create={"uid": 7, "mode": 0o750})])
    made = (host.root / "new").stat()
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (7, 0o750)
    assert sorted(os.listdir(host.root)) == ["a", "b", "new"]


def test_a_file_that_is_there_needs_no_making(host: Host) -> None:
    host.volumes.mount(host.names, [host.bind("a/file", create={})])
    assert host.at().read_text() == "a"


@pytest.mark.parametrize("below", ["link", "link/new", "link/new/er"])
@pytest.mark.parametrize("absolute", [True, False])
def test_nothing_is_made_through_a_link_out(host: Host, below: str, absolute: bool) -> None:
    (host.root / "link").symlink_to(f"{host.secret}/none" if absolute else "../secret/none")
    for _ in range(2):
        for call in (host.volumes.check, lambda mounts: host.volumes.mount(host.names, mounts)):
            with pytest.raises((PolicyForbids, InvalidSpec)):
                call([host.bind(below, create={})])
        (host.root / "link").unlink()
        (host.root / "link").symlink_to(host.secret if absolute else "../secret")
    assert os.listdir(host.secret) == ["file"]
    assert host.mounted() == []


@pytest.mark.parametrize("name", ["dangling", "dangling/x", "a/file/x", "a/file/x/y"])
def test_what_cannot_be_made(host: Host, name: str) -> None:
    (host.root / "dangling").symlink_to("nowhere")
    bind = host.bind(name, create={})
    for call in (host.volumes.check, lambda mounts: host.volumes.mount(host.names, mounts)):
        with pytest.raises(InvalidSpec, match="cannot mount") as error:
            call([bind])
        assert error.value.field == "mounts[0].source"
    assert sorted(os.listdir(host.root)) == ["a", "b", "dangling"]


def test_nothing_is_made_outside_of_the_roots(host: Host, tmp_path: Path) -> None:
    bind = Bind(source=f"{tmp_path}/beside/x", target="/x", create={})  # type: ignore[arg-type]  # pydantic makes one of it
    with pytest.raises(PolicyForbids):
        host.volumes.mount(host.names, [bind])
    assert not (tmp_path / "beside").exists()


def test_a_link_within_is_followed(host: Host) -> None:
    (host.root / "link").symlink_to("a")
    host.volumes.mount(host.names, [host.bind("link/new", create={})])
    assert (host.root / "a/new").is_dir()


def test_a_root_that_is_not_there_is_not_made(host: Host) -> None:
    (host.root / "a" / "file").unlink()
    (host.root / "a").rmdir()
    volumes = Volumes(host.layout, lambda: [host.root / "a"])
    with pytest.raises(InvalidSpec):
        volumes.mount(host.names, [host.bind("a/x", create={})])
    assert not (host.root / "a").exists()


# Volumes.


def test_volumes_of_the_node(host: Host) -> None:
    other = Names(str(uuid4()))
    places = (host.layout.named_volume("data"), host.layout.data(other, 3))
    for folder in places:
        folder.mkdir(parents=True)
        (folder / "mark").write_text(folder.name)
    mounts: list[Mount] = [
        NamedVolume(name="data", target="/data"),
        Borrowed(container=other.id, index=3, target="/theirs", read_only=True),
    ]
    host.volumes.check(mounts)
    host.volumes.mount(host.names, mounts)
    assert [(host.at(index) / "mark").read_text() for index in (0, 1)] == ["data", "3"]
    assert [writable(host.at(index)) for index in (0, 1)] == [True, False]
    host.volumes.unmount(host.names)
    assert [os.listdir(folder) for folder in places] == [["mark"], ["mark"]]


def test_a_volume_that_is_lost(host: Host) -> None:
    with pytest.raises(HostFailed, match="No such file"):
        host.volumes.mount(host.names, [NamedVolume(name="data", target="/data")])
