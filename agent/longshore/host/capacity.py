"""What this node can promise: what it has, as far as cgroups let our containers have it.

A node may itself be a container or a slice of a larger machine. What is above our containers
binds them together: the root of each hierarchy as it is mounted here (in a cgroup namespace that
is the node's own cgroup, and has limits), and the parent that all of theirs are in, which an
operator may limit at any time (`systemctl set-property longshore.slice MemoryMax=90%`). So it is
read anew each time; a file that is not there limits nothing. Sources: the kernel's
admin-guide/cgroup-v2 and cgroup-v1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore.host import node
from longshore.model.capacity import PROMISED, Share, Stock
from longshore.model.limits import cpus_of
from longshore.model.node import Node


@dataclass(frozen=True)
class Above:
    """The cgroups that are above all of our containers.

    Args:
        root: where the hierarchies are mounted.
        parent: of our containers' cgroups, or the slice of that name.
    """

    root: Path
    parent: str

    def limits(self, name: str) -> list[float]:
        """What each of them leaves of a resource; empty: no limit."""
        return [
            found
            for file, read in _LIMITS.get(name, ())
            for folder in self._folders(file)
            if (found := _number(read, folder / file.rpartition("/")[2])) is not None
        ]

    def _folders(self, file: str) -> Sequence[Path]:
        """v1 has a hierarchy for each controller, whose name stands before the file's."""
        hierarchy = self.root / file.rpartition("/")[0]
        return (hierarchy, hierarchy / self.parent, hierarchy / f"{self.parent}.slice")


def stock(
    facts: Node, disk: Path, above: Above, shares: Callable[[], Mapping[str, Share]]
) -> Callable[[], Sequence[Stock]]:
    """What can be promised by limits, in the order of PROMISED, as it is when it is asked for.

    Args:
        disk: where containers' own layers are.
        shares: one for each resource, as they are now.
    """
    has: Mapping[str, Callable[[], float]] = {
        "cpus": lambda: facts.cpu_count,
        "memory": lambda: facts.memory,
        "pids": lambda: facts.pid_max,
        "disk": lambda: node.disk(disk).total,
    }

    def now() -> Sequence[Stock]:
        given = shares()
        return [
            Stock(
                name,
                unit,
                min([has[name](), *above.limits(name)]),
                given[name].reserved,
                given[name].ratio,
            )
            for name, unit in PROMISED.items()
        ]

    return now


def _number(read: Callable[[Path], float | None], file: Path) -> float | None:
    try:
        return read(file)
    except (OSError, ValueError):
        # Not there, or of a cgroup that is being removed: it limits nobody.
        return None


def _whole(file: Path) -> float | None:
    """`max` in v2; v1 has a number that no node reaches."""
    text = file.read_text().strip()
    return None if text == "max" else int(text)


def _quota(file: Path) -> float | None:
    """Cores, of quota and period."""
    quota, period = file.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(file: Path) -> float | None:
    quota = int(file.read_text())
    period = int(file.with_name("cpu.cfs_period_us").read_text())
    return None if quota < 0 else quota / period


def _cores(file: Path) -> float | None:
    """A list of CPUs."""
    text = file.read_text().strip()
    return len(cpus_of(text)) if text else None


#: Resource → the files that limit it: v2's, the same where v1 is beside it, v1's.
_LIMITS: Mapping[str, Sequence[tuple[str, Callable[[Path], float | None]]]] = {
    "cpus": (
        ("cpu.max", _quota),
        ("unified/cpu.max", _quota),
        ("cpu/cpu.cfs_quota_us", _quota_v1),
        ("cpuset.cpus.effective", _cores),
        ("unified/cpuset.cpus.effective", _cores),
        ("cpuset/cpuset.effective_cpus", _cores),
    ),
    "memory": (
        ("memory.max", _whole),
        ("unified/memory.max", _whole),
        ("memory/memory.limit_in_bytes", _whole),
    ),
    "pids": (
        ("pids.max", _whole),
        ("unified/pids.max", _whole),
        ("pids/pids.max", _whole),
    ),
}
