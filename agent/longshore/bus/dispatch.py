"""oslo.messaging's server, made safe against strangers and floods."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oslo_messaging.rpc.dispatcher import ExpectedException, RPCDispatcher
from oslo_messaging.rpc.server import RPCServer

from longshore.bus import wire
from longshore.errors import InvalidRequest

LOG = logging.getLogger(__name__)


class CheckedDispatcher(RPCDispatcher):  # type: ignore[misc]  # oslo has no types
    """Refuses a malformed envelope before oslo.messaging works on it.

    Its own dispatcher starts the call monitor's thread first and then forgets it when the verb
    is unknown, so that a stranger's message would leave a thread for ever.
    """

    def dispatch(self, incoming: Any) -> Any:
        try:
            wire.check_envelope(incoming.message, incoming.client_timeout)
        except InvalidRequest as error:
            LOG.info("message refused: %s", error)
            raise ExpectedException from error
        return super().dispatch(incoming)


class BoundedServer(RPCServer):  # type: ignore[misc]  # oslo has no types
    """Takes a message off the broker only when a thread is free for it.

    oslo.messaging acknowledges on receipt and queues in memory without bound, so that its
    prefetch option alone bounds nothing. What is not taken stays at the broker, and expires
    there with its caller's deadline.
    """

    def __init__(
        self, transport: Any, target: Any, endpoints: Sequence[object], threads: int
    ) -> None:
        super().__init__(transport, target, CheckedDispatcher(list(endpoints), None))
        # oslo's own pool starts a thread for every message until all are there, and each of
        # them then wakes every second.
        self._executor_cls = functools.partial(
            ThreadPoolExecutor, thread_name_prefix="longshore-rpc"
        )
        self._threads = threads
        self._room = threading.Semaphore(threads)
        self._closing = threading.Event()

    def listen(self) -> None:
        """Connects, declares the queues and takes messages; needs a broker that answers."""
        self.start(override_pool_size=self._threads)

    def close(self) -> None:
        """Takes no more messages and waits for those at work, however long they take."""
        self._closing.set()
        self.stop()
        self.wait()

    def _on_incoming(self, incoming: Any) -> None:
        while not self._room.acquire(timeout=0.5):
            if self._closing.is_set():
                LOG.warning("message dropped: the agent ends and all its threads are at work")
                return
        done = self._work_executor.submit(self._process_incoming, incoming)
        done.add_done_callback(lambda _: self._room.release())
