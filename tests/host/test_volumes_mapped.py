"""Sources that the users of a user namespace are to see: found out before anything is promised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from host.fusekit import served
from host.volumekit import Host
from longshore.errors import DeadlineExceeded, InvalidSpec
from longshore.host.mountinfo import mount_points
from longshore.host.volumes import Volumes


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as stack:
        yield Host(tmp_path, stack)


def test_a_source_that_cannot_be_mapped_is_refused_with_its_field(host: Host) -> None:
    (host.root / "a" / "sub").mkdir()
    layers = f"lowerdir={host.secret}:{host.root / 'b'}"
    host.mount("-t", "overlay", "-o", layers, "x", at=host.root / "a" / "sub")
    (host.root / "fuse").mkdir()
    before = _mounts(host)
    good = [host.bind("b"), host.bind("a/file"), host.bind("a", recursive="disabled")]
    host.volumes.check(good, mapped=True)
    with served(host.root / "fuse"):
        bad = [host.bind("a"), *good, host.bind("a/sub"), host.bind("fuse")]
        host.volumes.check(bad)
        with pytest.raises(InvalidSpec, match=r"user namespace: .* does not support") as caught:
            host.volumes.check([*bad, host.bind("a/sub/new", create={})], mapped=True)
    fields = [fault["field"] for fault in caught.value.faults]
    assert fields == [f"mounts[{index}].source" for index in (0, 4, 5, 6)]
    assert caught.value.field == "mounts[0].source"
    assert "needs Linux" in str(caught.value.hint)
    assert _mounts(host) == before


def _mounts(host: Host) -> list[Path]:
    """Of this test: others come and go beside it."""
    return [one.path for one in mount_points() if one.path.is_relative_to(host.root)]


def test_a_hung_source_holds_nobody(host: Host) -> None:
    (host.root / "hung").mkdir()
    with served(host.root / "hung") as fuse:
        fuse.silence()
        volumes = Volumes(host.layout, lambda: [host.root], deadline=0.3)
        with pytest.raises(DeadlineExceeded):
            volumes.check([host.bind("hung/deep")], mapped=True)
        assert fuse.held.is_set()


def test_flags_of_what_is_mounted(host: Host) -> None:
    host.mount("-t", "tmpfs", "-o", "nosuid,noexec", "x", at=host.root / "b")
    assert host.volumes.flags(host.names) == {}
    host.volumes.mount(host.names, [host.bind("a"), host.bind("b", read_only=True)])
    assert host.volumes.flags(host.names) == {0: [], 1: ["noexec", "nosuid"]}
    host.volumes.unmount(host.names)
    assert host.volumes.flags(host.names) == {}


def test_roots_where_setuid_programs_may_be_left(host: Host) -> None:
    (host.root / "link").symlink_to("a")
    host.mount("-t", "tmpfs", "-o", "nosuid", "x", at=host.root / "a")
    safe = [host.root / "a" / "deeper", host.root / "link"]
    volumes = Volumes(host.layout, lambda: [*safe, host.root])
    (finding,) = volumes.findings()
    assert f" in {host.root}, which is not mounted nosuid" in finding
    assert Volumes(host.layout, lambda: safe).findings() == []
