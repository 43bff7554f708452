"""What cgroup v2 counts: one hierarchy, whose numbers have those of all levels beneath in them."""

from __future__ import annotations

from collections.abc import Sequence

from longshore.host.stats_files import UNIFIED, Files
from longshore.host.stats_v1 import number, throttling, words
from longshore.model.running import Running
from longshore.model.status import CpuStats, MemoryStats, PressureStats

_MICRO = 1e6
_IO = {"rbytes": "read_bytes", "wbytes": "write_bytes", "rios": "reads", "wios": "writes"}


def cpu(files: Files, one: Running) -> CpuStats:
    parts = words(files.read(UNIFIED, "cpu.stat"))
    periods, throttled, microseconds = throttling(files, one, UNIFIED, b"throttled_usec")
    return CpuStats(
        seconds=int(parts.get(b"usage_usec", 0)) / _MICRO,
        user_seconds=int(parts.get(b"user_usec", 0)) / _MICRO,
        system_seconds=int(parts.get(b"system_usec", 0)) / _MICRO,
        limit=one.cpus,
        periods=periods,
        throttled=throttled,
        throttled_seconds=microseconds / _MICRO,
    )


def memory(files: Files, one: Running) -> MemoryStats:
    usage = int(files.read(UNIFIED, "memory.current") or 0)
    parts = files.read(UNIFIED, "memory.stat")
    events = words(files.read(UNIFIED, "memory.events"))
    peak = files.read(UNIFIED, "memory.peak")
    return MemoryStats(
        usage=usage,
        working_set=max(0, usage - number(parts, b"inactive_file")),
        cache=number(parts, b"file"),
        rss=number(parts, b"anon"),
        swap=int(files.read(UNIFIED, "memory.swap.current") or 0),
        peak=int(peak) if peak else None,
        limit=one.memory,
        at_limit=int(events.get(b"max", 0)),
        killed=int(events.get(b"oom_kill", 0)),
    )


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


def pressure(files: Files) -> tuple[PressureStats, ...]:
    """Empty where the kernel does not count it."""
    if UNIFIED not in files.levels:
        return ()
    found = []
    for resource in ("cpu", "memory", "io"):
        # `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`, which older
        # kernels lack of cpu.
        parts = files.read(UNIFIED, f"{resource}.pressure").split()
        if parts:
            some, full = _averages(parts[1:4]), _averages(parts[6:9])
            found.append(PressureStats(resource=resource, some=some, full=full))
    return tuple(found)


def _averages(parts: Sequence[bytes]) -> tuple[float, ...]:
    return tuple([float(part[part.index(b"=") + 1 :]) for part in parts])
