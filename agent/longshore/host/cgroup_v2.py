"""Limits as cgroup v2 keeps them: one hierarchy, `max` for unlimited, weights for shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cgroupspy.controllers import Controller
from cgroupspy.interfaces import BaseFileInterface, CommaDashSetFile, IntegerFile

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
from longshore.model.drift import blkio_of_weight, fitted_weight, linear_weight, shares_of_weight
from longshore.model.host import AppliedLimits
from longshore.model.limits import Limits

_DEFAULT_WEIGHT = 100
#: `IoLimit` → the key in io.max.
IO_KEYS = {
    "read_bps": "rbps",
    "write_bps": "wbps",
    "read_iops": "riops",
    "write_iops": "wiops",
}


class CoresFile(BaseFileInterface):  # type: ignore[misc] # cgroupspy has no types
    """`quota period` in microseconds, read as cores; `max period` reads as None."""

    def sanitize_get(self, value: str) -> float | None:
        quota, period = value.split()
        return None if quota == "max" else int(quota) / int(period)


class RatesFile(BaseFileInterface):  # type: ignore[misc] # cgroupspy has no types
    """Lines `8:0 rbps=1048576 wbps=max riops=max wiops=max`, one a disk; what is `max` is not in
    it."""

    def sanitize_get(self, value: str) -> dict[str, dict[str, int]]:
        found = {}
        for line in value.splitlines():
            disk, *pairs = line.split()
            rates = (pair.split("=") for pair in pairs)
            found[disk] = {key: int(rate) for key, rate in rates if rate != "max"}
        return found


class UnifiedController(Controller):  # type: ignore[misc] # cgroupspy has no types
    """The files of a v2 cgroup that hold our limits; cgroupspy knows v1 only."""

    memory_max = MaxFile("memory.max", readonly=True)
    memory_swap_max = MaxFile("memory.swap.max", readonly=True)
    memory_low = MaxFile("memory.low", readonly=True)
    memory_oom_group = IntegerFile("memory.oom.group", readonly=True)
    cpu_max = CoresFile("cpu.max", readonly=True)
    cpu_weight = IntegerFile("cpu.weight", readonly=True)
    cpuset_cpus = CommaDashSetFile("cpuset.cpus", readonly=True)
    pids_max = MaxFile("pids.max", readonly=True)
    io_max = RatesFile("io.max", readonly=True)
    # `default 100`, and a line for each disk that differs.
    io_weight = FieldsFile("io.weight", readonly=True)
    io_bfq_weight = FieldsFile("io.bfq.weight", readonly=True)


def _memory(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    """v2 limits swap alone, the OCI spec memory and swap together."""
    memory = lowest(contents(UnifiedController, levels, "memory_max"))
    swap = lowest(contents(UnifiedController, levels, "memory_swap_max"))
    both = None if memory is None or swap is None else memory + swap
    # Protection that no level gives reads 0; what is set on one level counts there alone.
    lows = [low for low in contents(UnifiedController, levels, "memory_low") if low]
    groups = contents(UnifiedController, levels, "memory_oom_group")
    policy = "kill" if any(groups) else "continue" if any(one == 0 for one in groups) else None
    return replace(
        limits,
        memory=memory,
        memory_swap=both,
        memory_reservation=max(lows, default=None),
        oom_policy=policy,
    )


def _cpu(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    weight = first_unlike(_DEFAULT_WEIGHT, contents(UnifiedController, levels, "cpu_weight"))
    return replace(
        limits,
        cpus=lowest(contents(UnifiedController, levels, "cpu_max")),
        cpu_shares=None if weight is None else shares_of_weight(weight),
    )


def shares_as_asked(limits: AppliedLimits, asked: int | None) -> AppliedLimits:
    """`asked` where the weight is one that a runtime makes of it; there are two formulas.

    One step of weight is forgiven: they end in a rounding of floating point.
    """
    if asked is None or limits.cpu_shares is None:
        return limits
    weight = linear_weight(limits.cpu_shares)
    fits = any(abs(weight - formula(asked)) <= 1 for formula in (linear_weight, fitted_weight))
    return replace(limits, cpu_shares=asked) if fits else limits


def _cpuset(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    nearest_first = contents(UnifiedController, levels, "cpuset_cpus")[::-1]
    return replace(limits, cpuset=cpu_list(first_unlike("", nearest_first) or ()))


def _pids(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    return replace(limits, pids=lowest(contents(UnifiedController, levels, "pids_max")))


def _io_weight(limits: AppliedLimits, levels: Sequence[Path]) -> AppliedLimits:
    """BFQ has the spec's own weights; elsewhere the runtimes convert."""
    bfq, others = (
        first_unlike(
            _DEFAULT_WEIGHT,
            [one["default"] for one in contents(UnifiedController, levels, name) if one],
        )
        for name in ("io_bfq_weight", "io_weight")
    )
    if bfq is None or (bfq == _DEFAULT_WEIGHT and others not in (None, _DEFAULT_WEIGHT)):
        return replace(limits, io_weight=None if others is None else blkio_of_weight(others))
    return replace(limits, io_weight=bfq)


def io(levels: Sequence[Path], asked: Limits, disks: Disks) -> Any:
    """`AppliedLimits.io` for the disks that `asked` names."""
    found = contents(UnifiedController, levels, "io_max")

    def rate(disk: str, key: str) -> int | None:
        least: int | None = lowest((level or {}).get(disk, {}).get(key) for level in found)
        return least

    return io_limits(asked, disks, lambda number, name: rate(number_text(number), IO_KEYS[name]))


def hugepages(levels: Sequence[Path], asked: Limits) -> dict[str, int]:
    """`AppliedLimits.hugepages` for the sizes that `asked` names."""
    found = {size: lowest(numbers_in(levels, f"hugetlb.{size}.max")) for size in asked.hugepages}
    return {size: limit for size, limit in found.items() if limit is not None}


#: Controller → what fills in its limits from the levels of the one hierarchy.
READERS: Mapping[str, Callable[[AppliedLimits, Sequence[Path]], AppliedLimits]] = {
    "memory": _memory,
    "cpu": _cpu,
    "cpuset": _cpuset,
    "pids": _pids,
    "io": _io_weight,
}
