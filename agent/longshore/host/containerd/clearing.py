"""Commands that nobody waits for any more: of an agent that died, or that could not be removed.

Each has a folder, which is removed last; so what is left to do is what folders are left.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from signal import SIGKILL

from longshore.errors import LongshoreError
from longshore.host.containerd import streams
from longshore.host.containerd.client import Client
from longshore.host.containerd.exec_calls import ExecCalls
from longshore.model.layout import Layout
from longshore.model.names import Names, is_container_id

LOG = logging.getLogger(__name__)
#: Seconds between two tries.
_AGAIN = 5.0
#: Seconds that a killed one gets to end, and the shim to hand on what it wrote.
_END = 5.0


class Clearing:
    """A thread of its own from `start` to `stop`; the first to be cleared is what an earlier agent
    left."""

    def __init__(self, client: Client, layout: Layout) -> None:
        self.layout = layout
        self._client = client
        self._left = _found(layout)
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="exec-clearing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """What is not cleared is left to the next start. Whether it has ended."""
        if not self._thread.ident:
            return True
        self._stopping = True
        self._news.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @contextlib.contextmanager
    def later_if_it_fails(self, names: Names, id: str) -> Iterator[None]:
        """Around the removal of a command."""
        try:
            yield
        except LongshoreError as error:
            LOG.info("a command in %s is removed later: %s", names.id, error)
            with self._lock:
                self._left.add((names.id, id))
            self._news.set()

    def _run(self) -> None:
        while not self._stopping:
            with self._lock:
                left = sorted(self._left)
            for one in left:
                if self._stopping:
                    return
                self._try(*one)
            self._news.clear()
            with self._lock:
                pause = _AGAIN if self._left else None
            if not self._stopping:
                self._news.wait(pause)
                if pause:
                    self._news.clear()

    def _try(self, container: str, id: str) -> None:
        names = Names(container)
        try:
            self._clear(names, id)
        except (LongshoreError, OSError) as error:
            LOG.info("could not remove command %s of %s yet: %s", id, container, error)
            return
        with self._lock:
            self._left.discard((container, id))

    def _clear(self, names: Names, id: str) -> None:
        call = ExecCalls(self._client, names, id)
        ended = threading.Event()
        call.kill(SIGKILL)
        call.wait(lambda code, error: ended.set())
        streams.drain(self.layout.exec(names, id), _END)
        # One that was never started never ends. One that still runs is not removed.
        ended.wait(_END)
        call.close_input()
        call.delete()
        streams.remove(self.layout.exec(names, id))


def _found(layout: Layout) -> set[tuple[str, str]]:
    return {
        (folder.parent.name, folder.name)
        for folder in layout.stdio.glob("*/*")
        if folder.is_dir() and is_container_id(folder.parent.name)
    }
