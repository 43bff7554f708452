"""Limits and devices as an OCI spec has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longshore.errors import InvalidSpec
from longshore.host.block_devices import Number
from longshore.host.containerd.node import OciNode
from longshore.model.limits import Limits
from longshore.model.spec import ContainerSpec

#: 100 ms in microseconds, the kernel's own default.
CPU_PERIOD = 100_000
#: May be made but not used, so that packages with device nodes can be unpacked.
_MAKE_ANY = tuple({"allow": True, "type": kind, "access": "m"} for kind in ("c", "b"))
#: `IoLimit` → `linux.resources.blockIO`.
_THROTTLES = {
    "read_bps": "throttleReadBpsDevice",
    "write_bps": "throttleWriteBpsDevice",
    "read_iops": "throttleReadIOPSDevice",
    "write_iops": "throttleWriteIOPSDevice",
}
#: null, zero, full, random, urandom, tty, ptmx, and the pseudo terminals.
_USABLE = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))


def resources(
    limits: Limits, *, privileged: bool, disks: Mapping[str, Number] | None = None
) -> dict[str, Any]:
    """`linux.resources`; what is not limited is left out.

    `io_weight` is not in it: under v1 crun knows CFQ's file alone, which no kernel since 5.0 has.
    `Cgroups.mend` writes it.

    Args:
        disks: the numbers of the devices that `limits.io` names.
    """
    found: dict[str, Any] = {"devices": _device_rules(privileged=privileged)}
    some = changeable(limits)
    if limits.oom_policy == "pause":
        some["memory"]["disableOOMKiller"] = True
    block_io = _throttles(limits, disks or {})
    huge = [{"pageSize": size, "limit": limit} for size, limit in limits.hugepages.items()]
    # A file of cgroup v2 alone, as `disableOOMKiller` is v1's alone: admission sees to that.
    unified = {"memory.oom.group": "1"} if limits.oom_policy == "kill" else None
    return (
        found
        | some
        | _given(blockIO=block_io or None, hugepageLimits=huge or None, unified=unified)
    )


def changeable(limits: Limits) -> dict[str, Any]:
    """Those of `linux.resources` that every runtime can also change while the container runs.

    runc's `update` knows neither throttles, huge pages nor what happens out of memory.
    """
    memory = _given(
        limit=limits.memory, swap=limits.memory_swap, reservation=limits.memory_reservation
    )
    cpu = _given(shares=limits.cpu_shares, cpus=limits.cpuset)
    if limits.cpus is not None:
        cpu |= {"quota": round(limits.cpus * CPU_PERIOD), "period": CPU_PERIOD}
    pids = _given(limit=limits.pids)
    return _given(memory=memory or None, cpu=cpu or None, pids=pids or None)


def rlimits(limits: Limits) -> list[dict[str, Any]]:
    """`process.rlimits`."""
    return [
        {"type": f"RLIMIT_{one.name.upper()}", "soft": one.soft, "hard": one.hard}
        for one in limits.ulimits
    ]


def check_rlimits(spec: ContainerSpec, node: OciNode) -> None:
    """Refuses a hard limit above what the agent may set: the runtime would fail with EPERM; and a
    size of files that the runtime itself cannot start with.

    Raises:
        InvalidSpec: with all of them.
    """
    own, least = node.rlimits, node.file_size_min
    faults = [
        {
            "field": f"limits.ulimits[{i}].hard",
            "why": f"{one.name} {one.hard} is above {own[one.name]}, the most this node can set",
        }
        for i, one in enumerate(spec.limits.ulimits)
        if one.hard > own[one.name]
    ]
    faults += [
        {
            "field": f"limits.ulimits[{i}].soft",
            "why": f"fsize {one.soft} is below {least}, which this node's runtime needs to start",
        }
        for i, one in enumerate(spec.limits.ulimits)
        if one.name == "fsize" and one.soft < least
    ]
    if faults:
        raise InvalidSpec(
            f"cannot accept the spec: {faults[0]['field']}: {faults[0]['why']}",
            field=faults[0]["field"],
            object=spec.name,
            hint=(
                "ask for less, or give the agent and containerd a higher limit of their own"
                if faults[0]["field"].endswith("hard")
                else None
            ),
            details={"faults": faults},
        )


def _throttles(limits: Limits, disks: Mapping[str, Number]) -> dict[str, Any]:
    found: dict[str, list[dict[str, int]]] = {}
    for one in limits.io:
        major, minor = disks[one.device]
        for field, name in _THROTTLES.items():
            if (rate := getattr(one, field)) is not None:
                found.setdefault(name, []).append({"major": major, "minor": minor, "rate": rate})
    return found


def _device_rules(*, privileged: bool) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    usable = [
        {"allow": True, "type": "c", "major": major, "access": "rwm"} | _given(minor=minor)
        for major, minor in _USABLE
    ]
    return [{"allow": False, "access": "rwm"}, *_MAKE_ANY, *usable]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
