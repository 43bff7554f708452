"""User namespaces, idmapped mounts and what belongs to them, on the real kernel."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from fakes.lifecycle import until
from longshore.errors import DeadlineExceeded, HostFailed, HostUnavailable, InvalidSpec
from longshore.host import idmap, namespaces, netns
from longshore.host.containerd import remapped, snapshots
from longshore.host.containerd.client import Client
from longshore.host.mountinfo import mount_points
from longshore.host.namespaces import container_map, node_map, user_namespace
from longshore.host.userns import UserNamespaces
from longshore.model.host import Ids
from longshore.model.layout import Layout
from longshore.model.names import Names

_NS_GET_USERNS = 0xB701
IDS = Ids(1_000_000_000, 65536)
CLIENT = cast(Client, None)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "state", tmp_path / "run")
    yield layout
    assert [str(one.path) for one in mount_points() if one.path.is_relative_to(tmp_path)] == []


@pytest.fixture
def names() -> Names:
    return Names(str(uuid4()))


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two layers and a container's own, as containerd tells of them; here without containerd."""
    for name in ("1/fs", "2/fs", "3/fs", "3/work"):
        (tmp_path / "snapshots" / name).mkdir(parents=True)
    top = tmp_path / "snapshots"
    (top / "1/fs/file").write_text("one")
    os.chown(top / "1/fs/file", 7, 8)
    options = [
        f"workdir={top}/3/work",
        f"upperdir={top}/3/fs",
        f"lowerdir={top}/2/fs:{top}/1/fs",
    ]
    overlay = SimpleNamespace(type="overlay", source="overlay", options=options)
    monkeypatch.setattr(snapshots, "mounts", lambda *_: [overlay])
    return top


def owner(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_uid, there.st_gid


def helpers() -> list[str]:
    """Programs that this process has begun and that are still there."""
    listed = subprocess.run(
        ["ps", "-o", "comm=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return [name for name in listed.stdout.split() if name != "ps"]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_container_from_make_to_remove(layout: Layout, names: Names, snapshot: Path) -> None:
    users = UserNamespaces(layout, CLIENT, "overlayfs", snapshot)
    users.check()
    assert (users.cannot(), users.owned()) == ([], set())
    users.remove(names)
    before, running = descriptors(), helpers()
    for _ in range(2):
        users.make(names, IDS)
        assert users.owned() == {names.id}
        assert owner(layout.layers(names) / "1/fs/file") == (IDS.first + 7, IDS.first + 8)
        assert owner(snapshot / "1/fs/file") == (7, 8)
        assert owner(snapshot / "3/fs") == (IDS.first, IDS.first)
        assert len([one for one in mount_points() if names.id in str(one.path)]) == 2
    held = layout.userns(names).stat().st_ino
    users.make(names, IDS)
    assert layout.userns(names).stat().st_ino == held, "it is never replaced"
    for _ in range(2):
        users.remove(names)
        assert users.owned() == set()
    assert (descriptors(), helpers()) == (before, running)


@pytest.mark.parametrize("left", ["folder", "file", "namespace", "point", "commit"])
def test_what_a_death_has_left_is_no_trouble(
    layout: Layout, names: Names, snapshot: Path, left: str
) -> None:
    users = UserNamespaces(layout, CLIENT, "overlayfs", snapshot)

    def leave() -> None:
        folder = layout.userns(names).parent
        folder.mkdir()
        if left in ("file", "namespace", "point"):
            layout.userns(names).touch()
        if left == "namespace":
            with user_namespace(container_map(IDS)) as file:
                subprocess.run(["mount", "--bind", file, layout.userns(names)], check=True)
        if left == "point":
            layout.layers(names).mkdir()
        if left == "commit":
            (folder / "commit-1").mkdir()
            with user_namespace(node_map(IDS)) as file:
                idmap.show(snapshot / "3/fs", folder / "commit-1", file)

    leave()
    users.remove(names)
    assert users.owned() == set()
    leave()
    users.make(names, IDS)
    assert owner(layout.layers(names) / "1/fs/file") == (IDS.first + 7, IDS.first + 8)
    users.remove(names)
    assert (snapshot / "1/fs/file").read_text() == "one"


def test_data_is_never_removed(layout: Layout, names: Names, snapshot: Path) -> None:
    users = UserNamespaces(layout, CLIENT, "overlayfs", snapshot)
    users.make(names, IDS)
    subprocess.run(["umount", layout.layers(names)], check=True)
    (layout.layers(names) / "data").touch()
    with pytest.raises(HostFailed, match="not empty"):
        users.remove(names)
    assert (layout.layers(names) / "data").exists()
    (layout.layers(names) / "data").unlink()
    users.remove(names)


def test_where_it_cannot_be(layout: Layout, tmp_path: Path) -> None:
    whys = {
        ("native", tmp_path): "it takes snapshotter overlayfs, this node uses native",
        ("overlayfs", Path("/proc")): "does not support idmapped mounts",
        ("overlayfs", tmp_path / "none"): "No such file",
    }
    for (snapshotter, root), why in whys.items():
        users = UserNamespaces(layout, CLIENT, snapshotter, root)
        (cannot,) = users.cannot()
        assert cannot.feature == "security.user_namespace"
        assert why in cannot.why
        with pytest.raises(InvalidSpec) as refused:
            users.check()
        assert refused.value.field == "security.user_namespace"
        assert [one["field"] for one in refused.value.faults] == ["security.user_namespace"]
        assert cannot.why in refused.value.message


def test_a_network_that_belongs_to_it(layout: Layout, names: Names) -> None:
    path = layout.netns(names)
    running = helpers()
    with user_namespace(container_map(IDS)) as file:
        for _ in range(2):
            netns.ensure(path, file)
        with path.open() as opened:
            whose = os.fstat(fd := fcntl.ioctl(opened, _NS_GET_USERNS)).st_ino
            os.close(fd)
        assert whose == file.stat().st_ino
    shown = subprocess.run(
        ["nsenter", f"--net={path}", "cat", "/proc/sys/net/ipv6/conf/default/disable_ipv6"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == "1\n"
    netns.remove(path)
    assert helpers() == running


def test_what_the_program_says_is_what_is_told(
    layout: Layout, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, before = helpers(), descriptors()
    with pytest.raises(HostFailed, match=r"nsenter: .*none"):
        netns.ensure(layout.netns(names), tmp_path / "none")
    assert not layout.netns(names).exists()
    with pytest.raises(HostUnavailable, match="Invalid argument"), user_namespace((0, 0, 0)):
        pass
    monkeypatch.setattr(namespaces, "_UNSHARE", "/nowhere/unshare")
    with (
        pytest.raises(HostUnavailable, match="/nowhere/unshare: No such file") as gone,
        user_namespace(container_map(IDS)),
    ):
        pass
    assert gone.value.hint == "install util-linux"
    stuck = tmp_path / "unshare"
    stuck.write_text("#!/bin/sh\nexec sleep 1000\n")
    stuck.chmod(0o700)
    monkeypatch.setattr(namespaces, "_UNSHARE", str(stuck))
    monkeypatch.setattr(namespaces, "DEADLINE", 0.05)
    with pytest.raises(DeadlineExceeded), user_namespace(container_map(IDS)):
        pass
    assert (helpers(), descriptors()) == (running, before)


def test_no_program_to_enter_one(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out at the agent's start, and not by the first container."""
    monkeypatch.setattr(namespaces, "_NSENTER", "/nowhere/nsenter")
    (cannot,) = UserNamespaces(layout, CLIENT, "overlayfs", tmp_path).cannot()
    assert "/nowhere/nsenter: No such file" in cannot.why


def test_a_program_that_does_not_die_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    running, kill, spared = helpers(), os.kill, list[int]()
    monkeypatch.setattr(os, "kill", lambda pid, signal: spared.append(pid))
    with user_namespace(container_map(IDS)):
        monkeypatch.setattr(namespaces, "_is_ready", lambda fd, seconds: False)
    (pid,) = spared
    with suppress(ProcessLookupError):  # It may have noticed that nobody listens.
        kill(pid, 9)
    until(lambda: helpers() == running)


def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before, pipe, made = descriptors(), os.pipe, list[tuple[int, int]]()

    def once() -> tuple[int, int]:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(pipe())
        return made[0]

    monkeypatch.setattr(os, "pipe", once)
    with pytest.raises(OSError, match="Too many"), user_namespace(container_map(IDS)):
        pass
    assert descriptors() == before


def test_more_descriptors_than_select_knows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    held = [os.open("/dev/null", os.O_RDONLY)]
    try:
        while held[-1] < 1100:
            held.append(os.dup(held[0]))
        with user_namespace(container_map(IDS)) as file:
            assert file.exists()
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_system_that_cannot(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with user_namespace(container_map(IDS)) as file:
        with pytest.raises(HostUnavailable, match="does not support idmapped") as cannot:
            idmap.show(Path("/proc"), target, file)
        assert "ext4" in str(cannot.value.hint)
        with pytest.raises(FileNotFoundError):
            idmap.show(tmp_path, target, tmp_path / "none")
    with suppress(FileNotFoundError):
        idmap.hide(tmp_path / "none")
    idmap.hide(target)
    assert not target.exists()


def overlay(*lower: str, upper: str = "/s/9/fs") -> Any:
    options = ["index=off", f"workdir={upper}/../work", f"upperdir={upper}"]
    options += [f"lowerdir={':'.join(lower)}"]
    return SimpleNamespace(type="overlay", source="overlay", options=options)


def test_the_layers_alone_move() -> None:
    found = [overlay("/s/2/fs", "/s/1/fs")]
    (moved,) = remapped.mounts(found, "c", Path("/seen"))
    assert list(moved.options) == [
        "index=off",
        "workdir=/s/9/fs/../work",
        "upperdir=/s/9/fs",
        "lowerdir=/seen/2/fs:/seen/1/fs",
    ]
    assert remapped.common(found, "c") == Path("/s")
    assert remapped.own(found) == [Path("/s/9/fs")]


def test_a_snapshot_without_layers_is_all_its_own() -> None:
    found = [SimpleNamespace(type="bind", source="/s/1/fs", options=["rbind", "rw"])]
    assert remapped.own(found) == [Path("/s/1/fs")]
    (same,) = remapped.mounts(found, "c", Path("/seen"))
    assert (same.type, same.source, list(same.options)) == ("bind", "/s/1/fs", ["rbind", "rw"])


def test_a_snapshot_of_another_kind() -> None:
    found = [SimpleNamespace(type="btrfs", source="/dev/vda", options=["subvolid=5"])]
    with pytest.raises(HostFailed, match="mounts of type btrfs"):
        remapped.common(found, "c")
