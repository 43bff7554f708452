"""One channel to containerd, and the one place where gRPC's errors become ours.

Every call names what it does ('cannot X: why' begins with it), has a deadline, and carries the
namespace and, if given, the lease that protects what it makes from the garbage collector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from longshore.errors import (
    Conflict,
    DeadlineExceeded,
    Exhausted,
    HostBusy,
    HostFailed,
    HostUnavailable,
    LongshoreError,
    NotFound,
)
from longshore.pb.containerd import (
    containers_pb2_grpc,
    content_pb2_grpc,
    diff_pb2_grpc,
    events_pb2_grpc,
    images_pb2_grpc,
    introspection_pb2_grpc,
    leases_pb2_grpc,
    namespaces_pb2_grpc,
    snapshots_pb2_grpc,
    tasks_pb2_grpc,
    version_pb2_grpc,
)

#: containerd's own server takes no larger message.
MESSAGE_MAX = 16 * 1024 * 1024
#: A restarted containerd is found again within a second; gRPC's default backs off to two minutes.
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_MAX),
    ("grpc.max_send_message_length", MESSAGE_MAX),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name the time that one attempt may take: containerd under load needs its moment.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

_ERRORS: dict[grpc.StatusCode, type[LongshoreError]] = {
    grpc.StatusCode.UNAVAILABLE: HostUnavailable,
    grpc.StatusCode.CANCELLED: HostUnavailable,
    grpc.StatusCode.UNIMPLEMENTED: HostUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exhausted,
}
#: What containerd reports as UNKNOWN (or as UNAVAILABLE) and yet says clearly.
_TELLTALES: tuple[tuple[str, type[LongshoreError]], ...] = (
    ("no space left on device", Exhausted),
    ("disk quota exceeded", Exhausted),
    ("locked for", HostBusy),
    # The shim has just died, and containerd is still clearing up after it.
    ("ttrpc: closed", HostBusy),
    ("context deadline exceeded", DeadlineExceeded),
)
_HINTS: dict[type[LongshoreError], str] = {
    HostUnavailable: "is containerd running, and does it listen there?",
    DeadlineExceeded: "the outcome is unknown; the same request can be sent again",
}

#: The deadline travels with the call. containerd may notice it first, stop what it was doing, and
#: report whatever broke by that.
_CLOSE_CALL = 0.01
#: Seconds between two looks at whether an answer is still wanted.
_LOOK = 0.25


class Refused(HostFailed):
    """containerd will not do it in the object's present state (FAILED_PRECONDITION)."""


def translate(error: grpc.RpcError, what: str, object: str | None = None) -> LongshoreError:
    """The error of ours for a failed call that was to do `what`, in one line."""
    code, details = error.code(), " ".join((error.details() or "").split())
    kind = next((kind for sign, kind in _TELLTALES if sign in details), None)
    if kind is None:
        kind = Refused if code is grpc.StatusCode.FAILED_PRECONDITION else _ERRORS.get(code)
    kind = kind or HostFailed
    why = details or code.name.lower().replace("_", " ")
    return kind(f"cannot {what}: {why}", object=object, hint=_HINTS.get(kind))


@contextmanager
def translated(what: str, object: str | None = None) -> Iterator[None]:
    """Turns gRPC's error in the body into ours; for streams and futures."""
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, what, object) from error
    except ValueError as error:
        # So gRPC says that its channel was closed; it has no other sign for it.
        if "channel" not in str(error).lower():
            raise
        raise HostUnavailable(
            f"cannot {what}: the connection to containerd is closed", object=object
        ) from error


class Client:
    """The stubs of one containerd and one namespace of it. Safe to share between threads.

    Args:
        address: containerd's unix socket.
        namespace: containerd's namespace; all that is made or listed is in it.
        timeout: seconds that a call may take unless it says otherwise.
    """

    def __init__(self, address: Path, namespace: str, timeout: float = 10.0) -> None:
        self.address = address
        self.namespace = namespace
        self.timeout = timeout
        self._channel = grpc.insecure_channel(f"unix:{address}", options=_OPTIONS)
        self._metadata = (("containerd-namespace", namespace),)
        self.containers = containers_pb2_grpc.ContainersStub(self._channel)
        self.content = content_pb2_grpc.ContentStub(self._channel)
        self.diff = diff_pb2_grpc.DiffStub(self._channel)
        self.events = events_pb2_grpc.EventsStub(self._channel)
        self.images = images_pb2_grpc.ImagesStub(self._channel)
        self.introspection = introspection_pb2_grpc.IntrospectionStub(self._channel)
        self.leases = leases_pb2_grpc.LeasesStub(self._channel)
        self.namespaces = namespaces_pb2_grpc.NamespacesStub(self._channel)
        self.snapshots = snapshots_pb2_grpc.SnapshotsStub(self._channel)
        self.tasks = tasks_pb2_grpc.TasksStub(self._channel)
        self.version = version_pb2_grpc.VersionStub(self._channel)

    def call(
        self,
        method: Any,
        request: Any,
        what: str,
        *,
        object: str | None = None,
        lease: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Calls one of the stubs' methods that takes one message and answers one.

        Args:
            what: what the call is to do, for the error: 'cannot {what}: why'.
            object: name of what it is done to, for the error.
            lease: what is made is protected by this lease.

        Raises:
            HostUnavailable: containerd does not answer, or cannot do this at all.
            DeadlineExceeded: it took too long; the outcome is unknown.
            NotFound, Conflict: what is named is not there, or is there already.
            Refused: not in the present state of what is named.
            Exhausted: the disk is full.
            HostFailed: anything else that containerd says.
        """
        allowed = self.timeout if timeout is None else timeout
        begun = time.monotonic()
        with translated(what, object):
            try:
                return method(request, timeout=allowed, metadata=self.metadata(lease))
            except grpc.RpcError as error:
                if time.monotonic() - begun <= allowed - _CLOSE_CALL:
                    raise
                raise DeadlineExceeded(
                    f"cannot {what}: no answer within {allowed:g} s",
                    object=object,
                    hint=_HINTS[DeadlineExceeded],
                ) from error

    def wanted(
        self,
        method: Any,
        request: Any,
        what: str,
        check: Callable[[], None],
        *,
        object: str | None = None,
        lease: str | None = None,
        timeout: float,
    ) -> Any:
        """As `call`, for what takes long: `check` is asked meanwhile, and what it raises ends it,
        here and soon in containerd."""
        with translated(what, object):
            answer = method.future(request, timeout=timeout, metadata=self.metadata(lease))
        try:
            while True:
                try:
                    with translated(what, object):
                        return answer.result(timeout=_LOOK)
                except grpc.FutureTimeoutError:
                    check()
        finally:
            answer.cancel()

    def stream(self, method: Any, request: Any, what: str, *, object: str | None = None) -> Any:
        """Yields the messages of a streamed answer; the deadline is for all of it."""
        with translated(what, object):
            yield from method(request, timeout=self.timeout, metadata=self.metadata())

    def metadata(self, lease: str | None = None) -> tuple[tuple[str, str], ...]:
        """Headers of a call, for those that `call` does not fit."""
        if lease is None:
            return self._metadata
        return (*self._metadata, ("containerd-lease", lease))

    def close(self) -> None:
        """Ends calls in flight: those raise HostUnavailable. The client is of no use after."""
        self._channel.close()
