"""What cgroup v1 counts: one hierarchy for each controller, bytes and nanoseconds."""

from __future__ import annotations

import os

from longshore.host.stats_files import Files
from longshore.model.running import Running
from longshore.model.status import CpuStats, MemoryStats

_NANO = 1e9
#: cpuacct.stat counts in these, cpuacct.usage in nanoseconds.
_TICKS: int = os.sysconf("SC_CLK_TCK")


def words(text: bytes) -> dict[bytes, bytes]:
    """Of lines `name number`."""
    found = text.split()
    return dict(zip(found[::2], found[1::2], strict=False))


def number(text: bytes, name: bytes) -> int:
    """Of one such line among many, 0 if it is not there: faster than `words`."""
    begin = b"\n" + name + b" "
    found = (b"\n" + text).find(begin)
    if found < 0:
        return 0
    start = found + len(begin) - 1
    end = text.find(b"\n", start)
    return int(text[start:end] if end >= 0 else text[start:])


def cpu(files: Files, one: Running) -> CpuStats:
    parts = words(files.read("cpuacct", "cpuacct.stat"))
    periods, throttled, nanoseconds = throttling(files, one, "cpu", b"throttled_time")
    return CpuStats(
        seconds=int(files.read("cpuacct", "cpuacct.usage") or 0) / _NANO,
        user_seconds=int(parts.get(b"user", 0)) / _TICKS,
        system_seconds=int(parts.get(b"system", 0)) / _TICKS,
        limit=one.cpus,
        periods=periods,
        throttled=throttled,
        throttled_seconds=nanoseconds / _NANO,
    )


def throttling(files: Files, one: Running, hierarchy: str, time: bytes) -> tuple[int, int, int]:
    """Periods, throttled ones, and for how long; of the level whose quota held it up most.

    Each level counts its own quota alone, and without one there is nothing to count.
    """
    if one.cpus is None or hierarchy not in files.levels:
        return (0, 0, 0)
    counted = (
        words(files.read(hierarchy, "cpu.stat", level))
        for level in range(len(files.levels[hierarchy]))
    )
    most = max(
        (
            int(level.get(time, 0)),
            int(level.get(b"nr_periods", 0)),
            int(level.get(b"nr_throttled", 0)),
        )
        for level in counted
    )
    return (most[1], most[2], most[0])


def memory(files: Files, one: Running) -> MemoryStats:
    def value(file: str) -> int:
        return int(files.read("memory", file) or 0)

    usage = value("memory.usage_in_bytes")
    parts = files.read("memory", "memory.stat")
    # Each level counts its own alone.
    levels = range(len(files.levels["memory"]))
    controls = [words(files.read("memory", "memory.oom_control", level)) for level in levels]
    failed = [int(files.read("memory", "memory.failcnt", level) or 0) for level in levels]
    return MemoryStats(
        usage=usage,
        working_set=max(0, usage - number(parts, b"total_inactive_file")),
        cache=number(parts, b"total_cache"),
        rss=number(parts, b"total_rss"),
        swap=number(parts, b"total_swap"),
        peak=value("memory.max_usage_in_bytes"),
        limit=one.memory,
        at_limit=sum(failed),
        killed=sum(int(control.get(b"oom_kill", 0)) for control in controls),
    )


def pids(files: Files, one: Running) -> int:
    del one
    return int(files.read("pids", "pids.current") or 0)


def block(files: Files, one: Running) -> dict[str, dict[str, int]]:
    """`8:0` → fields of `BlockStats`."""
    del one
    found: dict[str, dict[str, int]] = {}
    for kind, read, written in (
        ("service_bytes", "read_bytes", "write_bytes"),
        ("serviced", "reads", "writes"),
    ):
        name = f"blkio.throttle.io_{kind}"
        text = files.read("blkio", f"{name}_recursive") or files.read("blkio", name)
        for line in text.decode().splitlines():
            # `8:0 Read 4096`; the last line is `Total 4096`.
            parts = line.split()
            field = {"Read": read, "Write": written}.get(parts[1]) if len(parts) == 3 else None
            if field is not None:
                found.setdefault(parts[0], {})[field] = int(parts[2])
    return found
