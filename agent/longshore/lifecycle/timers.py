"""When containers are started again by themselves: one clockwork for all of them.

The record says when; this is only the bell. A timer that got lost, with the agent say, is set again
by whoever looks at the record next: the sweep at the agent's start, or the tick.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable

from longshore.lifecycle.clock import Clock

#: Seconds that the thread sleeps when nothing is due; whoever sets a timer wakes it.
_IDLE = 3600.0


class Timers:
    """Args:
    ring: called, from the timers' thread, with the id of a container whose time has come.
    rate: how many it rings for in a second: all that ended together must not start together.
    most: seconds; nothing is set for later, whatever a clock that was set back says.
    """

    def __init__(self, clock: Clock, ring: Callable[[str], None], rate: float, most: float) -> None:
        self._clock = clock
        self._ring = ring
        self._gap = 1 / rate
        self._most = most
        self._heap: list[tuple[float, str, float]] = []
        self._at: dict[str, float] = {}
        #: Id → what `at` it was rung for.
        self._rung: dict[str, float] = {}
        self._next = float("-inf")
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="timers")

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        self._ending = True
        self._wake.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def is_due(self, id: str, at: float) -> bool:
        """Whether what is to be at that time (Unix seconds) may be now; else a timer is set."""
        with self._lock:
            if self._rung.get(id) == at:
                return True
            self._rung.pop(id, None)
            if self._at.get(id) != at:
                wait = min(max(0.0, at - self._clock.now()), self._most)
                self._at[id] = at
                heapq.heappush(self._heap, (self._clock.timer() + wait, id, at))
                self._wake.set()
            return False

    def forget(self, id: str) -> None:
        """It is not waited for any more. Its place in the heap goes when its time comes."""
        with self._lock:
            self._at.pop(id, None)
            self._rung.pop(id, None)

    def run(self) -> float:
        """Rings for what is due now, as many as the rate allows; returns the seconds until it has
        to be called again."""
        with self._lock:
            now = self._clock.timer()
            while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][2]:
                heapq.heappop(self._heap)
            if not self._heap:
                return _IDLE
            wait = max(self._heap[0][0], self._next) - now
            if wait > 0:
                return wait
            _, id, _ = heapq.heappop(self._heap)
            self._rung[id] = self._at.pop(id)
            self._next = now + self._gap
        self._ring(id)
        return 0.0

    def __len__(self) -> int:
        """How many containers it knows of."""
        with self._lock:
            return len(self._at) + len(self._rung)

    def _loop(self) -> None:
        while not self._ending:
            self._wake.clear()
            wait = self.run()
            if wait > 0 and not self._ending:
                self._wake.wait(wait)
