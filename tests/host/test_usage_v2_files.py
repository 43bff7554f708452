"""What cgroup v2 counts, from its files in a plain tree; and what of it this kernel has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from host.statskit import ROOT, worker
from longshore.host.stats import Usage
from longshore.model.running import Running
from longshore.model.status import (
    BlockStats,
    ContainerStats,
    CpuStats,
    MemoryStats,
    NetworkStats,
    PressureStats,
)

OTHER = "63fd9fb2-e5a8-4b6f-b77a-0408292da764"
ID = "7bd7a4ef-dd23-441e-a269-be4d8b56c1d6"
LIMITED = Running(ID, "web", 7, ("eth0",), cpus=0.5, memory=2**26, pids_limit=32)
FILES = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\n"
    "nr_periods 10\nnr_throttled 4\nthrottled_usec 250000\nnr_bursts 0\nburst_usec 0\n",
    "memory.current": "5000000\n",
    "memory.stat": "anon 1000000\nfile 3000000\nkernel 1000\ninactive_file 2000000\n",
    "memory.swap.current": "4096\n",
    "memory.peak": "6000000\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n",
    "pids.current": "5\n",
    "io.stat": "8:16 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:32 \n"
    "253:0 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0\n",
    "cpu.pressure": "some avg10=1.50 avg60=2.25 avg300=0.10 total=12345\n"
    "full avg10=0.00 avg60=0.50 avg300=0.00 total=5\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
}
NET = f"""Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9
{LIMITED.names.veth}: 100 10 0 1 0 0 0 0 200 20 0 2 0 0 0 0
"""
CGROUPFS, SYSTEMD = f"longshore/{ID}", f"longshore.slice/longshore-{ID}.scope"


def v2_host(folder: Path, cgroup: str, files: dict[str, dict[str, str]]) -> Usage:
    """With process 7 in `cgroup`; `files` by level."""
    root, proc, devices = (folder / name for name in ("cgroup", "proc", "devices"))
    (root / cgroup).mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    (proc / "7").mkdir(parents=True)
    (proc / "7/cgroup").write_text(f"0::/{cgroup}\n")
    (proc / "net").mkdir()
    (proc / "net/dev").write_text(NET)
    devices.mkdir()
    (devices / "8:16").symlink_to("../../devices/pci0000:00/block/sdb")
    for level, contents in files.items():
        for name, text in contents.items():
            (root / level / name).write_text(text)
    return Usage(root, proc, devices)


def read(usage: Usage, one: Running = LIMITED) -> ContainerStats:
    return usage.read([one], lambda: 1.5, {})[one.id]


def test_everything(tmp_path: Path) -> None:
    usage = v2_host(tmp_path, CGROUPFS, {CGROUPFS: FILES})
    assert read(usage) == ContainerStats(
        id=ID,
        name="web",
        at=1.5,
        cpu=CpuStats(
            seconds=2.5,
            user_seconds=1.5,
            system_seconds=1.0,
            limit=0.5,
            periods=10,
            throttled=4,
            throttled_seconds=0.25,
        ),
        memory=MemoryStats(
            usage=5_000_000,
            working_set=3_000_000,
            cache=3_000_000,
            rss=1_000_000,
            swap=4096,
            peak=6_000_000,
            limit=2**26,
            at_limit=3,
            killed=1,
        ),
        pids=5,
        pids_limit=32,
        block=(
            BlockStats(device="/dev/sdb", read_bytes=4096, write_bytes=8192, reads=1, writes=2),
        ),
        network=(
            NetworkStats(
                interface="eth0",
                rx_bytes=200,
                tx_bytes=100,
                rx_packets=20,
                tx_packets=10,
                rx_dropped=2,
                tx_dropped=1,
            ),
        ),
        # This kernel counts no pressure of io.
        pressure=(
            PressureStats(resource="cpu", some=(1.5, 2.25, 0.1), full=(0.0, 0.5, 0.0)),
            PressureStats(resource="memory", some=(0.0, 0.0, 0.0), full=(0.0, 0.0, 0.0)),
        ),
    )
    # On the node's own network it has no interface of its own.
    assert read(usage, replace(LIMITED, interfaces=())).network == ()
    usage.keep(())


@pytest.mark.parametrize("level", [SYSTEMD, f"{SYSTEMD}/container"])
def test_systemd_with_the_process_one_level_lower(tmp_path: Path, level: str) -> None:
    """crun's; the quota may be on either level, all else is on the upper one."""
    lower = f"{SYSTEMD}/container"
    plain = {"cpu.stat": "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\n"}
    files = {SYSTEMD: {**FILES, **plain}, lower: dict(plain)}
    files[level]["cpu.stat"] = FILES["cpu.stat"]
    usage = v2_host(tmp_path, lower, files)
    found = read(usage)
    assert (found.cpu.seconds, found.cpu.periods, found.cpu.throttled) == (2.5, 10, 4)
    assert (found.memory.usage, found.pids) == (5_000_000, 5)
    usage.keep(())


def test_what_a_kernel_or_a_node_lacks_is_nothing(tmp_path: Path) -> None:
    """Neither controllers nor pressure: the first cpu.stat has less, and the rest is not there."""
    stat = "usage_usec 1000000\nuser_usec 1000000\nsystem_usec 0\n"
    usage = v2_host(tmp_path, CGROUPFS, {CGROUPFS: {"cpu.stat": stat}})
    for _ in range(2):
        assert read(usage, replace(LIMITED, interfaces=())) == ContainerStats(
            id=ID,
            name="web",
            at=1.5,
            cpu=CpuStats(seconds=1.0, user_seconds=1.0, limit=0.5),
            memory=MemoryStats(limit=2**26),
            pids_limit=32,
        )
    usage.keep(())


@pytest.mark.parametrize(
    "cgroup",
    ["/", f"/longshore/{OTHER}", "/user.slice/session-1.scope"],
)
def test_another_process_with_its_number(tmp_path: Path, cgroup: str) -> None:
    usage = v2_host(tmp_path, CGROUPFS, {CGROUPFS: FILES})
    (tmp_path / "proc/7/cgroup").write_text(f"0::{cgroup}\n")
    assert usage.read([LIMITED], lambda: 1.5, {}) == {}


@contextmanager
def cgroup2(folder: Path) -> Iterator[Path]:
    """A second mount of the kernel's one v2 hierarchy: its root looks like a v2 host's."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_kernels_own_files(tmp_path: Path) -> None:
    """Without the controllers that v1 has here: what it counts of cpu, and pressure."""
    with cgroup2(tmp_path / "v2") as root, worker() as one:
        folder = root / f"longshore_{uuid4().hex[:6]}" / ID
        folder.mkdir(parents=True)
        try:
            (folder / "cgroup.procs").write_text(str(one.pid))
            one.work(0.2)
            usage = Usage(root)
            found = read(usage, Running(ID, "web", one.pid))
            assert found.cpu.seconds >= 0.2
            assert found.cpu.user_seconds > 0
            counted = {path.name.removesuffix(".pressure") for path in folder.glob("*.pressure")}
            counted &= {"cpu", "memory", "io"}
            assert {one.resource for one in found.pressure} <= counted
            if (Path("/proc/pressure") / "cpu").exists():
                assert {one.resource for one in found.pressure} == counted
                assert all(len(one.some) == 3 for one in found.pressure)
            one.end()
            usage.keep(())
        finally:
            one.process.kill()
            one.process.wait(20)
            folder.rmdir()
            folder.parent.rmdir()


@pytest.mark.skipif((ROOT / "cgroup.controllers").exists(), reason="for hybrid hosts")
def test_pressure_on_a_hybrid_host(tmp_path: Path) -> None:
    """Where a container has a cgroup in the unified hierarchy too."""
    usage = v2_host(tmp_path, CGROUPFS, {CGROUPFS: FILES})
    root = tmp_path / "cgroup"
    (root / "cgroup.controllers").unlink()
    shutil.move(root / "longshore", tmp_path / "moved")
    (root / "unified").mkdir()
    (root / "unified/cgroup.controllers").write_text("hugetlb\n")
    shutil.move(tmp_path / "moved", root / "unified/longshore")
    (root / "pids" / CGROUPFS).mkdir(parents=True)
    (root / "pids" / CGROUPFS / "pids.current").write_text("9\n")
    (tmp_path / "proc/7/cgroup").write_text(f"8:pids:/{CGROUPFS}\n0::/{CGROUPFS}\n")
    found = read(usage)
    assert (found.pids, found.cpu.seconds) == (9, 2.5)
    assert [one.resource for one in found.pressure] == ["cpu", "memory"]
    usage.keep(())
