"""Limits as cgroup v1 keeps them: one hierarchy for each controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cgroupspy.controllers import Controller, CpuController, CpuSetController, MemoryController
from cgroupspy.interfaces import BaseFileInterface, IntegerFile

from longshore.host.block_devices import text as number_text
from longshore.host.cgroup_levels import (
    Disks,
    FieldsFile,
    MaxFile,
    contents,
    cpu_list,
    first_unlike,
    io_limits,
    lowest,
    numbers_in,
)
from longshore.model.host import AppliedLimits
from longshore.model.limits import Limits

#: 'No limit' reads as the largest multiple of the page size below 2**63.
_NO_LIMIT = 2**62
_DEFAULT_SHARES = 1024
#: CFQ's and BFQ's; whoever asks for one of them cannot be told from one who did not.
_DEFAULT_WEIGHTS = (500, 100)


class PidsController(Controller):  # type: ignore[misc] # cgroupspy has no types
    """The controller that cgroupspy lacks."""

    max = MaxFile("pids.max", readonly=True)


class OutOfMemoryController(Controller):  # type: ignore[misc] # cgroupspy has no types
    """The file of the memory controller that cgroupspy takes for a flag."""

    control = FieldsFile("memory.oom_control", readonly=True)


class RatesFile(BaseFileInterface):  # type: ignore[misc] # cgroupspy has no types
    """Lines `8:0 1048576`, one a disk."""

    def sanitize_get(self, value: str) -> dict[str, int]:
        pairs = (line.split() for line in value.splitlines())
        return {disk: int(rate) for disk, rate in pairs}


class BlkioController(Controller):  # type: ignore[misc] # cgroupspy has no types
    """cgroupspy's own misspells files, and does not know BFQ."""

    read_bps = RatesFile("blkio.throttle.read_bps_device", readonly=True)
    write_bps = RatesFile("blkio.throttle.write_bps_device", readonly=True)
    read_iops = RatesFile("blkio.throttle.read_iops_device", readonly=True)
    write_iops = RatesFile("blkio.throttle.write_iops_device", readonly=True)
    weight = IntegerFile("blkio.weight", readonly=True)
    bfq_weight = IntegerFile("blkio.bfq.weight", readonly=True)


def _memory(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    return replace(
        limits,
        memory=_limited(lowest(contents(MemoryController, levels, "limit_in_bytes"))),
        memory_swap=_limited(lowest(contents(MemoryController, levels, "memsw_limit_in_bytes"))),
        memory_reservation=_limited(
            lowest(contents(MemoryController, levels, "soft_limit_in_bytes"))
        ),
        oom_policy=_oom_policy(contents(OutOfMemoryController, levels, "control")),
    )


def _oom_policy(controls: Sequence[dict[str, int] | None]) -> str | None:
    known = [control for control in controls if control]
    if not known:
        return None
    return "pause" if any(one.get("oom_kill_disable") for one in known) else "continue"


def _cpu(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    quotas = contents(CpuController, levels, "cfs_quota_us")
    periods = contents(CpuController, levels, "cfs_period_us")
    cores = [
        quota / period if quota and period else None
        for quota, period in zip(quotas, periods, strict=True)
    ]
    shares = contents(CpuController, levels, "shares")
    return replace(limits, cpus=lowest(cores), cpu_shares=first_unlike(_DEFAULT_SHARES, shares))


def _cpuset(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    nearest_first = contents(CpuSetController, levels, "cpus")[::-1]
    return replace(limits, cpuset=cpu_list(first_unlike("", nearest_first) or ()))


def _pids(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    return replace(limits, pids=lowest(contents(PidsController, levels, "max")))


def _weight(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    weights = [
        *contents(BlkioController, levels, "weight"),
        *contents(BlkioController, levels, "bfq_weight"),
    ]
    set_ones = [one for one in weights if one not in (None, *_DEFAULT_WEIGHTS)]
    return replace(limits, io_weight=next(iter(set_ones), first_unlike(None, weights)))


def io(levels: Sequence[Path], asked: Limits, disks: Disks) -> Any:
    """`AppliedLimits.io` for the disks that `asked` names."""

    def rate(disk: str, name: str) -> int | None:
        levels_say = contents(BlkioController, levels, name)
        least: int | None = lowest((found or {}).get(disk) for found in levels_say)
        return least

    return io_limits(asked, disks, lambda number, name: rate(number_text(number), name))


def hugepages(levels: Sequence[Path], asked: Limits) -> dict[str, int]:
    """`AppliedLimits.hugepages` for the sizes that `asked` names."""
    found = {
        size: _limited(lowest(numbers_in(levels, f"hugetlb.{size}.limit_in_bytes")))
        for size in asked.hugepages
    }
    return {size: limit for size, limit in found.items() if limit is not None}


def _limited(value: int | None) -> int | None:
    return None if value is None or value >= _NO_LIMIT else value


#: Controller → what fills in its limits from the levels of its hierarchy.
READERS: Mapping[str, Callable[[AppliedLimits, Sequence[Path]], AppliedLimits]] = {
    "memory": _memory,
    "cpu": _cpu,
    "cpuset": _cpuset,
    "pids": _pids,
    "blkio": _weight,
}
