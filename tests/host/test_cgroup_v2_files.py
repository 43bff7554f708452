"""Cgroup v2 files in a plain tree, since a hybrid kernel has its controllers under v1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from host.blockkit import loop_disk
from longshore.host.block_devices import disk_number
from longshore.host.block_devices import text as number_text
from longshore.host.cgroup import Cgroups
from longshore.model.drift import differences, fitted_weight, io_weight_of, linear_weight
from longshore.model.host import AppliedLimits, MemoryUse
from longshore.model.limits import IoLimit, Limits, Ulimit
from longshore.model.names import Names
from longshore.model.values import MIB


@pytest.fixture
def names() -> Names:
    return Names(str(uuid4()))


#: What `process_in` says.
OF_PROCESS: dict[str, Any] = {"oom_score_adj": 1, "shm_size": 65536}


def process_in(folder: Path, cgroup: str, score: int = 1) -> None:
    """What /proc says of a process of a container, as far as limits go."""
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(cgroup)
    (folder / "oom_score_adj").write_text(f"{score}\n")
    (folder / "mountinfo").write_text("30 29 0:31 / /dev/shm rw,nosuid - tmpfs shm rw,size=64k\n")
    (folder / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max nice priority         0                    3                    \n"
        "Max open files            1024                 unlimited            files     \n"
    )


def v2_tree(folder: Path, path: str, files: dict[str, dict[str, str]]) -> Cgroups:
    """A v2 root with process 7 in `path`; `files` by level (path below the root)."""
    root, proc = folder / "cgroup", folder / "proc"
    for pid in ("7", "self"):
        process_in(proc / pid, f"0::{path}\n")
    (root / path.lstrip("/")).mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    for level, contents in files.items():
        for name, text in contents.items():
            (root / level / name).write_text(text + "\n")
    return Cgroups(root, proc)


def all_files(weight: int = 20) -> dict[str, str]:
    return {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB),
        "cpu.max": "50000 100000",
        "cpu.weight": str(weight),
        "cpuset.cpus": "0-1,3",
        "pids.max": "32",
    }


UNSET = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "cpuset.cpus": "",
    "pids.max": "max",
}


def test_v2_cgroupfs(tmp_path: Path, names: Names) -> None:
    cgroups = v2_tree(tmp_path, f"/{names.cgroup}", {names.cgroup: all_files()})
    applied = cgroups.read(7, Limits(cpu_shares=512))
    assert (applied.memory, applied.memory_swap) == (64 * MIB, 96 * MIB)
    assert (applied.cpus, applied.cpuset, applied.pids) == (0.5, "0-1,3", 32)
    assert differences(Limits(cpu_shares=512), applied) == ()
    assert cgroups.controllers() == {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}
    assert cgroups.mode() == "v2"


@pytest.mark.parametrize("shares", [2, 10, 100, 512, 1024, 2048, 10000, 262144])
@pytest.mark.parametrize("formula", [linear_weight, fitted_weight])
def test_v2_either_weight_formula(
    tmp_path: Path, names: Names, shares: int, formula: Callable[[int], int]
) -> None:
    files = {names.cgroup: all_files(weight=formula(shares))}
    cgroups = v2_tree(tmp_path, f"/{names.cgroup}", files)
    for asked, faults in ((shares, 0), (4096, 1)):
        limits = Limits(cpu_shares=asked)
        assert len(differences(limits, cgroups.read(7, limits))) == faults


@pytest.mark.parametrize("upper", [True, False])
def test_v2_crun_under_systemd_has_two_levels(tmp_path: Path, names: Names, upper: bool) -> None:
    scope = f"longshore.slice/longshore-{names.id}.scope"
    files = {
        scope: all_files() if upper else UNSET,
        f"{scope}/container": UNSET if upper else all_files(),
        "longshore.slice": {"pids.max": "3", "memory.max": "4096"},
    }
    cgroups = v2_tree(tmp_path, f"/{scope}/container", files)
    asked = Limits(
        memory=64 * MIB, memory_swap=96 * MIB, cpus=0.5, cpu_shares=512, cpuset="0-1,3", pids=32
    )
    assert differences(asked, cgroups.read(7, asked)) == ()
    assert cgroups.owned() == {names.id}


def test_v2_unlimited_and_files_that_are_missing(tmp_path: Path, names: Names) -> None:
    for index, files in enumerate((UNSET, {})):
        applied = v2_tree(tmp_path / str(index), f"/{names.cgroup}", {names.cgroup: files}).read(
            7, Limits()
        )
        shares = applied.cpu_shares
        assert applied == AppliedLimits(cpu_shares=shares, **OF_PROCESS)
        assert (shares is None) == (files == {})


def test_the_tightest_level_binds(tmp_path: Path, names: Names) -> None:
    files = {
        names.cgroup: all_files(),
        f"{names.cgroup}/inner": {"pids.max": "8", "memory.max": "max", "cpu.max": "25000 100000"},
    }
    applied = v2_tree(tmp_path, f"/{names.cgroup}/inner", files).read(7, Limits())
    assert (applied.pids, applied.memory, applied.cpus) == (8, 64 * MIB, 0.25)


def test_swap_accounting_shows_in_any_child(tmp_path: Path, names: Names) -> None:
    cgroups = v2_tree(tmp_path, f"/{names.cgroup}", {names.cgroup: all_files()})
    (tmp_path / "cgroup" / "longshore" / "memory.max").write_text("max\n")
    assert not cgroups.swap_accounting()
    (tmp_path / "cgroup" / "longshore" / "memory.swap.max").write_text("max\n")
    assert cgroups.swap_accounting()


def test_hybrid_takes_a_controller_from_where_it_is(tmp_path: Path, names: Names) -> None:
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    v1, v2 = root / "cpu,cpuacct" / names.cgroup, root / "unified" / names.cgroup
    for folder in (v1, v2):
        folder.mkdir(parents=True)
    (root / "cpu").symlink_to("cpu,cpuacct")
    (root / "unified" / "cgroup.controllers").write_text("memory pids\n")
    (v2 / "memory.max").write_text(f"{64 * MIB}\n")
    (v2 / "pids.max").write_text("32\n")
    for name, text in (("cfs_quota_us", "-1"), ("cfs_period_us", "100000"), ("shares", "512")):
        (v1 / f"cpu.{name}").write_text(text)
    lines = f"2:cpu,cpuacct:/{names.cgroup}\n1:name=systemd:/{names.cgroup}\n0::/{names.cgroup}\n"
    for pid in ("7", "self"):
        process_in(proc / pid, lines)
    cgroups = Cgroups(root, proc)
    assert cgroups.mode() == "hybrid"
    assert cgroups.controllers() == {"cpu", "cpuacct", "memory", "pids"}
    assert cgroups.read(7, Limits()) == AppliedLimits(
        memory=64 * MIB, pids=32, cpu_shares=512, **OF_PROCESS
    )
    # Runtimes see v1 alone.
    assert cgroups.settable() == {"cpu", "cpuacct"}
    assert cgroups.owned() == {names.id}


def test_teardown_removes_an_empty_parent_only(tmp_path: Path, names: Names) -> None:
    for hierarchy in ("memory", "pids"):
        (tmp_path / hierarchy / "longshore").mkdir(parents=True)
    (tmp_path / "pids" / names.cgroup).mkdir()
    Cgroups(tmp_path).teardown()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == [
        "pids/longshore"
    ]


RICH = Limits(
    memory=64 * MIB,
    memory_reservation=32 * MIB,
    oom_policy="kill",
    io_weight=500,
    hugepages={"2MB": 4 * MIB},
    ulimits=(Ulimit(name="nofile", soft=1024, hard=2**63 - 1),),
)


@pytest.mark.parametrize("bfq", [True, False])
def test_v2_has_the_rest_too(tmp_path: Path, names: Names, bfq: bool) -> None:
    with loop_disk(tmp_path / "image", MIB) as disk:
        rates = {"device": disk, "read_bps": 1000, "write_iops": 7}
        asked = RICH.model_copy(update={"io": (IoLimit.model_validate(rates),)})
        number = number_text(disk_number(disk))
        _the_rest(tmp_path, names, asked, number, bfq=bfq)


def _the_rest(tmp_path: Path, names: Names, asked: Limits, number: str, *, bfq: bool) -> None:
    files = {
        "memory.max": str(64 * MIB),
        "memory.low": str(32 * MIB),
        "memory.oom.group": "0",
        "io.weight": "default 100\n8:0 250",
        "io.max": "8:0 rbps=5 wbps=max riops=max wiops=max\n"
        f"{number} rbps=1000 wbps=max riops=max wiops=9",
        "hugetlb.2MB.max": "max",
        **({"io.bfq.weight": "default 100"} if bfq else {}),
    }
    cgroups = v2_tree(tmp_path, f"/{names.cgroup}", {names.cgroup: files})
    assert {one.partition(":")[0] for one in differences(asked, cgroups.read(7, asked))} == {
        "limits.oom_policy",
        "limits.io_weight",
        "limits.io[0].write_iops",
        "limits.hugepages.2MB",
    }
    pulled = asked.model_copy(update={"io": (IoLimit(device="/dev/none", read_bps=1),)})
    assert (cgroups.read(7, pulled).io, cgroups.read(7, pulled).gone) == ((), ("/dev/none",))
    cgroups.mend(7, asked)
    folder = tmp_path / "cgroup" / names.cgroup
    assert (folder / "io.max").read_text() == f"{number} rbps=1000 wiops=7"
    # The kernel takes a number and shows a line; and it keeps what is not written.
    weight = "io.bfq.weight" if bfq else "io.weight"
    assert (folder / weight).read_text() == ("500" if bfq else str(io_weight_of(500)))
    (folder / weight).write_text(f"default {(folder / weight).read_text()}\n")
    assert differences(asked, cgroups.read(7, asked)) == ()


def test_memory_that_a_cgroup_came_to(tmp_path: Path, names: Names) -> None:
    cgroups = v2_tree(tmp_path, f"/{names.cgroup}", {})
    assert cgroups.memory(names) is None
    folder = tmp_path / "cgroup" / names.cgroup
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert cgroups.memory(names) == MemoryUse(f"/{names.cgroup}", None, None, 2)
    (folder / "memory.max").write_text("max\n")
    (folder / "memory.peak").write_text("123\n")
    assert cgroups.memory(names) == MemoryUse(f"/{names.cgroup}", 123, None, 2)
