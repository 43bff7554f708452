"""`explain`: how a container came to be as it is, and what comes next."""

from __future__ import annotations

from collections.abc import Callable

from longshore.lifecycle.ports import Journal
from longshore.model.record import Record
from longshore.model.status import StoryStatus
from longshore.model.story import Outlook, coming, gone


class Stories:
    """Args:
    tick: Unix seconds at which everything is looked at again; None: not known.
    retention: seconds that the story of one that is gone is kept.
    """

    def __init__(
        self,
        journal: Journal,
        now: Callable[[], float],
        tick: Callable[[], float | None],
        retention: float,
    ) -> None:
        self._journal = journal
        self._now = now
        self._tick = tick
        self._retention = retention

    def explain(self, ref: str) -> StoryStatus:
        """Also of one that is gone, by its id or its name, for as long as that is kept.

        Raises:
            ContainerNotFound: none, or more than one.
        """
        told = self._journal.story(ref)
        outlook = Outlook(self._now(), self._tick(), self._retention)
        if isinstance(told.last, Record):
            container, then = told.last.status(), coming(told.last, outlook)
        else:
            container, then = told.last, gone(told.at, outlook)
        return StoryStatus(
            container=container, entries=told.entries, next=then.words, next_at=then.at
        )
