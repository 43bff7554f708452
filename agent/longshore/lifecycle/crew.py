"""A bounded number of threads that take what is to be done from a line."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Crew(Generic[T]):
    """Threads come as they are needed: who has nothing to do has none.

    Args:
        name: of its threads.
        size: how many there are at most.
        work: never raises: nobody waits for it here.
    """

    def __init__(self, name: str, size: int, work: Callable[[T], None]) -> None:
        self._name = name
        self._size = size
        self._work = work
        self._line: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._guard = threading.Lock()
        self._ending = False

    def add(self, one: T) -> None:
        with self._guard:
            if self._ending:
                return
            self._line.put(one)
            if self._line.qsize() > self._idle and len(self._threads) < self._size:
                # A daemon: what hangs in a neighbour must not hold up the interpreter's end.
                thread = threading.Thread(
                    target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def stop(self, timeout: float) -> bool:
        """Drops who waits in line. Returns False if some still work after `timeout` seconds."""
        with self._guard:
            self._ending = True
            threads = list(self._threads)
        for _ in threads:
            self._line.put(None)
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        while True:
            with self._guard:
                self._idle += 1
            one = self._line.get()
            with self._guard:
                self._idle -= 1
            if one is None or self._ending:
                return
            self._work(one)
