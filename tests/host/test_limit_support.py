"""What a node can limit: refusals with the field, from the same table as its status."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest

from host.blockkit import loop_disk
from longshore.errors import InvalidSpec
from longshore.host.block_devices import disk_number, text
from longshore.host.cgroup import Cgroups
from longshore.host.limit_support import Ground, check_limits, lacks
from longshore.model.spec import parse
from longshore.model.values import MIB


def ground(folder: Path, controllers: str | None, *, scheduler: str = "none") -> Ground:
    """A node in a plain tree; without `controllers` a hybrid one that has memory, cpu and blkio in
    v1, and hugetlb in v2."""
    root, proc, sys = folder / "cgroup", folder / "proc", folder / "sys"
    (proc / "self").mkdir(parents=True)
    if controllers is not None:
        root.mkdir()
        (root / "cgroup.controllers").write_text(controllers)
        (proc / "self/cgroup").write_text("0::/\n")
    else:
        for name in ("unified", "memory", "cpu", "blkio"):
            (root / name).mkdir(parents=True)
        (root / "unified/cgroup.controllers").write_text("hugetlb\n")
        (root / "memory/memory.memsw.limit_in_bytes").write_text("1\n")
        (proc / "self/cgroup").write_text("3:memory:/\n2:cpu:/\n1:blkio:/\n0::/\n")
    (sys / "block/sda/queue").mkdir(parents=True)
    (sys / "block/sda/queue/scheduler").write_text(f"[{scheduler}] mq-deadline\n")
    for size, pages in (("2048", "4"), ("1048576", "0"), ("64", "0")):
        pool = sys / f"kernel/mm/hugepages/hugepages-{size}kB"
        pool.mkdir(parents=True)
        (pool / "nr_hugepages").write_text(f"{pages}\n")
        (pool / "nr_overcommit_hugepages").write_text("0\n")
    return Ground(Cgroups(root, proc), -5, sys)


def faults(there: Ground, limits: dict[str, Any], **changes: Any) -> dict[str, str]:
    spec = parse(
        {
            "id": "6f2c1f2e-7f0b-4a0e-9d3a-0123456789ab",
            "name": "web",
            "image": "busybox",
            "limits": limits,
            **changes,
        }
    )
    try:
        check_limits(spec, there)
    except InvalidSpec as error:
        refused = error
    else:
        return {}
    assert (refused.object, refused.field) == ("web", refused.faults[0]["field"])
    return {one["field"]: one["why"] for one in refused.faults}


FULL = "cpuset cpu io memory hugetlb pids"


def test_a_node_that_can_do_all(tmp_path: Path) -> None:
    there = ground(tmp_path, FULL, scheduler="bfq")
    asked = {
        "memory": 64 * MIB,
        "memory_swap": 64 * MIB,
        "memory_reservation": 8 * MIB,
        "oom_policy": "kill",
        "oom_score_adj": -5,
        "cpus": 1.0,
        "cpuset": "0",
        "pids": 5,
        "io_weight": 500,
        "hugepages": {"2MB": 2 * MIB, "1GB": 0, "64KB": 0},
        "shm_size": MIB,
    }
    assert faults(there, asked) == {}


def test_a_node_that_can_do_nothing(tmp_path: Path) -> None:
    asked = {
        "memory": 64 * MIB,
        "memory_reservation": 64 * MIB,
        "cpus": 1.0,
        "cpu_shares": 5,
        "cpuset": "0",
        "pids": 5,
        "io_weight": 500,
        "hugepages": {"2MB": 0},
    }
    found = faults(ground(tmp_path, ""), asked)
    assert set(found) == {f"limits.{name}" for name in asked}
    assert found["limits.io_weight"] == "the kernel offers no cgroup controller blkio/io"


def test_what_is_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    assert faults(ground(tmp_path, ""), {}) == {}


@pytest.mark.parametrize(
    ("limits", "field", "why"),
    [
        ({"io_weight": 100}, "io_weight", "no disk of this node has an I/O scheduler"),
        ({"oom_score_adj": -6}, "oom_score_adj", "can give no less than -5"),
        ({"hugepages": {"4MB": 0}}, "hugepages.4MB", "it has 1GB, 2MB, 64KB"),
        ({"hugepages": {"2048KB": 0}}, "hugepages.2048KB", "has no huge pages of 2048KB"),
        ({"hugepages": {"1GB": 2**30}}, "hugepages.1GB", "no huge pages of 1GB set aside"),
        (
            {"io": [{"device": "/dev/null", "read_bps": 1}]},
            "io[0].device",
            "/dev/null is no block device",
        ),
        (
            {"io": [{"device": "/dev/no-such", "read_bps": 1}]},
            "io[0].device",
            "/dev/no-such: No such file or directory",
        ),
        (
            {"io": [{"device": "/srv/x", "read_bps": 1}]},
            "io[0].device",
            "/srv/x is not beneath /dev",
        ),
        ({"memory": 64 * MIB, "oom_policy": "pause"}, "oom_policy", "only cgroup v1"),
    ],
)
def test_one_refusal(tmp_path: Path, limits: dict[str, Any], field: str, why: str) -> None:
    found = faults(ground(tmp_path, FULL), limits)
    assert set(found) == {f"limits.{field}"}
    assert why in found[f"limits.{field}"]


def test_a_hybrid_host_offers_what_runtimes_reach(tmp_path: Path) -> None:
    there = ground(tmp_path, None)
    limits = {"memory": 64 * MIB, "memory_swap": 64 * MIB, "oom_policy": "pause", "cpus": 0.5}
    assert faults(there, limits) == {}
    found = faults(there, {**limits, "oom_policy": "kill", "hugepages": {"2MB": 0}})
    assert found == {
        "limits.hugepages": "the kernel offers no cgroup controller hugetlb to containers",
        "limits.oom_policy": "only cgroup v2 kills all processes of a container together",
    }
    assert dict(lacks(there)).keys() == {
        "limits.cpuset",
        "limits.pids",
        "limits.hugepages",
        "limits.io_weight",
        "limits.oom_policy kill",
        "limits.oom_score_adj below -5",
    }


def test_a_shm_size_that_nothing_would_have(tmp_path: Path) -> None:
    mounts = [{"type": "tmpfs", "target": "/dev/shm", "size": MIB}]
    found = faults(ground(tmp_path, FULL), {"shm_size": MIB}, mounts=mounts)
    assert "takes the place of /dev/shm" in found["limits.shm_size"]


def test_a_whole_disk_and_a_partition(tmp_path: Path) -> None:
    with loop_disk(tmp_path / "image", MIB) as path:
        number = disk_number(path)
        assert number == (7, int(path.removeprefix("/dev/loop")))
        assert text(number) == f"7:{number[1]}"
        disk = tmp_path / "devices/sda"
        (disk / "sda1").mkdir(parents=True)
        (disk / "sda1/partition").write_text("1\n")
        (tmp_path / "dev/block").mkdir(parents=True)
        os.symlink(disk / "sda1", tmp_path / "dev/block" / text(number))
        with pytest.raises(ValueError, match=r"is a partition, .*: /dev/sda$"):
            disk_number(path, tmp_path)
    with pytest.raises(ValueError, match="not beneath /dev"):
        disk_number("/dev/../etc/passwd")


def test_a_device_node_with_no_disk_behind_it() -> None:
    """As it stays where udev does not take it away: the runtime would fail on its number."""
    path = f"/dev/longshore-{uuid.uuid4().hex[:8]}"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(259, 1048575))
    try:
        with pytest.raises(ValueError, match=rf"^{path}: there is no disk behind it$"):
            disk_number(path)
    finally:
        os.unlink(path)
