"""Who looks at containers' logs, and when: one thread for all, soon after something was written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports.logs import LogKeeper, LogWatch
from longshore.model.names import Names

LOG = logging.getLogger(__name__)

#: Seconds between two looks at one that is written without end; that much may be written above its
#: size, and the times that are told are as exact.
_PAUSE = 0.1
#: Looking may take one part in so many of a core, whatever is written; but no look waits longer
#: than this many seconds for it.
_SHARE, _MOST_PAUSE = 20, 1.0
#: Seconds between two looks at those that could not be watched.
_UNWATCHED = 1.0
_IDLE = 60.0


class LogKeeping:
    """Keeps what went wrong with each, until a look at it goes well.

    Args:
        timer: seconds of a core that its thread has used. Not those that have passed: where others
            take the cores, it would look less the more it is needed.
    """

    def __init__(
        self, watch: LogWatch, keeper: LogKeeper, timer: Callable[[], float], pause: float = _PAUSE
    ) -> None:
        self._watch = watch
        self._keeper = keeper
        self._timer = timer
        self._pause = pause
        self._thread = threading.Thread(target=self._loop, name="logs")
        self._leaving = threading.Event()
        self._wrong: dict[str, str] = {}
        self._lost = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        self._leaving.set()
        self._watch.interrupt()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def findings(self) -> Sequence[str]:
        """What is wrong, one sentence each."""
        found = sorted(set(self._wrong.values()))
        if self._lost:
            found.append(self._lost)
        if self._watch.unwatched():
            found.append(
                "some logs are looked at every second only, and may grow above their size "
                "meanwhile (hint: raise fs.inotify.max_user_watches or max_user_instances)"
            )
        return found

    def look(self) -> float:
        """One round: waits for news, and looks at what they are about. Returns how many seconds the
        looking took."""
        wait = _UNWATCHED if self._wrong or self._watch.unwatched() else _IDLE
        grown = self._watch.grown(wait)
        began = self._timer()
        for id in grown | self._wrong.keys():
            error = attempt("look at a log", self._keeper.look, Names(id))
            if error is None:
                self._wrong.pop(id, None)
            else:
                self._note(id, str(error))
        return self._timer() - began

    def _note(self, id: str, why: str) -> None:
        # Once: a full disk would fill the agent's own log.
        if self._wrong.get(id) != why:
            LOG.warning("%s", why)
            self._wrong[id] = why

    def _round(self) -> float:
        """How long to wait until the next."""
        spent = [_UNWATCHED]
        error = attempt("watch the logs", lambda: spent.append(self.look()))
        self._lost = str(error) if error else ""
        return min(_MOST_PAUSE, max(self._pause, _SHARE * spent[-1]))

    def _loop(self) -> None:
        try:
            while not self._leaving.is_set():
                self._leaving.wait(self._round())
        finally:
            attempt("leave the logs", self._keeper.close)
            attempt("leave the logs", self._watch.close)
