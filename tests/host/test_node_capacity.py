"""What the node can promise, against a tree of cgroup files and this node's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from longshore.host import node
from longshore.host.capacity import Above, stock
from longshore.model.capacity import PROMISED, Share, Stock
from longshore.model.node import Node

NODE = Node("6.1", "b", frozenset(range(8)), 2**34, 4194304, 2**40)
SHARES = {name: Share(0.0, 1.0) for name in PROMISED}


def total(root: Path) -> dict[str, float]:
    ask = stock(NODE, root, Above(root, "longshore"), lambda: SHARES)
    return {one.name: one.total for one in ask()}


def files(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


def test_without_cgroup_limits_it_is_what_the_node_has(tmp_path: Path) -> None:
    files(tmp_path, {"longshore.slice/memory.max": "max", "longshore.slice/cpu.max": "max 100000"})
    files(tmp_path, {"cpuset.cpus.effective": "0-7", "longshore.slice/pids.max": "max"})
    files(tmp_path, {"longshore/cpuset.cpus.effective": ""})
    disk = os.statvfs(tmp_path)
    assert total(tmp_path) == {
        "cpus": 8,
        "memory": 2**34,
        "pids": 4194304,
        "disk": disk.f_blocks * disk.f_frsize,
    }


@pytest.mark.parametrize(
    ("texts", "name", "expected"),
    [
        ({"memory.max": "1073741824"}, "memory", 2**30),
        ({"longshore.slice/memory.max": "1073741824", "memory.max": "max"}, "memory", 2**30),
        ({"longshore/memory.max": "2147483648", "memory.max": "1073741824"}, "memory", 2**30),
        ({"unified/longshore/memory.max": "1073741824"}, "memory", 2**30),
        ({"memory/memory.limit_in_bytes": "1073741824"}, "memory", 2**30),
        ({"memory/longshore/memory.limit_in_bytes": "9223372036854771712"}, "memory", 2**34),
        ({"cpu.max": "150000 100000"}, "cpus", 1.5),
        ({"cpu/longshore/cpu.cfs_quota_us": "50000"}, "cpus", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1"}, "cpus", 8),
        ({"longshore.slice/cpuset.cpus.effective": "0-1,4"}, "cpus", 3),
        ({"cpuset/cpuset.effective_cpus": "0"}, "cpus", 1),
        ({"longshore.slice/pids.max": "1000"}, "pids", 1000),
        ({"pids/longshore/pids.max": "77"}, "pids", 77),
        ({"memory.max": "what"}, "memory", 2**34),
        ({"memory.max/not": "a file"}, "memory", 2**34),
    ],
)
def test_a_cgroup_above_binds(
    tmp_path: Path, texts: dict[str, str], name: str, expected: float
) -> None:
    files(tmp_path, {"cpu/cpu.cfs_period_us": "100000"})
    files(tmp_path, {"cpu/longshore/cpu.cfs_period_us": "100000", **texts})
    assert total(tmp_path)[name] == expected


def test_it_is_read_anew_with_reserve_and_ratio_of_now(tmp_path: Path) -> None:
    shares = {**SHARES}
    ask = stock(NODE, tmp_path, Above(tmp_path, "longshore"), lambda: shares)
    assert [one.name for one in ask()] == list(PROMISED)
    files(tmp_path, {"longshore.slice/memory.max": "1073741824"})
    shares["memory"] = Share(2**29, 1.5)
    found = next(one for one in ask() if one.name == "memory")
    assert found == Stock("memory", "bytes", 2**30, 2**29, 1.5)
    assert found.capacity == 1.5 * 2**29


@contextmanager
def limited_parent(name: str) -> Iterator[Path]:
    """A cgroup of this host's, as the parent of an agent's containers, with 64 MiB and 50 pids."""
    root = Path("/sys/fs/cgroup")
    made = []
    try:
        if (root / "cgroup.controllers").exists():
            limits = {root / name / "memory.max": 2**26, root / name / "pids.max": 50}
        else:
            limits = {
                root / "memory" / name / "memory.limit_in_bytes": 2**26,
                root / "pids" / name / "pids.max": 50,
            }
        for file, value in limits.items():
            if not file.parent.exists():
                file.parent.mkdir()
                made.append(file.parent)
            file.write_text(str(value))
        yield root
    finally:
        for folder in made:
            folder.rmdir()


def test_a_real_cgroup_above_binds(tmp_path: Path) -> None:
    parent = f"longshore_{uuid.uuid4().hex[:8]}"
    facts = node.facts(tmp_path)
    with limited_parent(parent) as root:
        ask = stock(facts, tmp_path, Above(root, parent), lambda: SHARES)
        found = {one.name: one.total for one in ask()}
    assert (found["memory"], found["pids"]) == (2**26, 50)
    assert 0 < found["cpus"] <= len(os.sched_getaffinity(0))
    unlimited = {one.name: one.total for one in ask()}
    assert unlimited["memory"] == psutil.virtual_memory().total
    assert unlimited["pids"] > 50
