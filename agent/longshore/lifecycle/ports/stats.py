"""What containers use of the node, as the kernel counts it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from longshore.model.names import Names
from longshore.model.running import Running
from longshore.model.status import ContainerStats, ProcessStatus


class Usage(Protocol):
    """Called by one thread at a time. It may keep files open of containers that it has read."""

    def read(
        self,
        those: Sequence[Running],
        now: Callable[[], float],
        before: Mapping[str, ContainerStats],
    ) -> Mapping[str, ContainerStats]:
        """By id, of those of them that are there still. `now`: Unix seconds, asked for each of
        them. `before`: the reading before of the same run, where there was one. Raises
        HostFailed."""

    def keep(self, ids: Collection[str]) -> None:
        """Lets go of what is open of all others."""


class Processes(Protocol):
    def processes(self, names: Names, pid: int) -> Sequence[ProcessStatus]:
        """Of a container whose first process is `pid`, by their pids in there. `user` is its number
        on the node. One that ends meanwhile is left out. Raises HostFailed."""


class UserNames(Protocol):
    def user_names(self, names: Names) -> Mapping[int, str]:
        """Number in the container → name, from the snapshot's /etc/passwd. Raises NotFound,
        HostFailed."""


@dataclass(frozen=True)
class Meters:
    """All that it takes to tell what containers use, and who is in them."""

    usage: Usage
    processes: Processes
    users: UserNames
