"""What containers use, made up: values for the front doors, and a meter that a test turns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from longshore.model.running import Running, cores
from longshore.model.status import (
    BlockStats,
    ContainerStats,
    CpuStats,
    MemoryStats,
    NetworkStats,
    PressureStats,
    ProcessStatus,
)

#: With a value in every field.
BUSY = ContainerStats(
    id="0d2c1f4e-53a1-4a3f-9b1e-2f6f0a3b7c01",
    name="busy",
    at=1.5,
    cpu=CpuStats(
        seconds=9.5,
        user_seconds=6.25,
        system_seconds=3.25,
        cores=1.25,
        limit=2.0,
        periods=2**40,
        throttled=7,
        throttled_seconds=0.5,
    ),
    memory=MemoryStats(
        usage=2**40,
        working_set=2**25,
        cache=5,
        rss=6,
        swap=7,
        peak=2**41,
        limit=2**26,
        at_limit=8,
        killed=9,
    ),
    pids=3,
    pids_limit=32,
    block=(BlockStats(device="/dev/vda", read_bytes=2**40, write_bytes=2, reads=3, writes=4),),
    network=(
        NetworkStats(
            interface="eth0",
            rx_bytes=2**40,
            tx_bytes=2,
            rx_packets=3,
            tx_packets=4,
            rx_dropped=5,
            tx_dropped=6,
        ),
    ),
    pressure=(PressureStats(resource="cpu", some=(1.5, 2.5, 3.5), full=(0.0, 0.0, 0.25)),),
)
#: With as little as there can be.
IDLE = ContainerStats(id="1e2c1f4e-53a1-4a3f-9b1e-2f6f0a3b7c02", name="idle", at=1.5)
PROCESSES = [
    ProcessStatus(
        pid=1,
        parent=0,
        host_pid=4001,
        user="root",
        state="S",
        started_at=1.5,
        cpu_seconds=0.25,
        rss=2**20,
        command="sh -c sleep 9",
    ),
    ProcessStatus(
        pid=7,
        parent=1,
        host_pid=4002,
        user="1000",
        state="R",
        started_at=2.5,
        cpu_seconds=2.5,
        rss=2**30,
        command="sleep 9",
    ),
]


@dataclass
class FakeUsage:
    """`seconds`: of CPU, by id; who is not in it has ended. `read_ids`: of each reading. `kept`:
    what is open."""

    seconds: dict[str, float] = field(default_factory=dict)
    read_ids: list[list[str]] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)

    def read(
        self,
        those: Sequence[Running],
        now: Callable[[], float],
        before: Mapping[str, ContainerStats],
    ) -> Mapping[str, ContainerStats]:
        self.read_ids.append([one.id for one in those])
        found = {}
        for one in those:
            self.kept.discard(one.id)
            if one.id in self.seconds:
                self.kept.add(one.id)
                at, seconds = now(), self.seconds[one.id]
                used = cores(seconds, at, before.get(one.id))
                found[one.id] = ContainerStats(
                    id=one.id,
                    name=one.name,
                    at=at,
                    cpu=CpuStats(seconds=seconds, cores=used, limit=one.cpus),
                    memory=MemoryStats(limit=one.memory),
                    pids=1,
                    pids_limit=one.pids_limit,
                )
        return found

    def keep(self, ids: Collection[str]) -> None:
        self.kept &= set(ids)


@dataclass
class FakeProcesses:
    """`found`: what there is in every container."""

    found: Sequence[ProcessStatus] = ()

    def processes(self, names: object, pid: int) -> Sequence[ProcessStatus]:
        return self.found


@dataclass
class FakeUsers:
    """`names`: of every container; `error`: raised instead."""

    names: Mapping[int, str] = field(default_factory=dict)
    error: Exception | None = None

    def user_names(self, names: object) -> Mapping[int, str]:
        if self.error is not None:
            raise self.error
        return self.names
