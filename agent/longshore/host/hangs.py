"""Calls that may never return: a dead server behind a file system holds the caller in the kernel.

No timeout reaches such a call, so it is made in a daemon thread of its own, which is left behind
at the deadline. Nothing but its value passes between the threads, and a value that comes too
late is thrown away: a late call changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from longshore.errors import DeadlineExceeded, HostBusy, LongshoreError

T = TypeVar("T")
_HINT = "the file system there does not answer"
#: Seconds between two looks whether the value is still wanted.
_LOOK = 0.25
#: So many calls for one object may go on though nobody wants their values any more.
_CALLED_OFF = 16
#: So many calls for all objects together: one dead file system has many paths.
LEFT_MAX = 64


@dataclass(eq=False)
class _Call(Generic[T]):
    object: str
    values: list[T] = field(default_factory=list)
    error: OSError | LongshoreError | None = None
    called_off: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


class Hangs:
    """Runs calls that may hang, each within `seconds`.

    While a call for one `object` hangs, the next one for it fails at once, and so does any call
    while LEFT_MAX hang, so that retries cannot fill the process with threads.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._left: set[_Call[Any]] = set()

    def run(
        self,
        what: str,
        object: str,
        work: Callable[[], T],
        discard: Callable[[T], None] = lambda _: None,
        check: Callable[[], None] | None = None,
    ) -> T:
        """The value of `work`, or its OSError or LongshoreError.

        Args:
            what: completes 'cannot …'.
            object: what may hang, as errors name it.
            work: must have no effect besides its value that matters when it comes late.
            discard: gives back a value that came too late.
            check: asked now and then; raises when the value is not wanted any more.

        Raises:
            DeadlineExceeded: it hangs now.
            HostBusy: it has hung since an earlier call, or since many that were called off; or too
                many hang.
        """
        new: _Call[T] = _Call(object)
        with self._lock:
            if len(self._left) >= LEFT_MAX:
                raise HostBusy(
                    f"cannot {what}: {LEFT_MAX} earlier calls still hang, one at "
                    f"{next(iter(self._left)).object}",
                    object=object,
                    hint=_HINT,
                )
            left = [call for call in self._left if call.object == object]
            if len(left) >= _CALLED_OFF or not all(call.called_off for call in left):
                raise HostBusy(
                    f"cannot {what}: an earlier attempt still hangs", object=object, hint=_HINT
                )
        threading.Thread(
            target=self._work, args=(new, work, discard), name=f"may hang: {what}", daemon=True
        ).start()
        try:
            self._wait(new, check)
        except LongshoreError:
            if not self._leave(new, called_off=True) and new.values:
                discard(new.values[0])
            raise
        if self._leave(new):
            raise DeadlineExceeded(
                f"cannot {what}: no answer in {self._seconds:g} s", object=object, hint=_HINT
            )
        if new.error is not None:
            raise new.error
        return new.values[0]

    def _wait(self, call: _Call[T], check: Callable[[], None] | None) -> None:
        if check is None:
            call.ended.wait(self._seconds)
            return
        until = time.monotonic() + self._seconds
        while (left := until - time.monotonic()) > 0 and not call.ended.wait(min(_LOOK, left)):
            check()

    def _leave(self, call: _Call[T], *, called_off: bool = False) -> bool:
        """Whether it has not ended; then its value is thrown away when it comes."""
        with self._lock:
            if call.ended.is_set():
                return False
            call.called_off = called_off
            self._left.add(call)
        return True

    def _work(self, call: _Call[T], work: Callable[[], T], discard: Callable[[T], None]) -> None:
        try:
            call.values.append(work())
        except (OSError, LongshoreError) as error:
            call.error = error
        finally:
            with self._lock:
                call.ended.set()
                late = call in self._left
                self._left.discard(call)
        if late and call.values:
            discard(call.values[0])
