"""Volumes on the real kernel: what is bound, what is refused, and what hangs."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import until
from host.volumekit import Host
from longshore.errors import DeadlineExceeded, HostBusy, HostFailed, InvalidSpec, PolicyForbids
from longshore.host import beneath, folders
from longshore.host.hangs import LEFT_MAX, Hangs
from longshore.host.mountinfo import containing, mount_points
from longshore.host.volumes import Volumes
from longshore.model.mounts import Bind, Mount, Tmpfs


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as stack:
        host = Host(tmp_path, stack)
        yield host
        host.volumes.unmount(host.names)
        assert host.mounted() == []
        assert host.volumes.owned() == set()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_folder_and_file_are_bound_and_gone_again(host: Host) -> None:
    mounts: list[Mount] = [host.bind("a"), Tmpfs(target="/t", size=4096), host.bind("b/file")]
    before = descriptors()
    host.volumes.check(mounts)
    host.volumes.mount(host.names, mounts)
    (host.at(0) / "new").write_text("from inside")
    assert (host.root / "a" / "new").read_text() == "from inside"
    assert host.at(2).read_text() == "b"
    assert not host.at(1).exists()
    assert host.volumes.owned() == {host.names.id}
    host.volumes.unmount(host.names)
    assert (host.mounted(), host.volumes.owned()) == ([], set())
    assert (host.root / "a" / "new").read_text() == "from inside"
    assert (host.root / "b" / "file").read_text() == "b"
    host.volumes.unmount(host.names)
    assert descriptors() == before


def test_mounting_again_leaves_one_mount_of_what_is_there_now(host: Host) -> None:
    host.volumes.mount(host.names, [host.bind("a"), host.bind("b/file")])
    (host.root / "a").rename(host.root / "old")
    (host.root / "a").mkdir()
    for _ in range(2):
        host.volumes.mount(host.names, [host.bind("a"), host.bind("b/file")])
    assert len(host.mounted()) == 2
    assert list(host.at(0).iterdir()) == []
    host.volumes.mount(host.names, [host.bind("b/file"), host.bind("a")])
    assert (len(host.mounted()), host.at(0).read_text()) == (2, "b")


def test_read_only_covers_what_is_mounted_beneath(host: Host) -> None:
    (host.root / "a" / "sub").mkdir()
    host.mount("-t", "tmpfs", "tmpfs", at=host.root / "a" / "sub")
    host.volumes.mount(host.names, [host.bind("a", read_only=True), host.bind("a")])
    for folder in (host.at(0), host.at(0) / "sub"):
        with pytest.raises(OSError, match="Read-only"):
            (folder / "x").touch()
    for folder in (host.at(1), host.at(1) / "sub"):
        (folder / "x").touch()
    assert (host.root / "a" / "sub" / "x").exists()


def test_every_stacked_mount_goes(host: Host) -> None:
    host.volumes.mount(host.names, [host.bind("a")])
    for _ in range(3):
        subprocess.run(["mount", "--bind", str(host.secret), str(host.at())], check=True)
    assert len(host.mounted()) == 4
    host.volumes.unmount(host.names)
    assert host.mounted() == []
    assert (host.secret / "file").exists()


def test_a_mount_in_use_goes_too(host: Host) -> None:
    host.volumes.mount(host.names, [host.bind("a")])
    with (host.at() / "file").open() as file:
        host.volumes.unmount(host.names)
        assert file.read() == "a"
    assert host.mounted() == []


@pytest.mark.parametrize("is_folder", [True, False])
def test_data_beneath_a_mount_point_is_kept(host: Host, is_folder: bool) -> None:
    host.volumes.mount(host.names, [host.bind("a" if is_folder else "a/file")])
    subprocess.run(["umount", str(host.at())], check=True)
    data = host.at() / "data" if is_folder else host.at()
    data.write_text("written while nothing was mounted")
    with pytest.raises(HostFailed, match="not empty"):
        host.volumes.unmount(host.names)
    assert data.read_text() == "written while nothing was mounted"
    data.unlink()
    if is_folder:
        host.volumes.unmount(host.names)


# What is refused.


def refused(host: Host, source: Path | str, field: str = "mounts[0].source") -> PolicyForbids:
    """By check and by mount alike, and nothing is mounted."""
    bind = Bind(source=str(source), target="/x")
    with pytest.raises(PolicyForbids) as at_check:
        host.volumes.check([bind])
    with pytest.raises(PolicyForbids) as at_mount:
        host.volumes.mount(host.names, [bind])
    assert at_check.value.to_dict() == at_mount.value.to_dict()
    assert at_check.value.field == field
    assert at_check.value.object == str(source)
    assert str(host.root) in str(at_check.value.hint)
    assert at_check.value.details["rule"] == "volumes.roots"
    (fault,) = at_check.value.details["faults"]
    assert (fault["field"], str(source) in fault["why"]) == (field, True)
    assert host.mounted() == []
    return at_check.value


def test_outside_of_the_roots(host: Host) -> None:
    assert "beneath no allowed folder" in str(refused(host, host.secret))
    refused(host, "/etc")
    refused(host, "/nowhere/at/all")
    refused(host, f"{host.root}-beside")


def test_all_that_are_refused_are_told(host: Host) -> None:
    binds = [Bind(source=one, target=f"/{i}") for i, one in enumerate(["/etc", "/nowhere", "/x"])]
    with pytest.raises(PolicyForbids, match=r"^cannot mount /etc: .* \(and 2 more\)$") as caught:
        host.volumes.check([*binds[:2], host.bind("none"), host.bind("a"), binds[2]])
    assert caught.value.details["rule"] == "volumes.roots"
    fields = [fault["field"] for fault in caught.value.details["faults"]]
    assert fields == [f"mounts[{i}].source" for i in (0, 1, 4)]


def test_dots_lead_out_of_no_root(host: Host) -> None:
    """The spec refuses `..`; should one come through, the kernel refuses it."""
    with pytest.raises(ValueError, match=r"without '\.\.'"):
        Bind(source=f"{host.root}/../secret", target="/x")
    bind = Bind.model_construct(source=f"{host.root}/a/../../secret", target="/x")
    with pytest.raises(PolicyForbids):
        host.volumes.mount(host.names, [bind])


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("below", [True, False])
def test_a_link_out_is_refused(host: Host, absolute: bool, below: bool) -> None:
    (host.root / "link").symlink_to(host.secret if absolute else "../secret")
    error = refused(host, host.root / "link" / "file" if below else host.root / "link")
    assert "leads out" in str(error)


def test_a_link_to_a_link_out_is_refused(host: Host) -> None:
    (host.root / "first").symlink_to(host.root / "second")
    (host.root / "second").symlink_to(host.secret)
    refused(host, host.root / "first")


def test_magic_links_and_loops_are_refused(host: Host) -> None:
    (host.root / "loop").symlink_to("loop")
    refused(host, host.root / "loop")
    (host.root / "proc").mkdir()
    host.mount("-t", "proc", "proc", at=host.root / "proc")
    refused(host, host.root / "proc" / "self" / "root" / "etc")
    refused(host, host.root / "proc" / "self" / "cwd")


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_that_stays_is_followed(host: Host, absolute: bool) -> None:
    (host.root / "link").symlink_to(host.root / "a" if absolute else "b/../a")
    host.volumes.check([host.bind("link")])
    host.volumes.mount(host.names, [host.bind("link")])
    assert (host.at() / "file").read_text() == "a"


def test_a_link_swapped_in_between_check_and_mount(host: Host) -> None:
    bind = host.bind("a")
    host.volumes.check([bind])
    (host.root / "a").rename(host.root / "aside")
    (host.root / "a").symlink_to(host.secret)
    with pytest.raises(PolicyForbids):
        host.volumes.mount(host.names, [bind])
    assert host.mounted() == []


def test_what_is_not_there(host: Host) -> None:
    mounts = [host.bind("none"), host.bind("a"), host.bind("a/file/x")]
    with pytest.raises(InvalidSpec) as error:
        host.volumes.check(mounts)
    assert [fault["field"] for fault in error.value.faults] == [
        "mounts[0].source",
        "mounts[2].source",
    ]
    with pytest.raises(InvalidSpec):
        host.volumes.mount(host.names, mounts)


def test_roots_that_are_links_or_not_there(host: Host, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(host.root)
    volumes = Volumes(host.layout, lambda: [tmp_path / "nowhere", tmp_path / "alias"])
    volumes.check([Bind(source=str(tmp_path / "alias" / "a"), target="/x")])
    volumes.check([Bind(source=str(host.root), target="/x")])
    with pytest.raises(InvalidSpec):
        volumes.check([Bind(source=str(tmp_path / "nowhere" / "a"), target="/x")])
    with pytest.raises(PolicyForbids) as error:
        volumes.check([Bind(source=str(host.secret), target="/x")])
    assert str(tmp_path / "nowhere") in str(error.value.hint)
    with pytest.raises(PolicyForbids, match="beneath no allowed folder") as error:
        Volumes(host.layout, list).check([host.bind("a")])
    assert error.value.hint == "this node's configuration allows no folder at all"


def test_a_nested_root_allows_what_its_parent_allows(host: Host) -> None:
    (host.root / "a" / "link").symlink_to("../b")
    volumes = Volumes(host.layout, lambda: [host.root / "a", host.root])
    volumes.mount(host.names, [host.bind("a/link")])
    assert (host.at() / "file").read_text() == "b"


# Propagation.


def shared_source(host: Host) -> Path:
    """`a` is a shared mount with a tmpfs mounted in it."""
    source = host.root / "a"
    host.mount("--bind", str(source), at=source)
    subprocess.run(["mount", "--make-shared", str(source)], check=True)
    (source / "sub").mkdir()
    host.mount("-t", "tmpfs", "tmpfs", at=source / "sub")
    return source


@pytest.mark.parametrize(
    ("propagation", "hears", "tells"),
    [
        ("private", False, False),
        ("rprivate", False, False),
        ("slave", True, False),
        ("rslave", True, False),
        ("shared", True, True),
        ("rshared", True, True),
    ],
)
def test_propagation(host: Host, propagation: str, hears: bool, tells: bool) -> None:
    source = shared_source(host)
    host.volumes.mount(host.names, [host.bind("a", propagation=propagation)])
    for folder in (source / "later", source / "inside"):
        folder.mkdir()
    host.mount("-t", "tmpfs", "tmpfs", at=source / "later")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(host.at() / "inside")], check=True)
    paths = [point.path for point in mount_points()]
    assert (host.at() / "later" in paths) == hears
    assert (source / "inside" in paths) == tells
    host.volumes.unmount(host.names)
    paths = [point.path for point in mount_points()]
    assert {source, source / "sub", source / "later"} <= set(paths)
    assert (source / "inside" in paths) == tells
    if tells:
        subprocess.run(["umount", str(source / "inside")], check=True)


@pytest.mark.parametrize("propagation", ["slave", "rshared"])
def test_propagation_that_cannot_be_is_refused(host: Host, propagation: str) -> None:
    host.mount("--bind", str(host.root / "a"), at=host.root / "a")
    subprocess.run(["mount", "--make-private", str(host.root / "a")], check=True)
    with pytest.raises(InvalidSpec, match="mounted private") as error:
        host.volumes.check([host.bind("b"), host.bind("a", propagation=propagation)])
    assert error.value.field == "mounts[1].propagation"


def test_a_shared_run_folder_is_no_trouble(host: Host) -> None:
    """As on systemd hosts, where /run is shared."""
    run = host.layout.run_dir
    run.mkdir()
    host.mount("--bind", str(run), at=run)
    subprocess.run(["mount", "--make-shared", str(run)], check=True)
    source = shared_source(host)
    host.volumes.mount(host.names, [host.bind("a"), host.bind("a", propagation="rshared")])
    host.volumes.unmount(host.names)
    assert host.mounted() == ["."]
    assert (source / "sub") in [point.path for point in mount_points()]
    subprocess.run(["umount", str(run)], check=True)


# What hangs.


def may_hang_threads() -> int:
    return sum(thread.name.startswith("may hang") for thread in threading.enumerate())


@pytest.mark.parametrize("below", ["", "/x"])
def test_a_hung_file_system_holds_nobody(host: Host, below: str) -> None:
    (host.root / "hung").mkdir()
    threads, before = may_hang_threads(), descriptors()
    fuse = host.hang(host.root / "hung")
    volumes = Volumes(host.layout, lambda: [host.root], deadline=0.3)
    try:
        hung = host.bind(f"hung{below}")
        with pytest.raises(DeadlineExceeded) as error:
            volumes.mount(host.names, [hung])
        assert (error.value.object, error.value.retry) == (hung.source, True)
        for _ in range(20):
            with pytest.raises(HostBusy, match="an earlier attempt still hangs"):
                volumes.mount(host.names, [hung])
        assert may_hang_threads() == threads + 1
        # Others are not held up meanwhile, and neither is cleaning up.
        volumes.mount(host.names, [host.bind("a")])
        assert len(host.mounted()) == 1
        volumes.unmount(host.names)
    finally:
        os.close(fuse)
    for thread in threading.enumerate():
        if thread.name.startswith("may hang"):
            thread.join(10)
    assert may_hang_threads() == threads
    assert host.mounted() == []
    assert descriptors() == before
    with pytest.raises(HostFailed, match="Transport endpoint is not connected"):
        volumes.mount(host.names, [hung])


def test_a_volume_that_came_to_hang_is_unmounted(host: Host) -> None:
    (host.root / "hung").mkdir()
    host.volumes.mount(host.names, [host.bind("a"), host.bind("b")])
    fuse = host.hang(host.at(0))
    try:
        host.volumes.unmount(host.names)
    finally:
        os.close(fuse)
    assert host.mounted() == []


def test_a_value_that_comes_too_late_is_given_back() -> None:
    hangs = Hangs(0.05)
    go, given_back = threading.Event(), threading.Event()
    values: list[int] = []

    def work() -> int:
        go.wait()
        return 7

    def discard(value: int) -> None:
        values.append(value)
        given_back.set()

    with pytest.raises(DeadlineExceeded):
        hangs.run("test", "x", work, discard)
    with pytest.raises(HostBusy):
        hangs.run("test", "x", work, discard)
    assert hangs.run("test", "y", lambda: 8, discard) == 8
    go.set()
    assert given_back.wait(10)
    assert values == [7]
    assert hangs.run("test", "x", work, discard) == 7


def test_many_paths_of_a_dead_file_system_are_bounded() -> None:
    hangs, go = Hangs(0.001), threading.Event()
    threads = may_hang_threads()
    for number in range(LEFT_MAX):
        with pytest.raises(DeadlineExceeded):
            hangs.run("test", f"/dead/{number}", go.wait)
    for name in ("/dead/other", "/alive"):
        with pytest.raises(HostBusy, match=f"{LEFT_MAX} earlier calls still hang, one at /dead/"):
            hangs.run("test", name, go.wait)
    assert may_hang_threads() == threads + LEFT_MAX
    go.set()
    until(lambda: may_hang_threads() == threads)
    assert hangs.run("test", "/alive", lambda: 8) == 8


def test_sources_that_hang_keep_nothing_from_being_unmounted(host: Host) -> None:
    threads = may_hang_threads()
    (host.root / "hung").mkdir()
    host.volumes.mount(host.names, [host.bind("a")])
    fuse = host.hang(host.root / "hung")
    volumes = Volumes(host.layout, lambda: [host.root], deadline=0.05)
    try:
        for number in range(LEFT_MAX):
            with pytest.raises(DeadlineExceeded):
                volumes.check([host.bind(f"hung/{number}")])
        with pytest.raises(HostBusy):
            volumes.check([host.bind("a")])
        volumes.unmount(host.names)
        assert host.mounted() == []
    finally:
        os.close(fuse)
    until(lambda: may_hang_threads() == threads)


def test_nothing_is_made_once_it_is_too_late(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system answers again when nobody waits any more."""
    go, opens = threading.Event(), beneath.open_allowed

    def slow(source: Path, roots: Sequence[Path], field: str, **words: Any) -> int:
        go.wait()
        return opens(source, roots, field, **words)

    monkeypatch.setattr(folders, "open_allowed", slow)
    threads = may_hang_threads()
    volumes = Volumes(host.layout, lambda: [host.root], deadline=0.05)
    with pytest.raises(DeadlineExceeded):
        volumes.mount(host.names, [host.bind("a/one/two", create={})])
    go.set()
    until(lambda: may_hang_threads() == threads)
    assert os.listdir(host.root / "a") == ["file"]


def test_an_error_of_the_work_is_the_callers() -> None:
    def work() -> int:
        raise OSError(errno.EIO, "lost")

    with pytest.raises(OSError, match="lost"):
        Hangs(5).run("test", "x", work)


def test_mountinfo_escapes(host: Host) -> None:
    odd = host.root / "a b\tc\\d"
    odd.mkdir()
    host.mount("-t", "tmpfs", "tmpfs", at=odd)
    point = containing(odd / "deeper", mount_points())
    assert (point.path, point.filesystem) == (odd, "tmpfs")
    host.volumes.mount(host.names, [host.bind(odd.name)])
    assert len(host.mounted()) == 1
