"""Work that is not waited for beyond its time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What work returned, or raised."""

    value: Any = None
    error: Exception | None = None


def outcome_of(work: Callable[[], Any], seconds: float) -> Outcome:
    """The outcome, TimeoutError if there is none after `seconds`: it may still happen.

    Each work has a thread of its own. oslo.messaging makes its reply queue without a deadline,
    and a broker that goes away in just that moment would hold the caller until it is back. The
    thread may go on; nobody waits for it, not even the interpreter's end.
    """
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome = Outcome(value=work())
        except Exception as error:  # noqa: BLE001 - not lost: it is the outcome
            outcome = Outcome(error=error)
        outcomes.put(outcome)

    threading.Thread(target=run, name="longshore-call", daemon=True).start()
    try:
        return outcomes.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        return Outcome(error=TimeoutError(f"no answer within {seconds:g} s"))
