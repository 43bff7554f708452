"""One limit over the levels of a container's cgroup, from the container's own down to the process.

crun puts the process of a systemd container one level lower than runc does, and the limit may be
on either level, so every reader takes all of them (`levels`, topmost first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cgroupspy.controllers import Controller
from cgroupspy.interfaces import BaseFileInterface
from cgroupspy.nodes import Node

from longshore.host.block_devices import Number
from longshore.model.limits import IoLimit, Limits

#: Path of a disk → its number; those that are not there (any more) are not in it.
Disks = Mapping[str, Number]
#: Controller → the limits that its reader reads.
_READ = {
    "memory": ("memory", "memory_swap", "memory_reservation", "oom_policy"),
    "cpu": ("cpus", "cpu_shares"),
    "cpuset": ("cpuset",),
    "pids": ("pids",),
    "blkio": ("io_weight",),
    "io": ("io_weight",),
}
_RATES = ("read_bps", "write_bps", "read_iops", "write_iops")


class MaxFile(BaseFileInterface):  # type: ignore[misc] # cgroupspy has no types
    """A number, or `max`, which reads as None."""

    def sanitize_get(self, value: str) -> int | None:
        return None if value == "max" else int(value)


class FieldsFile(BaseFileInterface):  # type: ignore[misc] # cgroupspy has no types
    """Lines `name number`."""

    def sanitize_get(self, value: str) -> dict[str, int]:
        pairs = (line.split() for line in value.splitlines())
        return {name: int(number) for name, number in pairs}


def is_asked(limits: Limits, controller: str) -> bool:
    """Whether any limit of this controller is asked for."""
    return any(getattr(limits, name) is not None for name in _READ[controller])


def contents(controller: type[Controller], levels: Sequence[Path], key: str) -> list[Any]:
    """The typed file `key` at each level; None where the file is missing or says unlimited."""
    return [controller(Node(str(level))).get_content(key) for level in levels]


def numbers_in(levels: Sequence[Path], file: str) -> list[int | None]:
    """As `contents`, for a file whose name depends on the node."""
    found: list[int | None] = []
    for level in levels:
        try:
            text = (level / file).read_text().strip()
        except FileNotFoundError:
            text = "max"
        found.append(None if text == "max" else int(text))
    return found


def io_limits(
    asked: Limits, disks: Disks, rate: Callable[[Number, str], int | None]
) -> tuple[IoLimit, ...]:
    """What `rate` says of each disk that is asked for; one without any limit is left out."""
    found = []
    for one in asked.io:
        number = disks.get(one.device)
        rates = {name: rate(number, name) for name in _RATES} if number else {}
        if any(rates.values()):
            found.append(IoLimit(device=one.device, **rates))
    return tuple(found)


def lowest(values: Iterable[Any]) -> Any:
    """What binds where a limit is set on several levels; None if on no level."""
    return min((value for value in values if value is not None), default=None)


def first_unlike(default: Any, values: Sequence[Any]) -> Any:
    """The first value that somebody set; the topmost one where all are the default.

    For a share, which has no 'unlimited': a level that was never touched shows the default.
    """
    known = [value for value in values if value not in (None, "")]
    return next((value for value in known if value != default), known[0] if known else None)


def cpu_list(cpus: Iterable[int]) -> str | None:
    """The kernel's list form, `0-3,5`; None for no CPU at all, which means 'not limited'."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ",".join(parts) or None
