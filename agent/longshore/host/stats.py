"""What containers use: cpu, memory, processes, block and network I/O, pressure.

One reading opens nothing twice and walks no tree: where a container's cgroups are, its first
process says once (stats_files.py), and one file of the kernel has the counters of all interfaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from longshore.errors import HostFailed
from longshore.host import stats_v1, stats_v2
from longshore.host.cgroup_places import Hierarchies
from longshore.host.stats_files import UNIFIED, Fields, Files, Gone, Kept, Room
from longshore.model.running import Running, cores
from longshore.model.status import ContainerStats

T = TypeVar("T")
_Reader = Callable[[Files, Running], T]
#: The first whose hierarchy there is; on a hybrid host v1 has the controllers.
_CPU: Mapping[str, _Reader[Fields]] = {"cpuacct": stats_v1.cpu, UNIFIED: stats_v2.cpu}
_MEMORY: Mapping[str, _Reader[Fields]] = {"memory": stats_v1.memory, UNIFIED: stats_v2.memory}
_PIDS: Mapping[str, _Reader[int]] = {"pids": stats_v1.pids, UNIFIED: stats_v2.pids}
_BLOCK: Mapping[str, _Reader[dict[str, dict[str, int]]]] = {
    "blkio": stats_v1.block,
    UNIFIED: stats_v2.block,
}
#: Columns of /proc/net/dev: received, then sent, of the node's end of a pair: what the one end
#: sends, the other one receives.
_FROM_INSIDE = {"tx_bytes": 0, "tx_packets": 1, "tx_dropped": 3}
_TO_INSIDE = {"rx_bytes": 8, "rx_packets": 9, "rx_dropped": 11}
_COUNTERS = {**_FROM_INSIDE, **_TO_INSIDE}


class Usage:
    """Satisfies lifecycle.ports.stats.Usage.

    Args:
        root: where the cgroup file systems are mounted.
        proc: where proc is mounted.
        devices: the kernel's folder of block devices by number.
        room: for open files; None: a part of what the process may have.
    """

    def __init__(
        self,
        root: Path = Path("/sys/fs/cgroup"),
        proc: Path = Path("/proc"),
        devices: Path = Path("/sys/dev/block"),
        room: Room | None = None,
    ) -> None:
        self._kept = Kept(Hierarchies(root, proc), room)
        self._net = proc / "net/dev"
        self._devices = devices

    def read(
        self,
        those: Sequence[Running],
        now: Callable[[], float],
        before: Mapping[str, ContainerStats],
    ) -> Mapping[str, ContainerStats]:
        links = self._links() if any(one.interfaces for one in those) else {}
        disks: dict[str, str] = {}
        found = {}
        for one in those:
            try:
                found[one.id] = self._of(one, now(), before.get(one.id), links, disks)
            except Gone:
                self._kept.forget(one.id)
        return found

    def keep(self, ids: Collection[str]) -> None:
        self._kept.keep(ids)

    def _of(
        self,
        one: Running,
        at: float,
        before: ContainerStats | None,
        links: Mapping[str, Sequence[str]],
        disks: dict[str, str],
    ) -> ContainerStats:
        files = self._kept.of(one)
        cpu = _first(_CPU, files, one) or {}
        if cpu:
            cpu["cores"] = cores(cpu["seconds"], at, before)
        link = links.get(one.names.veth) if one.interfaces else None
        # All of it at once: to make a value for each part takes twice the time.
        return ContainerStats.model_validate(
            {
                "id": one.id,
                "name": one.name,
                "at": at,
                "cpu": cpu,
                "memory": _first(_MEMORY, files, one) or {},
                "pids": _first(_PIDS, files, one) or 0,
                "pids_limit": one.pids_limit,
                "block": [
                    {"device": self._disk(number, disks), **counted}
                    for number, counted in sorted((_first(_BLOCK, files, one) or {}).items())
                    if any(counted.values())
                ],
                "network": [
                    {"interface": interface, **_counted(link)}
                    for interface in one.interfaces
                    if link is not None
                ],
                "pressure": stats_v2.pressure(files),
            }
        )

    def _links(self) -> dict[str, list[str]]:
        """Name of each interface of the node → its counters.

        The kernel takes no lock for this file that a change of the network could hold.
        """
        try:
            lines = self._net.read_text().splitlines()[2:]
        except OSError as error:
            raise HostFailed(
                f"cannot read {self._net}: {error.strerror}", object=str(self._net)
            ) from error
        pairs = (line.partition(":") for line in lines)
        return {name.strip(): counters.split() for name, _, counters in pairs}

    def _disk(self, number: str, known: dict[str, str]) -> str:
        """Its path, from its number; the number where it has been unplugged.

        `known`: of this reading alone, since another disk may get the number.
        """
        if number not in known:
            try:
                name = os.path.basename(os.readlink(self._devices / number))
                known[number] = "/dev/" + name.replace("!", "/")
            except OSError:
                known[number] = number
        return known[number]


def _first(readers: Mapping[str, _Reader[T]], files: Files, one: Running) -> T | None:
    for hierarchy, reader in readers.items():
        if hierarchy in files.levels:
            return reader(files, one)
    return None


def _counted(columns: Sequence[str]) -> dict[str, int]:
    return {name: int(columns[index]) for name, index in _COUNTERS.items()}
