"""A wait for the network that ends when nobody waits for its outcome any more.

requests cannot be told to stop, so another thread looks, and cuts the connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from requests import Response

from longshore.errors import ImageSourceUnavailable, LongshoreError
from longshore.model.transfer import Watch

#: Seconds between two looks.
LOOK = 0.5


class Attention:
    """Where who looks and who waits meet."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._error: LongshoreError | None = None
        self._response: Response | None = None

    def check(self) -> None:
        """Raises what made it end: call it between pieces, and when the connection broke."""
        if self._error is not None:
            raise self._error

    @contextmanager
    def cutting(self, response: Response) -> Iterator[Response]:
        """What is read from the response in the body breaks off once it is to end."""
        with self._guard:
            self.check()
            self._response = response
        try:
            yield response
        finally:
            with self._guard:
                self._response = None

    def end(self, error: LongshoreError) -> None:
        with self._guard:
            self._error = error
            if self._response is not None:
                # It has been read to its end, then: nothing waits.
                with suppress(OSError, RuntimeError, ValueError):
                    self._response.raw.shutdown()


@contextmanager
def attended(
    what: str, watch: Watch, seconds: float, now: Callable[[], float] = time.monotonic
) -> Iterator[Attention]:
    """Looks at `watch` while the body runs, and at the time: `seconds` are all that it has.

    Args:
        what: completes 'cannot …'.
    """
    attention, done, until = Attention(), threading.Event(), now() + seconds

    def look() -> None:
        while not done.wait(LOOK):
            try:
                watch.check()
                if now() > until:
                    raise ImageSourceUnavailable(
                        f"cannot {what}: it takes longer than {seconds:g} s",
                        hint="see [images] pull_timeout",
                    )
            except LongshoreError as error:
                attention.end(error)
                return

    thread = threading.Thread(target=look, name=f"attends: {what}")
    watch.check()
    thread.start()
    try:
        yield attention
    finally:
        done.set()
        thread.join()
