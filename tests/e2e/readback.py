"""Reading back, from outside, what a container was made to be: in /proc, by way of its root, in its
cgroups."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from e2e.lab import Lab, until
from e2e.probes import page
from longshore.host.cgroup import Cgroups
from longshore.model.drift import fitted_weight, linear_weight
from longshore.model.status import ContainerStatus
from longshore.model.values import MIB

V2 = Cgroups().mode() == "v2"
#: Controller, file, what is in it.
V1_FILES = (
    ("cpu", "cpu.cfs_quota_us", r"^50000$"),
    ("cpu", "cpu.shares", r"^512$"),
    ("cpuset", "cpuset.cpus", r"^0$"),
    ("memory", "memory.limit_in_bytes", rf"^{64 * MIB}$"),
    ("memory", "memory.soft_limit_in_bytes", rf"^{32 * MIB}$"),
    ("memory", "memory.memsw.limit_in_bytes", rf"^{96 * MIB}$"),
    ("memory", "memory.oom_control", r"^oom_kill_disable 1$"),
    ("pids", "pids.max", r"^37$"),
    ("blkio", "blkio.bfq.weight", r"^(default )?250$"),
    ("blkio", "blkio.throttle.read_bps_device", r"^{disk} 1111111$"),
    ("blkio", "blkio.throttle.write_bps_device", r"^{disk} 2222222$"),
    ("blkio", "blkio.throttle.read_iops_device", r"^{disk} 333$"),
    ("blkio", "blkio.throttle.write_iops_device", r"^{disk} 444$"),
)
V2_FILES = (
    ("cpu", "cpu.max", r"^50000 100000$"),
    ("cpu", "cpu.weight", rf"^({linear_weight(512)}|{fitted_weight(512)})$"),
    ("cpuset", "cpuset.cpus", r"^0$"),
    ("memory", "memory.max", rf"^{64 * MIB}$"),
    ("memory", "memory.low", rf"^{32 * MIB}$"),
    ("memory", "memory.swap.max", rf"^{32 * MIB}$"),
    ("memory", "memory.oom.group", r"^1$"),
    ("pids", "pids.max", r"^37$"),
    ("io", "io.bfq.weight", r"^default 250$"),
    ("io", "io.max", r"^{disk} rbps=1111111 wbps=2222222 riops=333 wiops=444$"),
)


def root(one: ContainerStatus, path: str = "") -> Path:
    return Path(f"/proc/{one.pid}/root{path}")


def has_become(one: ContainerStatus, name: str) -> Path:
    """Its folder in /proc, once the runtime's process has become the container's."""
    folder = Path(f"/proc/{one.pid}")
    until(lambda: (folder / "comm").read_text().strip() == name)
    return folder


def status_of(one: ContainerStatus) -> dict[str, str]:
    lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def mounts(one: ContainerStatus) -> Mapping[str, tuple[set[str], set[str]]]:
    """What is mounted where, the last of each: its options, and those of its file system."""
    found = {}
    for line in Path(f"/proc/{one.pid}/mountinfo").read_text().splitlines():
        front, _, back = line.partition(" - ")
        _, _, _, _, target, options, *shared = front.split()
        kind, _, super_options = back.split(" ", 2)
        more = {word.partition(":")[0] for word in shared}
        found[target] = ({*options.split(","), *more}, {kind, *super_options.split(",")})
    return found


def bits(one: ContainerStatus) -> set[int]:
    mask = int(status_of(one)["CapBnd"], 16)
    return {bit for bit in range(64) if mask >> bit & 1}


def log_of(lab: Lab, one: ContainerStatus) -> str:
    return b"".join(chunk.data for chunk in lab.client.logs(one.id)).decode()


def cgroup(lab: Lab, one: ContainerStatus, controller: str) -> Path:
    return Path("/sys/fs/cgroup", *(() if V2 else (controller,)), lab.agent.cgroup, one.id)


@contextlib.contextmanager
def submount(at: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "none", at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def code_of_page(address: str, port: int) -> str | None:
    """Why it has no answer; None: it has one."""
    try:
        page(address, port)
    except OSError as error:
        return str(error)
    return None
