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


def cores(seconds: float, at: float, before: ContainerStats | None) -> float | None:
    """How many were used on average since the reading before, which is of the same run, by one that
    had used `seconds` of CPU at `at`; None: there was none. A clock that was set back tells
    nothing."""
    if before is None or at <= before.at or seconds < before.cpu.seconds:
        return None
    return (seconds - before.cpu.seconds) / (at - before.at)
