"""Callers that neither send nor take anything nor leave: their call ends, its place is free."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc

#: Seconds that a caller may take for the next piece of an image.
STALL = 60.0


class Watchdog:
    """Cancels the call when a block of `waiting` takes longer than `seconds`.

    One thread for the whole call, for as long as the `with` block lasts.
    """

    def __init__(self, context: grpc.ServicerContext, seconds: float) -> None:
        self._context = context
        self._seconds = seconds
        self._due = math.inf  # nothing is waited for
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="local-api image watchdog", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what depends on the caller."""
        self._due = time.monotonic() + self._seconds
        try:
            yield
        finally:
            self._due = math.inf

    def incoming(self, messages: Iterator[Any]) -> Iterator[Any]:
        """The messages, each of them waited for."""
        while True:
            with self.waiting():
                message = next(messages, None)
            if message is None:
                return
            yield message

    def _watch(self) -> None:
        # `due` is never set nearer than `seconds`, so that looking this often is in time for it.
        while not self._ended.wait(min(self._seconds, max(0.0, self._due - time.monotonic()))):
            if time.monotonic() >= self._due:
                self._context.cancel()  # type: ignore[no-untyped-call]  # as grpc declares it
                return
