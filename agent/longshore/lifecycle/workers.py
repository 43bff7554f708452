"""A bounded number of threads that settle containers in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable


class Workers:
    """Each container waits in line once, however often it is asked for.

    Args:
        count: threads; `name`: what theirs begin with.
    """

    def __init__(self, count: int, name: str = "converge") -> None:
        self._line: queue.Queue[str | None] = queue.Queue()
        self._in_line: set[str] = set()
        self._guard = threading.Lock()
        self._leaving = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}") for number in range(count)
        ]

    def start(self, work: Callable[[str], None]) -> None:
        """`work` settles one container by its id, and never raises: nobody waits for it here."""
        self._work = work
        for thread in self._threads:
            thread.start()

    def soon(self, id: str) -> None:
        with self._guard:
            if self._leaving or id in self._in_line:
                return
            self._in_line.add(id)
            self._line.put(id)

    def leave(self) -> None:
        """Begins nothing more: drops who waits in line, and who comes. The next start settles
        them."""
        with self._guard:
            self._leaving = True
        try:
            while True:
                self._line.get_nowait()
        except queue.Empty:
            pass
        for _ in self._threads:
            self._line.put(None)

    def stop(self, timeout: float) -> bool:
        """Leaves, and lets those at work finish.

        Returns False if some still work after `timeout` seconds.
        """
        self.leave()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (id := self._line.get()) is not None:
            with self._guard:
                self._in_line.discard(id)
            self._work(id)
