"""Time and chance, as arguments: tests have neither."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Chance:
    """`now` in seconds from anywhere; `random` from 0 to 1."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def pause(self, seconds: float) -> None:
        """Sleeps about as long, so that many do not come back at one moment."""
        self.sleep(seconds * (0.5 + self.random()))
