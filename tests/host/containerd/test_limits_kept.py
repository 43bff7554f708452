"""Every limit there is, on a real containerd, with crun and with runc: set, read back, changed by
somebody, put right."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.blockkit import loop_disk
from host.containerd.stepwise import Node
from longshore.errors import HostFailed, NotFound
from longshore.host.block_devices import disk_number, text
from longshore.host.cgroup import Cgroups
from longshore.model.drift import differences, drifted
from longshore.model.limits import Limits
from longshore.model.names import Names
from longshore.model.values import MIB

ROOT = Path("/sys/fs/cgroup")
V2 = Cgroups().mode() == "v2"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with loop_disk(tmp_path_factory.mktemp("disk") / "image", MIB, scheduler="bfq") as path:
        yield path


def everything(disk: str) -> dict[str, object]:
    return {
        "cpus": 0.5,
        "cpu_shares": 512,
        "cpuset": "0",
        "memory": 64 * MIB,
        "memory_reservation": 32 * MIB,
        "memory_swap": 96 * MIB,
        "oom_policy": "kill" if V2 else "pause",
        "oom_score_adj": 300,
        "pids": 33,
        "ulimits": [
            {"name": "nofile", "soft": 100, "hard": 200},
            {"name": "core", "soft": 0, "hard": 0},
            {"name": "locks", "soft": 7, "hard": 8},
        ],
        "shm_size": 5 * MIB,
        "io_weight": 250,
        "io": [{"device": disk, "read_bps": 1000000, "write_bps": 2000000, "write_iops": 50}],
    }


def test_all_limits_are_read_back(node: Node, disk: str) -> None:
    spec = node.make(limits=everything(disk), command=["true"])
    cgroups, pid = Cgroups(), node.create(spec)
    # No runtime sets it under both versions.
    (wrong,) = differences(spec.limits, cgroups.read(pid, spec.limits))
    assert wrong.startswith("limits.io_weight: asked 250")
    cgroups.mend(pid, spec.limits)
    applied = cgroups.read(pid, spec.limits)
    assert differences(spec.limits, applied) == ()
    assert (applied.oom_score_adj, applied.shm_size, applied.io_weight) == (300, 5 * MIB, 250)
    assert applied.io == spec.limits.io
    assert applied.ulimits == spec.limits.ulimits
    out, err = node.finish(spec)
    assert (out, err) == ("", "")


#: File, what somebody writes → the field that shows it.
DRIFT_V1 = {
    "cpu/{}/cpu.cfs_quota_us": ("100000", "cpus"),
    "cpu/{}/cpu.shares": ("2048", "cpu_shares"),
    "cpuset/{}/cpuset.cpus": ("0-1", "cpuset"),
    "memory/{}/memory.memsw.limit_in_bytes": ("200000000", "memory_swap"),
    "memory/{}/memory.limit_in_bytes": ("150000000", "memory"),
    "memory/{}/memory.soft_limit_in_bytes": ("50000000", "memory_reservation"),
    "memory/{}/memory.oom_control": ("0", "oom_policy"),
    "pids/{}/pids.max": ("44", "pids"),
    "blkio/{}/blkio.bfq.weight": ("700", "io_weight"),
    "blkio/{}/blkio.throttle.write_bps_device": ("{} 0", "io[0].write_bps"),
}


@pytest.mark.skipif(V2, reason="writes files of cgroup v1; tests/vm/limits.py has v2's")
def test_what_somebody_changed_is_put_right(node: Node, disk: str) -> None:
    spec = node.run(limits=everything(disk))
    names, cgroups = Names(spec.id), Cgroups()
    pid = node.tasks.get(names).pid
    cgroups.mend(pid, spec.limits)
    assert drifted(spec.limits, cgroups.read(pid, spec.limits)) == ()
    for file, (value, _) in DRIFT_V1.items():
        (ROOT / file.format(names.cgroup)).write_text(value.format(text(disk_number(disk))))
    subprocess.run(["prlimit", f"--pid={pid}", "--nofile=50:200", "--core=0"], check=True)
    found = drifted(spec.limits, cgroups.read(pid, spec.limits))
    assert {one.partition(":")[0].removeprefix("limits.") for one in found} == {
        field for _, field in DRIFT_V1.values()
    }
    # The soft limit is the process's own to move.
    assert not any("ulimits" in one for one in found)
    node.tasks.update(names, spec.limits)
    left = drifted(spec.limits, cgroups.read(pid, spec.limits))
    assert {one.partition(":")[0] for one in left} <= {
        "limits.io_weight",
        "limits.io[0].write_bps",
        "limits.oom_policy",
    }
    cgroups.mend(pid, spec.limits)
    (left_alone,) = differences(spec.limits, cgroups.read(pid, spec.limits))
    assert left_alone == "limits.ulimits[0]: asked nofile 100:200, the kernel has nofile 50:200"
    with pytest.raises(HostFailed, match="cannot set the limits"):
        node.tasks.update(names, Limits(memory=6 * MIB, memory_swap=5000000000, cpuset="4000"))
    node.remove(spec)
    with pytest.raises(NotFound):
        node.tasks.update(names, spec.limits)
    with pytest.raises(NotFound, match="it is gone"):
        cgroups.mend(pid, spec.limits)
    # Nothing that could be changed: nobody is asked.
    node.tasks.update(names, Limits(shm_size=MIB))
