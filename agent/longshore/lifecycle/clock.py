"""Time is an argument: what a test sets, nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`now`: Unix seconds. `timer`: monotonic seconds."""

    now: Callable[[], float]
    timer: Callable[[], float]
