"""The agent's end of the bus: serves while the broker is there, comes back when it is again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_service import backend

from longshore.bus.backoff import delays
from longshore.bus.copy_verbs import Copies
from longshore.bus.dispatch import BoundedServer
from longshore.bus.endpoint import Door
from longshore.bus.exec_verbs import Execs
from longshore.bus.image_verbs import Images
from longshore.bus.link import Link
from longshore.bus.log_verbs import Logs
from longshore.bus.operation_verbs import Operations
from longshore.bus.stats_verbs import Stats
from longshore.bus.story_verbs import Stories
from longshore.bus.transport import Bus, open_bus, queue, target
from longshore.bus.upkeep_verbs import Upkeep
from longshore.bus.verbs import Containers
from longshore.bus.version_verbs import Versions
from longshore.bus.volume_verbs import Volumes
from longshore.errors import BrokerUnavailable
from longshore.lifecycle import lanes
from longshore.lifecycle.service import Service
from longshore.model.status import NeighbourStatus

LOG = logging.getLogger(__name__)
MAX_MESSAGE = 1024 * 1024
#: Seconds between two looks at our queue's consumers: while we are served, and until then.
_LOOK_UP, _LOOK_DOWN = 15.0, 0.1
_FIRST_PAUSE, _MOST_PAUSE = 0.5, 10.0
#: Threads beyond the lanes, so that a refusal (busy, malformed) is never waited for.
_SPARE = 2


class BusServer:
    """RPC server of one node.

    Args:
        conf: where oslo.messaging's options are read; `transport.register` declares them.
        transport_url: None: conf's.
        node: the name under which schedulers reach this agent.
        service: what the verbs are passed on to; called from several threads.
        workers: calls of create and start that may be at work at once; those that wait for an
            image come on top.
        max_message: bytes of JSON that one message may have.

    Raises:
        InvalidRequest: the node's name or the transport URL is wrong.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        transport_url: str | None,
        node: str,
        service: Service,
        *,
        workers: int = 16,
        max_message: int = MAX_MESSAGE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if backend.get_backend_type() is not backend.BackendType.THREADING:
            raise RuntimeError("cannot serve the bus: oslo.service runs on eventlet here")
        self._target = target(node)
        self._queue = queue(node)
        self._stopping = threading.Event()
        sizes = lanes.sizes(workers)
        door = Door(service, lanes.Lanes(sizes), max_message, self._stopping)
        self._endpoints = [
            Containers(door),
            Copies(door),
            Execs(door),
            Images(door),
            Logs(door),
            Operations(door),
            Stats(door),
            Stories(door),
            Upkeep(door),
            Versions(door),
            Volumes(door),
        ]
        # All lanes full, and what comes on top still refused.
        self._threads = sum(sizes.values()) + _SPARE
        self._open: Callable[[], Bus] = lambda: open_bus(conf, transport_url, _rabbit(workers))
        self._clock = clock
        self._link = Link(self._open(), f"longshore-agent {node} watch")
        self._thread = threading.Thread(target=self._run, name="longshore-bus", daemon=True)
        self._state = NeighbourStatus(name="rabbitmq", state="unknown", since=clock())

    def start(self) -> None:
        """Returns at once, whether there is a broker or not."""
        self._thread.start()

    def state(self) -> NeighbourStatus:
        """`up`: the broker says that somebody listens on this node's queue; `down`: it does not
        answer; `unknown` in between. Asks nobody.
        """
        return self._state

    def stop(self, timeout: float = 10.0) -> bool:
        """Takes no more messages and waits for those at work.

        Returns False if after `timeout` seconds some are still at work, or wait for a broker to
        reply through. Their threads would hold up the interpreter's orderly end.
        """
        if not self._thread.ident:
            return True
        self._stopping.set()
        self._link.interrupt()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        serving: _Serving | None = None
        pauses = delays(_FIRST_PAUSE, _MOST_PAUSE)
        while not self._stopping.is_set():
            down = ""
            try:
                version = self._link.open()
                serving = serving or _Serving(
                    self._open(), self._target, self._endpoints, self._threads
                )
                pauses = delays(_FIRST_PAUSE, _MOST_PAUSE)
                self._watch(version)
            except BrokerUnavailable as error:
                down = str(error)
            except Exception as error:  # a front door: without this thread nobody is heard again
                LOG.exception("the bus failed")
                down = f"cannot serve the bus: {type(error).__name__}"
            # Not above: oslo.log adds the exception in flight, and the line would say all twice.
            if down:
                self._down(down, next(pauses))
        try:
            if serving:
                serving.close()
            self._link.close()
        except Exception:  # the same door: what is left open ends with the process
            LOG.exception("cannot leave the bus in order")
        self._note("unknown", detail="the agent has left the bus")

    def _down(self, detail: str, pause: float) -> None:
        if not self._stopping.is_set():  # otherwise `stop` has ended the connection
            self._note("down", detail=detail)
            self._stopping.wait(pause)

    def _watch(self, version: str) -> None:
        """Follows the state until the connection ends, which raises BrokerUnavailable."""
        while not self._stopping.is_set():
            if self._link.consumers(self._queue):
                self._note("up", version, f"listening on {self._queue}")
                self._link.watch(_LOOK_UP)
            else:
                self._note("unknown", version, f"nobody listens on {self._queue} yet")
                self._link.watch(_LOOK_DOWN)

    def _note(self, state: str, version: str = "", detail: str = "") -> None:
        old = self._state
        if (old.state, old.detail) != (state, detail):
            LOG.log(
                logging.WARNING if state == "down" else logging.INFO,
                "broker is %s: %s",
                state,
                detail,
            )
        self._state = NeighbourStatus(
            name=old.name,
            state=state,
            version=version or old.version,
            since=old.since if old.state == state else self._clock(),
            detail=detail,
        )


class _Serving:
    """oslo.messaging's server with its transport; making it listens.

    Raises:
        BrokerUnavailable: it could not; nothing is left open.
    """

    def __init__(self, bus: Bus, target: Any, endpoints: Sequence[object], threads: int) -> None:
        self._bus = bus
        self._server = BoundedServer(bus.transport, target, endpoints, threads)
        try:
            self._server.listen()
        except oslo_messaging.MessagingException as error:
            self._bus.transport.cleanup()
            raise BrokerUnavailable(
                f"cannot listen for requests: {error}",
                hint="queues that exist with other options must be deleted on the broker first",
            ) from error

    def close(self) -> None:
        self._server.close()
        self._bus.transport.cleanup()


def _rabbit(workers: int) -> dict[str, int]:
    """Our defaults for [oslo_messaging_rabbit]; the file wins."""
    return {
        # What lies in this process unread, beside what is at work.
        "rabbit_qos_prefetch_count": workers,
        # A caller who is gone must not keep a thread for a minute; one who comes back later than
        # this asks again.
        "kombu_missing_consumer_retry_timeout": 5,
        # A reply takes a millisecond: a few connections serve all threads.
        "rpc_conn_pool_size": 8,
        "conn_pool_min_size": 1,
        "rabbit_interval_max": 5,
    }
