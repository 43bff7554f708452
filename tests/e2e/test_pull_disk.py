"""containerd's disk is full, or would be: what was there is untouched, and what came is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from bench.lab import mounts
from bench.lab.bad_registry import BadRegistry
from bench.lab.containerd import PrivateContainerd
from bench.lab.host import Scope, audit
from bench.lab.image import Layout, layout_of, tar_of
from bench.lab.wire import Wire
from e2e.lab import Lab, running_lab, until
from e2e.pulling import MIB, Valve, asked, image, layers, pull, stored
from longshore.errors import Exhausted
from longshore.model.status import ContainerStatus

#: Bytes of containerd's file system.
SIZE = 96 * MIB
#: Percent of it: see [images].
HIGH, LOW = 80, 70
#: Writes its number to its own file system, which is on that disk, and to its log, which is not.
WRITES = "n=0; while true; do n=$((n+1)); (echo $n >/number) && echo $n; sleep 0.02; done"


@dataclass(frozen=True)
class Small:
    """A node whose containerd has a small disk, and a registry behind a valve."""

    lab: Lab
    bad: BadRegistry
    valve: Valve
    host: str
    disk: Path

    def serve(self, layout: Layout, name: str) -> str:
        self.bad.serve(layout, name.partition(":")[2])
        return f"{self.host}/{name}"

    def used(self) -> int:
        space = os.statvfs(self.disk)
        return (space.f_blocks - space.f_bavail) * space.f_frsize

    def total(self) -> int:
        space = os.statvfs(self.disk)
        return space.f_blocks * space.f_frsize

    @contextmanager
    def filled(self, percent: float) -> Iterator[None]:
        """Somebody else's file takes so much of the disk that this is in use."""
        ballast = self.disk / "ballast"
        size = int(self.total() * percent / 100) - self.used()
        try:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                # In one, for the agent acts upon it; what comes meanwhile may leave less room.
                os.posix_fallocate(file.fileno(), 0, size)
            assert self.used() > self.total() * HIGH / 100
            yield
        finally:
            ballast.unlink()


@pytest.fixture(scope="module")
def _small() -> Iterator[Small]:
    folder = Path(tempfile.mkdtemp(prefix="lsd-"))
    containerd, valve = PrivateContainerd(folder), Valve()
    disk = containerd.home / "root"
    disk.mkdir(parents=True)
    with (folder / "disk").open("wb") as file:
        file.truncate(SIZE)
    _run("mkfs.ext4", "-q", "-m", "0", folder / "disk")
    if mounts.hybrid():
        mounts.share(folder)  # later it would hide the disk
    try:
        _run("mount", "-o", "loop", folder / "disk", disk)
        with BadRegistry() as bad, Wire(int(bad.host.rpartition(":")[2]), toll=valve) as wire:
            host = f"127.0.0.1:{wire.port}"
            settings = folder / "registries.toml"
            settings.write_text(f'[registry."{host}"]\nplain_http = true\n')
            options = {
                "images.registries": settings,
                "images.high_watermark": HIGH,
                "images.low_watermark": LOW,
                "images.min_age": 0,
                "converge.interval": 0.3,
            }
            with containerd, running_lab(containerd, "small", options=options) as lab:
                yield Small(lab, bad, valve, host, disk)
                valve.open()
    finally:
        mounts.unmount_all(folder)
        assert audit(Scope([folder], ids=[])) == []
        shutil.rmtree(folder)


@pytest.fixture
def small(_small: Small) -> Iterator[Small]:
    yield _small
    _small.valve.open()
    lab = _small.lab
    lab.delete_all()
    for one in lab.client.list_images():
        if "busybox" not in one.name:
            lab.client.remove_image(one.name)
    lab.client.prune_images()
    lab.wait_clean()


@pytest.fixture
def writer(small: Small) -> Iterator[ContainerStatus]:
    """A container that runs meanwhile: it is the same one afterwards, and goes on writing."""
    lab = small.lab
    one = lab.client.create(lab.spec(command=["sh", "-c", WRITES]))
    until(partial(_numbers, lab, one))
    yield one
    count = len(_numbers(lab, one))
    until(lambda: len(_numbers(lab, one)) > count + 2)
    now = lab.client.show(one.id)
    assert (now.state, now.pid) == ("running", one.pid)


@pytest.mark.usefixtures("writer")
def test_larger_than_what_is_free(small: Small) -> None:
    """It is not even begun."""
    before = stored(small.lab)
    layout = image("huge:1", 1, SIZE)
    name, seen = small.serve(layout, "huge:1"), len(small.bad.seen)
    with pytest.raises(Exhausted, match="are to come"):
        pull(small.lab, name)
    assert asked(small.bad, seen).keys().isdisjoint(layers(layout))
    _nothing_of_it(small, before)


@pytest.mark.usefixtures("writer")
def test_full_while_it_comes(small: Small) -> None:
    """There was room for it; then somebody else took it."""
    before, name = stored(small.lab), small.serve(image("late:1", 2, 8 * MIB), "late:1")
    small.valve.shut(after=4 * MIB)
    coming = small.lab.client.pull_image(name)
    until(lambda: next(coming).done > MIB)
    with small.filled(100):
        small.valve.open()
        with pytest.raises(Exhausted, match="no space left on device"):
            for _ in coming:
                pass
        _nothing_of_it(small, before)


@pytest.mark.usefixtures("writer")
def test_full_while_it_is_unpacked(small: Small) -> None:
    """A layer of zeros is small on the wire. It is a create that wants it."""
    lab, before = small.lab, stored(small.lab)
    used = small.used()
    name = small.serve(layout_of("zeros:1", [tar_of({"zeros": bytes(SIZE)})]), "zeros:1")
    spec = lab.spec(image=name)
    with pytest.raises(Exhausted, match="no space left on device"):
        lab.client.create(spec)
    failed = lab.client.show(spec["id"])
    assert (failed.state, failed.error and failed.error.code) == ("failed", "exhausted")
    _nothing_of_it(small, before)
    lab.client.delete(spec["id"])
    # The snapshotter removes files a while after their snapshot.
    until(lambda: small.used() < used + MIB)


def test_the_longest_unused_image_goes_first(small: Small) -> None:
    lab = small.lab
    idle, again, busy = (
        small.serve(image(f"{name}:1", 1, 5 * MIB), f"{name}:{name}") for name in ("a", "b", "c")
    )
    for name in (again, busy, idle):
        pull(lab, name)
    # The last that came is the one that no container was ever made of. (Busybox is used.)
    users = [lab.client.create(lab.spec(image=one)) for one in (busy, "busybox:latest")]
    user = lab.client.create(lab.spec(image=again))
    lab.client.delete(user.id, force=True)
    with small.filled(HIGH + 2):
        until(lambda: idle not in _names(lab))
        until(lambda: f"removed image {idle}: its disk is" in lab.agent.log.read_text())
        assert {again, busy} < _names(lab)
        assert small.used() * 100 < small.total() * LOW
    with small.filled(95):
        until(lambda: again not in _names(lab))
        until(lambda: any("are in use or too young" in one for one in _findings(lab)))
        assert _names(lab) == {busy, "docker.io/library/busybox:latest"}
        assert [lab.client.show(one.id).state for one in users] == ["running"] * 2
        assert lab.client.create(lab.spec(image=busy, pull="never")).state == "running"


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=30)


def _numbers(lab: Lab, one: ContainerStatus) -> list[str]:
    """What it could write."""
    log = lab.agent.state_dir / "containers" / one.id / "stdout.log"
    return log.read_text().split()


def _nothing_of_it(small: Small, before: list[str]) -> None:
    until(lambda: stored(small.lab) == before)


def _names(lab: Lab) -> set[str]:
    return {one.name for one in lab.client.list_images()}


def _findings(lab: Lab) -> tuple[str, ...]:
    return lab.client.node_status().converge.findings
