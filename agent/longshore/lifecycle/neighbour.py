"""Whether a neighbour answers, remembered so that status never has to ask it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from longshore.model.status import NeighbourStatus

LOG = logging.getLogger(__name__)


class Neighbour:
    """Thread-safe. Whoever notices tells it: a stream that opened, a stream that broke."""

    def __init__(self, name: str, version: str, now: Callable[[], float]) -> None:
        self._now = now
        self._guard = threading.Lock()
        self._status = NeighbourStatus(name=name, state="unknown", version=version, since=now())

    def up(self) -> None:
        self._note("up", "")

    def down(self, why: str) -> None:
        self._note("down", why)

    def status(self) -> NeighbourStatus:
        return self._status

    def _note(self, state: str, detail: str) -> None:
        with self._guard:
            before = self._status
            if (before.state, before.detail) == (state, detail):
                return
            since = before.since if before.state == state else self._now()
            self._status = before.model_copy(
                update={"state": state, "detail": detail, "since": since}
            )
        if before.state != state:
            level = logging.WARNING if state == "down" else logging.INFO
            LOG.log(level, "%s is %s%s", before.name, state, f": {detail}" if detail else "")
