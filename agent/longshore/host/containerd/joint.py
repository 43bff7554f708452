"""What the threads of the transfers share: one fate per transfer, one turn per blob."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from longshore.errors import Interrupted, PullCancelled
from longshore.model.transfer import Watch

#: Seconds between two looks at whether it is still wanted.
_LOOK = 0.25


class Unwatched:
    """A `Watch` for what nobody looks at. `check`: what ends it all the same."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self.check = check

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None: ...

    def fetched(self, blob: str, done: int) -> None: ...

    def unpacking(self, blob: str) -> None: ...

    def finished(self, blob: str) -> None: ...


class Joint:
    """A `Watch` in front of the caller's: once one thread has failed, `check` ends the others."""

    def __init__(self, watch: Watch) -> None:
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._watch = watch
        self.planned = watch.planned
        self.fetched = watch.fetched
        self.unpacking = watch.unpacking
        self.finished = watch.finished

    @contextmanager
    def part(self) -> Iterator[None]:
        """Around what one thread does. Raises the failure that was first, whoever had it."""
        try:
            yield
        except BaseException as error:
            with self._lock:
                first = self._failure = self._failure or error
            if first is not error:
                raise first from None
            raise

    def check(self) -> None:
        failure = self._failure
        if isinstance(failure, Interrupted):
            raise Interrupted(failure.message)
        if failure is not None:
            raise PullCancelled("cannot go on with the image: another part of it failed")
        self._watch.check()


class Turns:
    """One thread at a time for each name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, name: str, check: Callable[[], None]) -> Iterator[None]:
        """Waits until nobody else has the name; `check` is asked meanwhile."""
        with self._lock:
            turn, count = self._taken.get(name, (threading.Lock(), 0))
            self._taken[name] = (turn, count + 1)
        try:
            while not turn.acquire(timeout=_LOOK):
                check()
            try:
                yield
            finally:
                turn.release()
        finally:
            with self._lock:
                _, count = self._taken[name]
                if count == 1:
                    del self._taken[name]
                else:
                    self._taken[name] = (turn, count - 1)
