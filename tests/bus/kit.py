"""What the bus tests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar
from uuid import uuid4

from longshore.bus.server import BusServer

Agents = Callable[..., BusServer]
T = TypeVar("T")


def spec(**more: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "name": "web", "image": "web:1", **more}


def until(done: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits for a state that has no event of its own; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


def background(work: Callable[[], T]) -> Future[T]:
    """The work's outcome, from a thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is the outcome
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
