"""What changed, for those who watch: the newest changes in memory, numbered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import Change

#: How many changes a watcher may lag behind; what is older is in the journal's records.
_KEPT = 4096
#: In these its last process has ended, if it had one.
_ENDED = frozenset({State.STOPPED, State.DELETING, State.ABSENT})


class Changes:
    """Thread-safe; a slow watcher loses the oldest changes and holds up nobody."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._changes: deque[Change] = deque(maxlen=_KEPT)
        self._last = 0
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
        with self._news:
            self._news.wait_for(lambda: self._last > seq, timeout)
            # From the newest back: a watcher that keeps up looks at one or two of them.
            news: list[Change] = []
            for change in reversed(self._changes):
                if change.seq <= seq:
                    break
                news.append(change)
        return news[::-1]
