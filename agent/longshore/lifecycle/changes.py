"""What changed, for those who watch: the newest changes in memory, numbered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import Change

#: How many changes a watcher may lag behind; what is older is in the containers' stories.
_KEPT = 4096
#: In these its last process has ended, if it had one.
_ENDED = frozenset({State.STOPPED, State.DELETING, State.ABSENT})


class Changes:
    """Thread-safe; a slow watcher loses the oldest changes and holds up nobody.

    Numbers go on above the milliseconds of the agent's start, and so above those of its lives
    before: who comes with a number of one of these is told what he has missed.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._changes: deque[Change] = deque(maxlen=_KEPT)
        self._start = self._last = int(now() * 1000)
        self._news = threading.Condition()
        self._listeners: list[Callable[[Record], None]] = []

    def tell(self, listener: Callable[[Record], None]) -> None:
        """Calls it with the record of each change to come, in the thread that made it: it is to be
        quick, and raises nothing."""
        self._listeners.append(listener)

    def add(
        self, record: Record, previous: State, *, kind: str = "state", reason: str | None = None
    ) -> None:
        """`reason`: None: the record's."""
        with self._news:
            self._last += 1
            self._changes.append(
                Change(
                    seq=self._last,
                    at=self._now(),
                    id=record.id,
                    name=record.name,
                    previous=previous,
                    state=record.state,
                    generation=record.generation,
                    reason=record.reason if reason is None else reason,
                    exit_code=record.exit_code if record.state in _ENDED else None,
                    kind=kind,
                )
            )
            self._news.notify_all()
        for listener in self._listeners:
            listener(record)

    @property
    def last(self) -> int:
        with self._news:
            return self._last

    def after(self, seq: int, timeout: float) -> Sequence[Change]:
        """As `Service.changes`."""
        with self._news:
            seen = seq or self._start
            self._news.wait_for(lambda: self._last != seen, timeout)
            # A number that was never given is one of another life: a clock went back since.
            known = self._start <= seen <= self._last
            # From the newest back: a watcher that keeps up looks at one or two of them.
            news: list[Change] = []
            for change in reversed(self._changes):
                if known and change.seq <= seen:
                    break
                news.append(change)
            kept = self._last - len(self._changes)
            if not known:
                news.append(self._gap(kept, f"the agent was started again since number {seq}"))
            elif seen < kept:
                news.append(self._gap(kept, f"{kept - seen} changes are not kept any more"))
        return news[::-1]

    def _gap(self, seq: int, reason: str) -> Change:
        at = self._changes[0].at if self._changes else self._now()
        return Change(
            seq=seq,
            at=at,
            id="",
            name="",
            previous="",
            state="",
            generation=0,
            reason=reason,
            kind="gap",
        )
