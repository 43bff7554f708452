"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def delays(
    first: float, most: float, chance: Callable[[], float] = random.random
) -> Iterator[float]:
    """Seconds, doubling from `first` to `most`, each cut by up to a half at random.

    Without chance, a thousand agents that lost one broker would come back in step.
    """
    step = first
    while True:
        yield step * (0.5 + chance() / 2)
        step = min(step * 2, most)
