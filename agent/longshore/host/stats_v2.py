"""What cgroup v2 counts: one hierarchy, whose numbers have those of all levels beneath in them."""

from __future__ import annotations

from collections.abc import Sequence

from longshore.host.stats_files import UNIFIED, Fields, Files, Group
from longshore.host.stats_v1 import lines, numbers, throttling
from longshore.model.running import Running

_MICRO = 1e6
_CPU = lines("usage_usec", "user_usec", "system_usec")
_THROTTLED = lines("throttled_usec", "nr_periods", "nr_throttled")
_MEMORY = Group(
    UNIFIED,
    ("memory.current", "memory.peak", "memory.swap.current", "memory.stat", "memory.events"),
)
_PARTS = lines("inactive_file", "file", "anon")
_EVENTS = lines("max", "oom_kill")
_RESOURCES = ("cpu", "memory", "io")
_PRESSURE = Group(UNIFIED, tuple(f"{resource}.pressure" for resource in _RESOURCES))
_IO = {"rbytes": "read_bytes", "wbytes": "write_bytes", "rios": "reads", "wios": "writes"}


def cpu(files: Files, one: Running) -> Fields:
    """Of `CpuStats`."""
    stat = files.read(UNIFIED, "cpu.stat")
    used, user, system = numbers(stat, _CPU)
    held: Sequence[int] = (0, 0, 0)
    # Without a quota there is nothing to count.
    if one.cpus is not None:
        held = throttling([stat, *files.lower(UNIFIED, "cpu.stat")], _THROTTLED)
    return {
        "seconds": used / _MICRO,
        "user_seconds": user / _MICRO,
        "system_seconds": system / _MICRO,
        "limit": one.cpus,
        "periods": held[1],
        "throttled": held[2],
        "throttled_seconds": held[0] / _MICRO,
    }


def memory(files: Files, one: Running) -> Fields:
    """Of `MemoryStats`."""
    current, peak, swap, stat, events = files.together(_MEMORY)
    usage = int(current or 0)
    inactive, cache, rss = numbers(stat, _PARTS)
    at_limit, killed = numbers(events, _EVENTS)
    return {
        "usage": usage,
        "working_set": max(0, usage - inactive),
        "cache": cache,
        "rss": rss,
        "swap": int(swap or 0),
        "peak": int(peak) if peak else None,
        "limit": one.memory,
        "at_limit": at_limit,
        "killed": killed,
    }


def pids(files: Files, one: Running) -> int:
    del one
    return int(files.read(UNIFIED, "pids.current") or 0)


def block(files: Files, one: Running) -> dict[str, dict[str, int]]:
    """`8:0` → fields of `BlockStats`."""
    del one
    found = {}
    for line in files.read(UNIFIED, "io.stat").decode().splitlines():
        # `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`
        device, *pairs = line.split()
        values = (pair.partition("=") for pair in pairs)
        found[device] = {_IO[key]: int(value) for key, _, value in values if key in _IO}
    return found


def pressure(files: Files) -> list[Fields]:
    """Of `PressureStats`, a resource each; empty where the kernel does not count it."""
    if UNIFIED not in files.levels:
        return []
    found = []
    for resource, text in zip(_RESOURCES, files.together(_PRESSURE), strict=True):
        # `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`, which older
        # kernels lack of cpu.
        parts = text.replace(b"=", b" ").split()
        if parts:
            some, full = map(float, parts[2:7:2]), map(float, parts[11:16:2])
            found.append({"resource": resource, "some": tuple(some), "full": tuple(full)})
    return found
