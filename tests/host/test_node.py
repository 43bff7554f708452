"""Facts of this node against what other tools say, and what a poorer node would lack."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from longshore.errors import HostFailed
from longshore.host.cgroup import Cgroups
from longshore.host.lacks import cannot
from longshore.host.node import disk, facts
from longshore.model.status import Cannot


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_facts_are_what_other_tools_say(tmp_path: Path) -> None:
    node = facts(tmp_path)
    assert node.kernel == output("uname", "-r")
    assert node.cpu_count == int(output("getconf", "_NPROCESSORS_ONLN"))
    assert node.memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert node.pid_max == int(output("cat", "/proc/sys/kernel/pid_max"))
    assert node.boot_id == output("cat", "/proc/sys/kernel/random/boot_id")
    assert node.cpus >= os.sched_getaffinity(0)


def test_disk_of_a_folder_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "real")], check=True
    )
    try:
        (tmp_path / "real" / "page").write_bytes(bytes(4096))
        total, used = facts(tmp_path / "link").disk, disk(tmp_path / "link").used
    finally:
        subprocess.run(["umount", str(tmp_path / "real")], check=True)
    assert (total, used) == (2**20, 4096)


def test_a_state_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostFailed, match="cannot read the node's facts"):
        facts(tmp_path / "none")
    with pytest.raises(HostFailed, match="cannot see the disk"):
        disk(tmp_path / "none")


def features(found: Sequence[Cannot]) -> set[str]:
    return {one.feature for one in found}


def test_this_node(tmp_path: Path) -> None:
    found = cannot(tmp_path, Cgroups())
    assert all(one.feature and one.why for one in found)
    assert len(features(found)) == len(found)
    lacks_raising = "limits.ulimits above containerd's own" in features(found)
    effective = int(output("sh", "-c", "grep CapEff /proc/$$/status").split()[1], 16)
    assert lacks_raising == (not effective >> 24 & 1)


def poor_node(folder: Path, capabilities: str = "0") -> tuple[Path, Cgroups]:
    """A proc and a cgroup tree of a kernel that has nothing."""
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "self" / "oom_score_adj").write_text("-7\n")
    root = folder / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory\n")
    return proc, Cgroups(root, proc)


def test_a_poor_node_lacks_everything_with_a_reason(tmp_path: Path) -> None:
    proc, cgroups = poor_node(tmp_path)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "cgroup")], check=True)
    try:
        (tmp_path / "cgroup" / "cgroup.controllers").write_text("cpu memory\n")
        (tmp_path / "cgroup" / "child").mkdir()
        (tmp_path / "cgroup" / "child" / "memory.max").write_text("max\n")
        found = cannot(tmp_path / "cgroup" / "not" / "yet", cgroups, proc=proc)
    finally:
        subprocess.run(["umount", str(tmp_path / "cgroup")], check=True)
    why = {one.feature: one.why for one in found}
    assert set(why) == {
        "limits.cpuset",
        "limits.pids",
        "limits.memory_swap",
        "limits.io and limits.io_weight",
        "limits.hugepages",
        "limits.oom_policy pause",
        "limits.oom_score_adj below -7",
        "limits.disk",
        "IPv6",
        "limits.ulimits above containerd's own",
        "seccomp",
        "pressure (PSI)",
    }
    assert "(tmpfs), which has no project quota" in why["limits.disk"]
    assert why["limits.pids"] == "the kernel offers no cgroup controller pids"


def test_a_rich_node_lacks_nothing_of_that(tmp_path: Path) -> None:
    proc, cgroups = poor_node(tmp_path, capabilities="000001ffffffffff")
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    (tmp_path / "cgroup" / "io.cost.qos").write_text("254:0 enable=1 ctrl=auto rpct=0.00\n")
    (tmp_path / "cgroup" / "init.scope").mkdir()
    for name in ("memory.max", "memory.swap.max"):
        (tmp_path / "cgroup" / "init.scope" / name).write_text("max\n")
    for name in ("sys/net/ipv6/conf/all/disable_ipv6", "sys/kernel/seccomp/actions_avail"):
        (proc / name).parent.mkdir(parents=True)
        (proc / name).write_text("0\n")
    (proc / "pressure").mkdir()
    (proc / "pressure" / "memory").write_text("some avg10=0.00\n")
    assert features(cannot(tmp_path, cgroups, proc=proc)) <= {
        "limits.disk",
        "IPv6",
        "limits.oom_policy pause",
    }
    (proc / "sys/net/ipv6/conf/all/disable_ipv6").write_text("1\n")
    off = Cannot(feature="IPv6", why="net.ipv6.conf.all.disable_ipv6 is 1")
    assert off in cannot(tmp_path, cgroups, proc=proc)


def test_project_quota_of_a_real_ext4(tmp_path: Path) -> None:
    image, at = tmp_path / "image", tmp_path / "at"
    at.mkdir()
    with image.open("wb") as file:
        file.truncate(8 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        why = {one.feature: one.why for one in cannot(at / "snapshots", Cgroups())}
    finally:
        subprocess.run(["umount", str(at)], check=True)
    assert why["limits.disk"] == (
        f"{at / 'snapshots'} is on {at} (ext4), which is mounted without prjquota"
    )
