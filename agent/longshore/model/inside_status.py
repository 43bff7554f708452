"""What goes on in a container, as callers and operators are shown it; see status.py."""

from __future__ import annotations

from longshore.model.value import Value


class ExecStatus(Value):
    """What came of a command in a container.

    `exit_code`: 128 and the signal if one ended it. What of both outputs is not UTF-8 is escaped
    (`\\xff`); `truncated`: there was more of one. `timed_out`: it was killed because of that.
    """

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    timed_out: bool = False
    seconds: float = 0.0


class ProcessStatus(Value):
    """A process in a container. `pid` and `parent` in its own numbering, `host_pid` in the node's;
    `user`: its name in there, or number; `cpu_seconds`: used so far; `rss`: bytes of memory;
    `state`: the kernel's letter."""

    pid: int
    parent: int
    host_pid: int
    user: str
    state: str
    started_at: float
    cpu_seconds: float
    rss: int
    command: str


class CpuStats(Value):
    """Seconds since the container's start. `cores`: used on average since the reading before, None
    in a first one. `periods`: how many it had under a quota, and in how many it was `throttled`,
    for how many seconds."""

    seconds: float = 0.0
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    cores: float | None = None
    limit: float | None = None
    periods: int = 0
    throttled: int = 0
    throttled_seconds: float = 0.0


class MemoryStats(Value):
    """Bytes. `working_set`: `usage` without the file cache that the kernel may drop at once.

    `peak`, `limit`: None: the kernel does not say; no limit. `at_limit`: how often it was at its
    limit; `killed`: how many processes the kernel killed to free memory."""

    usage: int = 0
    working_set: int = 0
    cache: int = 0
    rss: int = 0
    swap: int = 0
    peak: int | None = None
    limit: int | None = None
    at_limit: int = 0
    killed: int = 0


class BlockStats(Value):
    """Bytes and operations of block devices, since the start. `device`: its path, or `8:0`."""

    device: str
    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


class NetworkStats(Value):
    """Of one interface, as seen from inside the container, since its start."""

    interface: str
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


class PressureStats(Value):
    """Percent of the time that some, or all, of its processes waited for `resource` (cpu, memory or
    io) in the last 10, 60 and 300 seconds (PSI)."""

    resource: str
    some: tuple[float, ...] = ()
    full: tuple[float, ...] = ()


class ContainerStats(Value):
    """What a running container uses; `at`: Unix seconds. The same fields on cgroup v1, hybrid and
    v2. `pressure` is empty where the kernel has none."""

    id: str
    name: str
    at: float
    cpu: CpuStats = CpuStats()
    memory: MemoryStats = MemoryStats()
    pids: int = 0
    pids_limit: int | None = None
    block: tuple[BlockStats, ...] = ()
    network: tuple[NetworkStats, ...] = ()
    pressure: tuple[PressureStats, ...] = ()


class PathStatus(Value):
    """A file in a container. `mode` has the type too, as in stat(2); `link`: what it points to."""

    name: str
    size: int
    mode: int
    modified_at: float
    link: str = ""


class Difference(Value):
    """One path of the writable layer. `kind`: added, changed or deleted, against the image."""

    path: str
    kind: str
