"""What containers do without on this node, each with the reason in words.

One row a feature, so that a new one is one function more.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import HostFailed
from longshore.host import disks
from longshore.host.cgroup import Cgroups
from longshore.host.containerd.node import OOM_SCORE_MIN
from longshore.host.limit_support import Ground, lacks
from longshore.model.status import Cannot

_CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class _Host:
    snapshots: Path
    snapshotter: str
    cgroups: Cgroups
    runs: str
    proc: Path


def cannot(
    snapshots: Path,
    cgroups: Cgroups,
    containerd: int | None = None,
    proc: Path = Path("/proc"),
    snapshotter: str = "overlayfs",
) -> Sequence[Cannot]:
    """Everything that this node cannot do for a container.

    Args:
        containerd: its pid, whose privileges containers get; None: nobody knows, so the agent's.
        snapshots: the folder beneath which containerd keeps root file systems; it may not be
            there yet.

    Raises:
        HostFailed: the kernel does not say.
    """
    host = _Host(snapshots, snapshotter, cgroups, str(containerd or "self"), proc)
    try:
        return [one for probe in _PROBES for one in probe(host)]
    except OSError as error:
        raise HostFailed(f"cannot find out what this node lacks: {error}") from error


def _limits(host: _Host) -> Iterator[Cannot]:
    folder = host.proc / host.runs
    least = OOM_SCORE_MIN
    if not _has(host, _CAP_SYS_RESOURCE):
        least = int((folder / "oom_score_adj").read_text())
    for feature, why in lacks(Ground(host.cgroups, least)):
        yield Cannot(feature=feature, why=why)


def _disk_quota(host: _Host) -> Iterator[Cannot]:
    why = disks.why_not(host.snapshotter, host.snapshots)
    if why is not None:
        yield Cannot(feature="limits.disk", why=why)


def _ipv6(host: _Host) -> Iterator[Cannot]:
    switch = host.proc / "sys/net/ipv6/conf/all/disable_ipv6"
    if not switch.exists():
        yield Cannot(feature="IPv6", why="the kernel was built or booted without it")
    elif switch.read_text().strip() == "1":
        yield Cannot(feature="IPv6", why="net.ipv6.conf.all.disable_ipv6 is 1")
    else:
        yield Cannot(feature="IPv6", why="networks of this release of Longshore are IPv4")


def _rlimits(host: _Host) -> Iterator[Cannot]:
    if not _has(host, _CAP_SYS_RESOURCE):
        yield Cannot(
            feature="limits.ulimits above containerd's own",
            why="containerd runs without CAP_SYS_RESOURCE",
        )


def _has(host: _Host, capability: int) -> bool:
    status = (host.proc / host.runs / "status").read_text().splitlines()
    effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> capability & 1)


def _seccomp(host: _Host) -> Iterator[Cannot]:
    if not (host.proc / "sys/kernel/seccomp/actions_avail").exists():
        yield Cannot(feature="seccomp", why="the kernel was built without CONFIG_SECCOMP_FILTER")


def _pressure(host: _Host) -> Iterator[Cannot]:
    try:
        (host.proc / "pressure/memory").read_text()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
            raise
        yield Cannot(feature="pressure (PSI)", why="the kernel has it off; boot it with psi=1")


_PROBES: Sequence[Callable[[_Host], Iterator[Cannot]]] = (
    _limits,
    _disk_quota,
    _ipv6,
    _rlimits,
    _seccomp,
    _pressure,
)
