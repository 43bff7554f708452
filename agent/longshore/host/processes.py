"""The processes of a container, as the node sees them and in the container's own numbering."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from longshore.errors import HostFailed
from longshore.host.cgroup_tree import VANISHED
from longshore.model.names import Names
from longshore.model.status import ProcessStatus

_TICKS: int = os.sysconf("SC_CLK_TCK")
_PAGE: int = os.sysconf("SC_PAGE_SIZE")
#: Characters of a command that are told.
_COMMAND_MAX = 1024
#: In /proc/PID/stat, counted from what follows the name.
_STATE, _PARENT, _USER, _SYSTEM, _START, _RSS = 0, 1, 11, 12, 19, 21


@dataclass(frozen=True)
class _Seen:
    """What /proc says of one process. `numbers`: its pids, from the node's namespace inwards."""

    pid: int
    numbers: Sequence[int]
    user: str
    name: str
    stat: Sequence[str]
    command: str


class Processes:
    """Satisfies lifecycle.ports.stats.Processes.

    Args:
        members: pids in the cgroups of a container.
        proc: where proc is mounted.
    """

    def __init__(self, members: Callable[[Names], set[int]], proc: Path = Path("/proc")) -> None:
        self._members = members
        self._proc = proc

    def processes(self, names: Names, pid: int) -> Sequence[ProcessStatus]:
        seen = {}
        for one in self._members(names):
            try:
                seen[one] = self._seen(one)
            except OSError as error:
                if error.errno not in VANISHED:
                    raise HostFailed(
                        f"cannot read process {one} of {names.id}: {error.strerror}",
                        object=names.id,
                    ) from error
        # The container's numbering is its first process's; what it makes may have one of its own.
        first = seen.get(pid)
        depth = len(first.numbers) - 1 if first else None
        inside = {number: _inside(one, depth) for number, one in seen.items()}
        booted = psutil.boot_time()
        return sorted(
            (_status(one, inside, booted) for one in seen.values()), key=lambda one: one.pid
        )

    def _seen(self, pid: int) -> _Seen:
        folder = self._proc / str(pid)
        status = {}
        for line in (folder / "status").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            status[key] = value.strip()
        # The name in front may hold anything, also `) R 1`.
        stat = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        return _Seen(
            pid,
            [int(one) for one in status.get("NSpid", str(pid)).split()],
            status["Uid"].split()[1],
            status["Name"],
            stat,
            command.decode(errors="replace")[:_COMMAND_MAX],
        )


def _inside(one: _Seen, depth: int | None) -> int:
    if depth is None or depth >= len(one.numbers):
        return one.numbers[-1]
    return one.numbers[depth]


def _status(one: _Seen, inside: dict[int, int], booted: float) -> ProcessStatus:
    stat = one.stat
    return ProcessStatus(
        pid=inside[one.pid],
        # The first one's parent is outside, which it sees as 0.
        parent=inside.get(int(stat[_PARENT]), 0),
        host_pid=one.pid,
        user=one.user,
        state=stat[_STATE],
        started_at=booted + int(stat[_START]) / _TICKS,
        cpu_seconds=(int(stat[_USER]) + int(stat[_SYSTEM])) / _TICKS,
        rss=int(stat[_RSS]) * _PAGE,
        # Kernel threads and zombies have none; as ps shows them.
        command=one.command or f"[{one.name}]",
    )
