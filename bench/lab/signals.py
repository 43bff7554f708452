"""SIGTERM as an exception, so that what was started is ended on that way out too."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Within, SIGTERM raises SystemExit(143) in the main thread, and every `with` unwinds.

    Only the main thread may enter. The previous handler comes back at the end.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
