"""Limits that are written past the runtime: its `update` does not know them (runc), or it left
them out. Pure: which files get which text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from longshore.host import cgroup_v2
from longshore.host.block_devices import text
from longshore.host.cgroup_levels import Disks
from longshore.model.drift import io_weight_of
from longshore.model.limits import Limits

_RATES = ("read_bps", "write_bps", "read_iops", "write_iops")


@dataclass(frozen=True)
class Write:
    """`field` of the spec: `text` goes to the first of `files` that is there, each with its own."""

    controller: str
    field: str
    files: tuple[tuple[str, str], ...]


def writes(limits: Limits, disks: Disks, *, unified: bool) -> Iterator[Write]:
    """For every level of the container's cgroup."""
    yield from (_v2 if unified else _v1)(limits, disks)


def _v1(limits: Limits, disks: Disks) -> Iterator[Write]:
    if limits.oom_policy is not None:
        disable = "1" if limits.oom_policy == "pause" else "0"
        yield Write("memory", "oom_policy", (("memory.oom_control", disable),))
    if limits.io_weight is not None:
        weight = str(limits.io_weight)
        yield Write("blkio", "io_weight", (("blkio.weight", weight), ("blkio.bfq.weight", weight)))
    for one in limits.io:
        for name in _RATES if one.device in disks else ():
            if (rate := getattr(one, name)) is not None:
                line = f"{text(disks[one.device])} {rate}"
                yield Write("blkio", "io", ((f"blkio.throttle.{name}_device", line),))
    for size, limit in limits.hugepages.items():
        yield Write("hugetlb", "hugepages", ((f"hugetlb.{size}.limit_in_bytes", str(limit)),))


def _v2(limits: Limits, disks: Disks) -> Iterator[Write]:
    if limits.oom_policy is not None:
        group = "1" if limits.oom_policy == "kill" else "0"
        yield Write("memory", "oom_policy", (("memory.oom.group", group),))
    if (blkio := limits.io_weight) is not None:
        files = (("io.bfq.weight", str(blkio)), ("io.weight", str(io_weight_of(blkio))))
        yield Write("io", "io_weight", files)
    for one in limits.io:
        rates = {
            key: rate
            for name, key in cgroup_v2.IO_KEYS.items()
            if (rate := getattr(one, name)) is not None
        }
        if one.device in disks:
            pairs = " ".join(f"{key}={rate}" for key, rate in rates.items())
            yield Write("io", "io", (("io.max", f"{text(disks[one.device])} {pairs}"),))
    for size, limit in limits.hugepages.items():
        yield Write("hugetlb", "hugepages", ((f"hugetlb.{size}.max", str(limit)),))
