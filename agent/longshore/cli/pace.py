"""How fast bytes come, and when the last of them will. Pure: the present time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: Seconds over which the speed is taken: long enough to be steady, short enough to be true.
_WINDOW = 5.0
#: Below that a speed would be chance.
_LEAST = 0.5


@dataclass
class Pace:
    """Made of counts of bytes as they become known, at seconds of one clock."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, now: float, done: int) -> None:
        """So many are here. Fewer than before: something began again, and so does the measure."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 1 and self._seen[1][0] <= now - _WINDOW:
            self._seen.popleft()

    def speed(self, now: float) -> float | None:
        """Bytes a second; None as long as nothing can be said. 0.0: nothing comes."""
        base = next((one for one in reversed(self._seen) if one[0] <= now - _WINDOW), None)
        if base is None and self._seen:
            base = self._seen[0]
        if base is None or now - base[0] < _LEAST:
            return None
        return (self._seen[-1][1] - base[1]) / (now - base[0])

    def left(self, now: float, total: int) -> float | None:
        """Seconds until `total` are here; None: not to be said."""
        speed = self.speed(now)
        return (total - self._seen[-1][1]) / speed if speed else None
