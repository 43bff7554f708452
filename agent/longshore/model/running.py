"""What is known of a container that runs before it is measured, and what two readings say."""

from __future__ import annotations

from dataclasses import dataclass

from longshore.model.names import Names
from longshore.model.state import State
from longshore.model.status import ContainerStats

#: In these there are processes to measure.
MEASURED = frozenset({State.RUNNING, State.PAUSED, State.STOPPING})


@dataclass(frozen=True)
class Running:
    """A container with processes: `pid` of its first one, in the node's numbering.

    `interfaces`: their names inside; empty: none of its own. `cpus`, `memory`, `pids_limit`: its
    limits, as they were last read from the kernel; None: no limit.
    """

    id: str
    name: str
    pid: int
    interfaces: tuple[str, ...] = ()
    cpus: float | None = None
    memory: int | None = None
    pids_limit: int | None = None

    @property
    def names(self) -> Names:
        return Names(self.id)


def with_cores(now: ContainerStats, before: ContainerStats | None) -> ContainerStats:
    """`now` with the cores used since the reading before, which is of the same run; None: there
    was none. A clock that was set back tells nothing."""
    if before is None or now.at <= before.at or now.cpu.seconds < before.cpu.seconds:
        return now
    cores = (now.cpu.seconds - before.cpu.seconds) / (now.at - before.at)
    cpu = now.cpu.model_copy(update={"cores": cores})
    return now.model_copy(update={"cpu": cpu})
