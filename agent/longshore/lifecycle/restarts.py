"""Who is started again by itself, and when: the policy's decision, and its timer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import LongshoreError
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.timers import Timers
from longshore.model.ending import following_end
from longshore.model.record import Record
from longshore.model.restarts import Backoff
from longshore.model.state import State


@dataclass(frozen=True)
class Restarts:
    """Args:
    chance: a number from 0 to 1, another one each time.
    """

    timers: Timers
    backoff: Backoff
    clock: Clock
    chance: Callable[[], float]

    def is_due(self, record: Record) -> bool:
        """Whether one that is to be started again may be started now; else its timer is set."""
        if record.state is not State.RESTARTING or record.restart_at is None:
            return True
        return self.timers.is_due(record.id, record.restart_at)

    def forget(self, id: str) -> None:
        self.timers.forget(id)

    def following_end(
        self, record: Record, error: LongshoreError | None, *, awaited: bool
    ) -> Record:
        """As `model.ending.following_end`; `error`: what kept it from starting."""
        return following_end(
            record,
            passing=error is not None and error.retry,
            awaited=awaited,
            now=self.clock.now(),
            backoff=self.backoff,
            chance=self.chance,
        )
