"""containerd's events about tasks, as hints: none is replayed, so whoever listens looks again.

On every connection, also after a restart of containerd, the listener is told once the
subscription is in force: what it lists then, together with the events that follow, misses
nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from longshore.errors import DeadlineExceeded, LongshoreError
from longshore.host.containerd.client import Client, translated
from longshore.pb.containerd import events_pb2, task_events_pb2

_LOG = logging.getLogger(__name__)
#: A subscription is renewed after this, in case it died without a sign.
_STREAM_TIMEOUT = 3600.0
_BACKOFF_FIRST, _BACKOFF_MAX = 0.1, 5.0
#: containerd confirms no subscription; an event of our own that comes back does.
_PROBE = "/longshore/subscribed"
#: Others who listen to everything must be able to decode it.
_PROBE_EVENT = AnyMessage(type_url="containerd.events.TaskStart")
_PROBES_MAX = 1000
OUT_OF_MEMORY = "/tasks/oom"
#: What the agent does not do itself. A start or a delete is its own, and tells it nothing.
_PAYLOADS: dict[str, Any] = {
    "/tasks/exit": task_events_pb2.TaskExit,
    OUT_OF_MEMORY: task_events_pb2.TaskOOM,
}


class Events:
    """Listens in a thread of its own from `start` to `close`.

    Args:
        on_connect: called when events are heard from now on, and each time after a gap.
        on_gap: called with the reason when nothing is heard any more.
        on_event: called with the container's id and the topic (`/tasks/exit`, …). An exec's
            exit is told like any other event of its container.

    All are called from that thread, one at a time, and must not raise.
    """

    def __init__(
        self,
        client: Client,
        on_connect: Callable[[], None],
        on_gap: Callable[[str], None],
        on_event: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._on_connect = on_connect
        self._on_gap = on_gap
        self._on_event = on_event
        self._stop = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="containerd-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """Stops listening and waits for the thread, at most `timeout` seconds."""
        self._stop.set()
        if self._call is not None:
            self._call.cancel()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        backoff = _BACKOFF_FIRST
        while not self._stop.is_set():
            try:
                for envelope in self._subscription():
                    backoff = _BACKOFF_FIRST
                    self._handle(envelope)
            except LongshoreError as error:
                # A subscription that only reached its renewal tells nothing of containerd.
                if not self._stop.is_set() and not isinstance(error, DeadlineExceeded):
                    self._on_gap(str(error))
            self._stop.wait(backoff)
            backoff = min(backoff * 2, _BACKOFF_MAX)

    def _subscription(self) -> Iterator[events_pb2.Envelope]:
        namespace = f"namespace=={self._client.namespace}"
        request = events_pb2.SubscribeRequest(
            filters=[f'{namespace},topic=="{topic}"' for topic in (*_PAYLOADS, _PROBE)]
        )
        with translated("listen to containerd's events"):
            call = self._call = self._client.events.Subscribe(request, timeout=_STREAM_TIMEOUT)
            if self._stop.is_set():  # close() saw the call before this one
                call.cancel()
            heard = threading.Event()
            self._publish_probe(heard, _PROBES_MAX)
            for envelope in call:
                if not heard.is_set():
                    heard.set()
                    self._on_connect()
                yield envelope

    def _publish_probe(self, heard: threading.Event, left: int) -> None:
        """Publishes until one is heard: the first may overtake the subscription."""
        request = events_pb2.PublishRequest(topic=_PROBE, event=_PROBE_EVENT)
        future = self._client.events.Publish.future(
            request, timeout=self._client.timeout, metadata=self._client.metadata()
        )

        def again(done: Any) -> None:
            if (
                left
                and not heard.is_set()
                and not self._stop.is_set()
                and done.code() is grpc.StatusCode.OK
            ):
                self._publish_probe(heard, left - 1)

        future.add_done_callback(again)

    def _handle(self, envelope: events_pb2.Envelope) -> None:
        payload = _PAYLOADS.get(envelope.topic)
        if payload is not None:
            event = payload.FromString(envelope.event.value)
            self._on_event(event.container_id, envelope.topic)
