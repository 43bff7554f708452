"""Cgroups on the real kernel: v1 or hybrid, and a cgroup2 mount."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.errors import HostBusy, NotFound
from longshore.host.cgroup import Cgroups
from longshore.model.drift import differences
from longshore.model.limits import Limits
from longshore.model.names import Names
from longshore.model.values import MIB

ROOT = Path("/sys/fs/cgroup")
HIERARCHIES = (
    [ROOT]
    if Cgroups().mode() == "v2"
    else sorted(child for child in ROOT.iterdir() if child.is_dir() and not child.is_symlink())
)
WANTED = Limits(
    memory=64 * MIB, memory_swap=96 * MIB, cpus=0.5, cpu_shares=512, cpuset="0", pids=32
)
RESOURCES = {
    "memory": {"limit": 64 * MIB, "swap": 96 * MIB},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 32},
}


@pytest.fixture(scope="module", autouse=True)
def host_as_found() -> Iterator[None]:
    before = [hierarchy for hierarchy in HIERARCHIES if (hierarchy / "longshore").exists()]
    yield
    if not before:
        Cgroups().teardown()


@pytest.fixture
def names() -> Names:
    return Names(str(uuid4()))


def places(names: Names) -> list[Path]:
    return sorted(ROOT.glob(f"**/*{names.id}*"))


@contextmanager
def waiting_container(names: Names, folder: Path, resources: dict[str, object]) -> Iterator[int]:
    """A container that runc made, waiting to be started: its pid."""
    (folder / "rootfs" / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None, "needs Debian's busybox-static"
    shutil.copy(busybox, folder / "rootfs" / "bin" / "sh")
    runc = ["runc", "--root", str(folder / "state")]
    subprocess.run([*runc, "spec"], cwd=folder, check=True)
    spec = json.loads((folder / "config.json").read_text())
    spec["process"]["terminal"] = False
    spec["process"]["rlimits"] = []
    spec["linux"]["resources"] = resources
    spec["linux"]["cgroupsPath"] = f"/{names.cgroup}"
    spec["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    spec["linux"]["maskedPaths"] = spec["linux"]["readonlyPaths"] = []
    (folder / "config.json").write_text(json.dumps(spec))
    pidfile = folder / "pid"
    subprocess.run(
        [*runc, "create", "--pid-file", str(pidfile), names.id],
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield int(pidfile.read_text())
    finally:
        subprocess.run([*runc, "delete", "--force", names.id], check=True)


@contextmanager
def cgroup2(folder: Path) -> Iterator[Path]:
    """A second mount of the kernel's one v2 hierarchy: its root looks like a v2 host's."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_what_runc_applied_is_read_back(names: Names, tmp_path: Path) -> None:
    cgroups = Cgroups()
    with waiting_container(names, tmp_path, RESOURCES) as pid:
        applied = cgroups.read(pid, Limits())
        assert (applied.memory, applied.memory_swap) == (64 * MIB, 96 * MIB)
        assert (applied.cpus, applied.cpuset, applied.pids) == (0.5, "0", 32)
        assert differences(WANTED, cgroups.read(pid, Limits())) == ()
        assert len(differences(Limits(memory=65 * MIB, pids=33), cgroups.read(pid, Limits()))) == 2
        assert names.id in cgroups.owned()
    assert names.id not in cgroups.owned()


def test_no_limit_is_none(names: Names, tmp_path: Path) -> None:
    with waiting_container(names, tmp_path, {}) as pid:
        applied = Cgroups().read(pid, Limits())
    assert (applied.memory, applied.memory_swap, applied.cpus, applied.pids) == (None,) * 4


def test_a_process_outside_and_one_that_is_gone() -> None:
    with pytest.raises(NotFound, match="in no container's cgroup"):
        Cgroups().read(os.getpid(), Limits())
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(NotFound, match="it is gone"):
        Cgroups().read(child.pid, Limits())


def test_remove_of_both_drivers_leftovers(names: Names) -> None:
    cgroups = Cgroups()
    for hierarchy in HIERARCHIES:
        (hierarchy / names.cgroup / "below").mkdir(parents=True)
        (hierarchy / f"longshore.slice/longshore-{names.id}.scope/container").mkdir(parents=True)
    assert len(places(names)) == 2 * len(HIERARCHIES)
    assert names.id in cgroups.owned()
    cgroups.remove(names)
    assert places(names) == []
    assert names.id not in cgroups.owned()
    cgroups.remove(names)
    for hierarchy in HIERARCHIES:
        (hierarchy / "longshore.slice").rmdir()


def test_remove_kills_nothing(names: Names) -> None:
    folder = HIERARCHIES[0] / names.cgroup
    folder.mkdir(parents=True)
    child = subprocess.Popen(["sleep", "60"])
    try:
        (folder / "cgroup.procs").write_text(str(child.pid))
        with pytest.raises(HostBusy, match=f"process {child.pid} is in it") as busy:
            Cgroups(patience=0).remove(names)
        assert busy.value.details == {"pids": [str(child.pid)]}
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        Cgroups().remove(names)
    assert places(names) == []


def test_facts_of_this_host() -> None:
    cgroups = Cgroups()
    assert cgroups.mode() in ("v1", "hybrid", "v2")
    assert {"memory", "cpu", "cpuset", "pids"} <= cgroups.controllers()
    assert not any(name.startswith("name=") for name in cgroups.controllers())


def test_a_real_v2_mount(names: Names, tmp_path: Path) -> None:
    with cgroup2(tmp_path / "cgroup2") as root:
        cgroups = Cgroups(root)
        scope = root / f"longshore.slice/longshore-{names.id}.scope"
        (scope / "container").mkdir(parents=True)
        assert cgroups.mode() == "v2"
        assert (root / "cgroup.controllers").read_text().split() == sorted(cgroups.controllers())
        assert names.id in cgroups.owned()
        child = subprocess.Popen(["sleep", "60"])
        try:
            (scope / "container" / "cgroup.procs").write_text(str(child.pid))
            with pytest.raises(HostBusy):
                Cgroups(root, patience=0).remove(names)
        finally:
            child.kill()
            child.wait()
        cgroups.remove(names)
        (root / "longshore.slice").rmdir()
        assert names.id not in cgroups.owned()


def test_memory_of_a_real_container(names: Names, tmp_path: Path) -> None:
    with waiting_container(names, tmp_path, RESOURCES):
        used = Cgroups().memory(names)
        assert used is not None
        assert (used.cgroup, used.limit, used.killed) == (f"/{names.cgroup}", 64 * MIB, 0)
        assert used.peak is not None
        assert 0 < used.peak < 64 * MIB
    assert Cgroups().memory(names) is None
