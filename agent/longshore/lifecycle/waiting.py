"""`wait`: told by changes, decided from the record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import (
    Conflict,
    ContainerNotFound,
    DeadlineExceeded,
    Interrupted,
    InvalidRequest,
)
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.ports import Journal
from longshore.model.conditions import CONDITIONS, Sight
from longshore.model.status import Change, ContainerStatus

#: Seconds between two looks at whether somebody still waits. What was told of before it could be
#: read, if there is such a thing, is found by them too.
_SLICE = 0.5
#: Changes of it that are kept: how it ended is among the last ones.
_KEPT = 16


@dataclass(frozen=True)
class Waiting:
    """`timer`: monotonic seconds."""

    journal: Journal
    changes: Changes
    timer: Callable[[], float]

    def wait(
        self, ref: str, condition: str, timeout: float, still: Callable[[], bool]
    ) -> ContainerStatus:
        """Its status once the condition has come about.

        Args:
            still: whether anybody waits; asked now and then.

        Raises:
            Conflict: it cannot come about any more.
            DeadlineExceeded: not within `timeout` seconds.
            Interrupted: nobody waits any more.
        """
        judge = CONDITIONS.get(condition)
        if judge is None:
            raise InvalidRequest(
                f"cannot wait for {condition}: there is no such condition",
                field="condition",
                hint=f"conditions: {', '.join(CONDITIONS)}",
            )
        seen, until = self.changes.last, self.timer() + timeout
        first = self.journal.get(self.journal.find(ref))
        if first is None:
            raise ContainerNotFound(f"cannot find container {ref}: there is none", object=ref)
        last, own = first, list[Change]()
        while True:
            # Before the look: what has come in the last moment counts.
            late = self.timer() >= until
            now = self.journal.get(first.id)
            last = now or last
            sight = Sight(first, last, is_gone=now is None, changes=own)
            verdict = judge(sight)
            if verdict.come:
                return sight.status()
            about = f"container {last.name} to be {condition}"
            if verdict.never is not None:
                raise Conflict(
                    f"cannot wait for {about}: {verdict.never}",
                    object=last.name,
                    details={"condition": condition},
                )
            if late:
                raise DeadlineExceeded(
                    f"cannot wait any longer for {about}: it is {last.state} after {timeout:g} s",
                    object=last.name,
                    details={"condition": condition, "state": str(last.state)},
                )
            if not still():
                raise Interrupted(f"cannot wait for {about}: nobody waits any more")
            news = self._news(first.id, seen, until, still)
            seen = news[-1].seq if news else seen
            own = [*own, *(one for one in news if one.id == first.id)][-_KEPT:]

    def _news(self, id: str, seen: int, until: float, still: Callable[[], bool]) -> list[Change]:
        """All changes after `seen` up to one of this container's; or those of a while."""
        news: list[Change] = []
        end = min(until, self.timer() + _SLICE)
        while (left := end - self.timer()) > 0 and still():
            more = self.changes.after(seen, left)
            news += more
            seen = more[-1].seq if more else seen
            if any(one.id == id for one in more):
                break
        return news
