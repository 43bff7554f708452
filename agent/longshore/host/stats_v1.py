"""What cgroup v1 counts: one hierarchy for each controller, bytes and nanoseconds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from longshore.host.stats_files import Fields, Files, Group
from longshore.model.running import Running

_NANO = 1e9
#: cpuacct.stat counts in these, cpuacct.usage in nanoseconds.
_TICKS: int = os.sysconf("SC_CLK_TCK")


def lines(*names: str) -> tuple[bytes, ...]:
    """For `numbers`: where their values begin."""
    return tuple(f"\n{name} ".encode() for name in names)


_CPUACCT = Group("cpuacct", ("cpuacct.usage", "cpuacct.stat"))
_CPU = lines("user", "system")
_MEMORY = Group(
    "memory",
    (
        "memory.usage_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.stat",
        "memory.failcnt",
        "memory.oom_control",
    ),
)
_PARTS = lines("total_inactive_file", "total_cache", "total_rss", "total_swap")
_KILLED = lines("oom_kill")
_THROTTLED = lines("throttled_time", "nr_periods", "nr_throttled")
#: What its lines say → field of `BlockStats`, for each file. Where there were no operations there
#: are no bytes either.
_BLOCK = {
    "blkio.throttle.io_serviced": {"Read": "reads", "Write": "writes"},
    "blkio.throttle.io_service_bytes": {"Read": "read_bytes", "Write": "write_bytes"},
}


def numbers(text: bytes, wanted: Sequence[bytes]) -> list[int]:
    """Of some of the lines `name number`, 0 for those that are not there.

    Faster than to take all lines apart, of which memory.stat has dozens.
    """
    text = b"\n%b\n" % text
    found = []
    for line in wanted:
        at = text.find(line)
        if at < 0:
            found.append(0)
        else:
            at += len(line)
            found.append(int(text[at : text.find(b"\n", at)]))
    return found


def cpu(files: Files, one: Running) -> Fields:
    """Of `CpuStats`."""
    usage, stat = files.together(_CPUACCT)
    user, system = numbers(stat, _CPU)
    held: Sequence[int] = (0, 0, 0)
    # Without a quota there is nothing to count.
    if one.cpus is not None and "cpu" in files.levels:
        held = throttling(
            [files.read("cpu", "cpu.stat"), *files.lower("cpu", "cpu.stat")], _THROTTLED
        )
    return {
        "seconds": int(usage or 0) / _NANO,
        "user_seconds": user / _TICKS,
        "system_seconds": system / _TICKS,
        "limit": one.cpus,
        "periods": held[1],
        "throttled": held[2],
        "throttled_seconds": held[0] / _NANO,
    }


def throttling(levels: Sequence[bytes], wanted: Sequence[bytes]) -> Sequence[int]:
    """For how long, periods, and throttled ones; of the level whose quota held it up most: each
    counts its own alone."""
    return max([numbers(text, wanted) for text in levels])


def memory(files: Files, one: Running) -> Fields:
    """Of `MemoryStats`."""
    current, peak, stat, failed, control = files.together(_MEMORY)
    usage = int(current or 0)
    inactive, cache, rss, swap = numbers(stat, _PARTS)
    # Each level counts its own alone.
    all_failed = [failed, *files.lower("memory", "memory.failcnt")]
    controls = [control, *files.lower("memory", "memory.oom_control")]
    return {
        "usage": usage,
        "working_set": max(0, usage - inactive),
        "cache": cache,
        "rss": rss,
        "swap": swap,
        "peak": int(peak or 0),
        "limit": one.memory,
        "at_limit": sum([int(text or 0) for text in all_failed]),
        "killed": sum([numbers(text, _KILLED)[0] for text in controls]),
    }


def pids(files: Files, one: Running) -> int:
    del one
    return int(files.read("pids", "pids.current") or 0)


def block(files: Files, one: Running) -> dict[str, dict[str, int]]:
    """`8:0` → fields of `BlockStats`."""
    del one
    found: dict[str, dict[str, int]] = {}
    for file, fields in _BLOCK.items():
        # With the levels beneath in it, where the kernel has that.
        text = files.read("blkio", file + "_recursive") or files.read("blkio", file)
        for line in text.decode().splitlines():
            # `8:0 Read 4096`; the last line is `Total 4096`.
            parts = line.split()
            if len(parts) == 3 and parts[1] in fields:
                found.setdefault(parts[0], {})[fields[parts[1]]] = int(parts[2])
        if not found:
            break
    return found
