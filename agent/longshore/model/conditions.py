"""What can be waited for of a container, and whether it has come, or cannot come any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.model.probing import check_for
from longshore.model.record import Record
from longshore.model.state import Desired, State
from longshore.model.status import Change, ContainerStatus

#: In these no process of it runs, and none is about to.
_NOT_RUNNING = frozenset({State.CREATED, State.STOPPED, State.ERROR, State.FAILED})
#: In these its process may yet end, or has ended and is about to be forgotten.
_ALIVE = frozenset(
    {State.CREATING, State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING, State.RESTARTING}
)
#: In these it will not run unless somebody mends what is wrong and asks again.
_BROKEN = frozenset({State.FAILED, State.ERROR})
_LEAVING = frozenset({State.DELETING})


@dataclass(frozen=True)
class Verdict:
    """`never`: why it cannot come any more."""

    come: bool = False
    never: str | None = None


_COME, _NOT_YET = Verdict(come=True), Verdict()


@dataclass(frozen=True)
class Sight:
    """What is known of a container that somebody waits for.

    Args:
        first: as it was when they began to wait.
        last: as it was last seen.
        changes: of it, the last ones since they began.
    """

    first: Record
    last: Record
    is_gone: bool = False
    changes: Sequence[Change] = ()

    @property
    def has_ended(self) -> bool:
        """Whether a process of it has since `first`."""
        if self.last.finished_at not in (None, self.first.finished_at):
            return True
        if self.is_gone and self.last.state in _ALIVE:
            return True
        return any(one.exit_code is not None and one.previous in _ALIVE for one in self.changes)

    def status(self) -> ContainerStatus:
        """As it is now. Of one that is gone: as it was, and how its process ended if it did."""
        status = self.last.status()
        if not self.is_gone:
            return status
        gone: dict[str, Any] = {"state": State.ABSENT, "desired": Desired.ABSENT, "pid": None}
        if self.changes:
            end = self.changes[-1]
            gone |= {"reason": end.reason, "name": end.name, "generation": end.generation}
        ended = [one for one in self.changes if one.exit_code is not None]
        if ended:
            gone |= {"exit_code": ended[-1].exit_code}
            gone |= {"finished_at": status.finished_at or ended[-1].at}
        return ContainerStatus.model_validate({**status.to_dict(), **gone})


def _not_running(sight: Sight) -> Verdict:
    return _COME if sight.is_gone or sight.last.state in _NOT_RUNNING else _NOT_YET


def _next_exit(sight: Sight) -> Verdict:
    if sight.has_ended:
        return _COME
    return Verdict(never="it is gone, and had not run") if sight.is_gone else _NOT_YET


def _removed(sight: Sight) -> Verdict:
    return _COME if sight.is_gone else _NOT_YET


def _running(sight: Sight) -> Verdict:
    if sight.is_gone or sight.last.state in _LEAVING:
        return Verdict(never="it is deleted")
    if sight.last.state in _BROKEN:
        return Verdict(never=f"it is {sight.last.state}: {sight.last.reason}")
    return _COME if sight.last.state is State.RUNNING else _NOT_YET


def _healthy(sight: Sight) -> Verdict:
    running = _running(sight)
    if sight.is_gone or running.never:
        return running
    if not _is_probed(sight.last):
        return Verdict(never="nothing is probed: neither its spec nor its image has a health check")
    health = sight.last.health
    return _COME if running.come and health and health.state == "healthy" else _NOT_YET


#: Word → whether it has come.
CONDITIONS: Mapping[str, Callable[[Sight], Verdict]] = {
    "not-running": _not_running,
    "next-exit": _next_exit,
    "removed": _removed,
    "running": _running,
    "healthy": _healthy,
}


def _is_probed(record: Record) -> bool:
    """Whether anything is, or will be once its image is here."""
    if record.spec.health is None and record.facts.image is None:
        return True
    return check_for(record) is not None
