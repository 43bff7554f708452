"""How long a transfer waits for the other end, and who may call it off meanwhile.

Waiting is cut into slices. Between two of them the transfer's `check` is asked and its deadline
looked at, so that a pull that nobody wants any more ends at once, also while a registry is silent.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from longshore.errors import ImageSourceUnavailable
from longshore.host.registry.refusal import Task

_SLICE = 0.5
_BACKOFF_FIRST = 0.5
_BACKOFF_MAX = 15.0
#: A registry that asks for more than this asks for too much of a pull that somebody waits for.
RETRY_AFTER_MAX = 60.0


@dataclass(frozen=True)
class Time:
    """Time and chance, as arguments: tests never sleep."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True)
class Patience:
    """What one transfer grants.

    Args:
        task: what its errors name.
        check: raises when the transfer is not wanted any more.
        stall: seconds that the other end may take to send anything, or to take what we send.
        until: when it must be done, by `time.now`.
        time: clock, sleep and chance.
    """

    task: Task
    check: Callable[[], None]
    stall: float
    until: float
    time: Time = field(default_factory=Time)

    @property
    def slice(self) -> float:
        """Seconds after which to look up from waiting."""
        return min(_SLICE, self.stall)

    def go_on(self) -> None:
        """Raises what `check` raises, and ImageSourceUnavailable at the deadline."""
        self.check()
        if self.time.now() >= self.until:
            raise self.task.error(ImageSourceUnavailable, "it", "took longer than it may")

    def silent(self, seconds: float) -> None:
        """Called for each slice in which nothing came, with the length of the silence so far.

        Raises:
            TimeoutError: it has been silent for too long.
        """
        self.go_on()
        if seconds >= self.stall:
            raise TimeoutError(f"nothing came for {self.stall:g} s")

    def pause(self, failures: int, asked: float = 0.0) -> None:
        """Waits before another try: longer with each failure, by chance so that many clients do
        not come back together, and as long as the registry asked for, within bounds."""
        backoff = min(_BACKOFF_MAX, _BACKOFF_FIRST * 2.0 ** max(0, failures - 1))
        backoff *= 0.5 + self.time.random() / 2
        left = max(backoff, min(asked, RETRY_AFTER_MAX))
        self.go_on()
        while left > 0:
            step = min(_SLICE, left)
            self.time.sleep(step)
            left -= step
            self.go_on()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Sockets that this thread uses meanwhile wait by it."""
        before = current()
        _HERE.patience = self
        try:
            yield
        finally:
            _HERE.patience = before


_HERE = threading.local()


def current() -> Patience | None:
    patience: Patience | None = getattr(_HERE, "patience", None)
    return patience
