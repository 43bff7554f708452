"""Work in line before a bounded number of threads, which are there only while there is some."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from longshore.errors import HostBusy

Work = Callable[[], None]


class Line:
    """Args:
    width: how much is done at once.
    share: how much of that for one lane; None: all.
    """

    def __init__(self, name: str, width: int, share: int | None = None) -> None:
        self._name = name
        self._width = width
        self._share = share or width
        self._guard = threading.Lock()
        #: By lane; the lane that waits for its turn longest is first, and none is empty.
        self._waiting: OrderedDict[str, deque[Work]] = OrderedDict()
        #: How much is at work, by lane.
        self._busy: Counter[str] = Counter()
        #: All that may still be there, also those that have done their last and are about to end.
        self._threads: list[threading.Thread] = []
        self._ending = False

    def put(self, work: Work, lane: str = "") -> None:
        """`work` never raises. After `stop` nothing is begun any more.

        Raises:
            HostBusy: no thread can be started, and none is there that could do it later.
        """
        with self._guard:
            if self._ending:
                return
            if self._busy.total() >= self._width or self._busy[lane] >= self._share:
                self._wait(work, lane)
                return
            thread = threading.Thread(target=self._run, args=(work, lane), name=self._name)
            try:
                # Started inside the guard: one that cannot be started is not counted.
                thread.start()
            except (RuntimeError, OSError) as error:
                if not self._busy:
                    raise HostBusy(
                        f"cannot begin {self._name}: no thread can be started: {error}",
                        hint="the node, or the agent's unit, has reached its limit of tasks",
                    ) from error
                self._wait(work, lane)
                return
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            self._busy[lane] += 1

    def stop(self, timeout: float) -> bool:
        """Drops what waits, and joins the threads. Returns False if some are still there after
        `timeout` seconds."""
        with self._guard:
            self._ending = True
            self._waiting.clear()
            threads = self._threads
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _wait(self, work: Work, lane: str) -> None:
        self._waiting.setdefault(lane, deque()).append(work)

    def _run(self, work: Work, lane: str) -> None:
        while True:
            work()
            with self._guard:
                self._busy[lane] -= 1
                self._busy += Counter()  # without lanes in which nothing is done any more
                following = self._next()
                if following is None:
                    return
                work, lane = following
                self._busy[lane] += 1

    def _next(self) -> tuple[Work, str] | None:
        """The first of the lane whose turn it is, and that lane."""
        lane = next((one for one in self._waiting if self._busy[one] < self._share), None)
        if lane is None:
            return None
        works = self._waiting.pop(lane)
        work = works.popleft()
        if works:
            self._waiting[lane] = works
        return work, lane
