"""One connection to the agent: deadlines, asking again, and every failure made one of ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import grpc

from longshore.errors import (
    AgentBusy,
    DeadlineExceeded,
    HostUnavailable,
    Interrupted,
    LongshoreError,
    MessageTooLarge,
)
from longshore.local import failures
from longshore.local.greeting import Greeting
from longshore.local.patience import Patience, pause
from longshore.local.peers import BEGUN, METADATA
from longshore.pb.longshore.v1 import agent_pb2_grpc

#: Seconds for the end of a stream that says in its first metadata neither that it has begun nor
#: why not: an agent of an older release.
_OLD = 0.5
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name the time that one attempt may take: an agent under load needs its moment.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Streams have no deadline, so a stopped agent is found out by its not answering pings.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]
_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Calls:
    """Calls by name of the rpc. `what` finishes 'cannot …'; `by` is of time.monotonic."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self._stub = agent_pb2_grpc.AgentStub(self._channel)
        self._greeting: Greeting | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Ends also what is under way in other threads."""
        self._closed = True
        self._channel.close()
        with self._lock:
            if self._greeting is not None:
                self._greeting.close()

    def ask(self, rpc: str, what: str, request: Any, by: float) -> Any:
        """A call that only reads, or whose repetition changes nothing."""
        return self._again(rpc, what, request, Patience(by), None)

    def change(
        self, rpc: str, what: str, request: Any, by: float, request_id: str | None = None
    ) -> Any:
        """A call whose repetition under the same request id does it once; None: its intent's."""
        id = request_id or request.intent.request_id
        return self._again(rpc, what, request, Patience(by), id)

    def once(self, rpc: str, what: str, request: Any, by: float) -> Any:
        """A call that is not to be repeated, unless the agent says that nothing was done."""
        return self._again(rpc, what, request, Patience(by, returns=0.0), "")

    def send(
        self, rpc: str, what: str, requests: Callable[[], Iterator[Any]], timeout: float, by: float
    ) -> Any:
        """A stream of messages, then one answer within `timeout` seconds of the last of them.

        `requests` begins them anew when the agent has no room, until `by`.
        """
        patience = Patience(by, returns=0.0)
        while True:
            try:
                return self._send(rpc, what, requests(), timeout)
            except AgentBusy as busy:
                if not patience.grants(busy, gone=False):
                    raise
            pause()

    def stream(self, rpc: str, what: str, request: Any, by: float) -> Iterator[Any]:
        """Has begun when it returns; closing the iterator ends the call."""
        patience, metadata = Patience(by), self._metadata()
        while True:
            call = getattr(self._stub, rpc)(request, metadata=metadata)
            if BEGUN in {(one.key, one.value) for one in call.initial_metadata()}:
                return self._pull(what, call)
            error = _refusal(call)
            failure = self._failure(what, error, None) if error else None
            if failure is None or not patience.grants(failure, gone=False):
                return self._pull(what, call)
            pause()

    def converse(
        self, rpc: str, what: str, requests: Iterator[Any]
    ) -> tuple[Generator[Any, None, None], Callable[[], object]]:
        """A stream of messages each way: the answers, and what breaks the call off from any
        thread."""
        metadata = self._metadata()
        try:
            call = getattr(self._stub, rpc)(requests, metadata=metadata)
        except ValueError as error:  # grpc's word for a channel that was closed
            if not self.closed:
                raise
            raise HostUnavailable(f"cannot {what}: the client was closed") from error
        return self._pull(what, call), call.cancel

    def follow(
        self,
        rpc: str,
        what: str,
        request: Any,
        timeout: float,
        *,
        resumes: bool,
        within: float | None = None,
    ) -> Generator[Any, None, None]:
        """A stream, begun anew when the agent has no room or went away.

        That is tried for `timeout` seconds after the last message, and after the first one only
        if a stream that is begun anew `resumes` where it broke off. `within`: seconds for all of
        one; None: as long as it lasts.
        """
        patience, metadata = Patience(time.monotonic() + timeout), self._metadata()
        while True:
            call = getattr(self._stub, rpc)(request, metadata=metadata, timeout=within)
            try:
                for message in call:
                    yield message
                    patience = Patience(time.monotonic() + timeout if resumes else 0.0)
            except grpc.RpcError as error:
                failure = self._failure(what, error, None)
                gone = _is_gone(error) or isinstance(failure, Interrupted)
                if self._closed or not patience.grants(failure, gone=gone):
                    raise failure from error
            else:
                return
            finally:
                call.cancel()
            pause()
            metadata = self._metadata_of_another(metadata, patience)

    def _send(self, rpc: str, what: str, requests: Iterator[Any], timeout: float) -> Any:
        sent = threading.Event()

        def marked() -> Iterator[Any]:
            yield from requests
            sent.set()

        call = getattr(self._stub, rpc).future(marked(), metadata=self._metadata())
        try:
            while not sent.wait(0.1) and not call.done():
                pass
            return call.result(timeout)
        except grpc.FutureTimeoutError as error:
            raise _late(what, None) from error
        except grpc.RpcError as error:
            raise self._failure(what, error, None) from error
        finally:
            call.cancel()

    def _pull(self, what: str, call: Any) -> Generator[Any, None, None]:
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._failure(what, error, None) from error
        finally:
            call.cancel()

    def _again(
        self, rpc: str, what: str, request: Any, patience: Patience, request_id: str | None
    ) -> Any:
        metadata = self._metadata()
        while True:
            try:
                left = max(0.001, patience.by - time.monotonic())
                return getattr(self._stub, rpc)(request, timeout=left, metadata=metadata)
            except grpc.RpcError as error:
                failure = self._failure(what, error, request_id)
                gone = _is_gone(error) or isinstance(failure, Interrupted)
                if self._closed or not patience.grants(failure, gone=gone):
                    raise failure from error
            pause()
            if gone:
                metadata = self._metadata_of_another(metadata, patience)

    def renew(self) -> None:
        """The agent went away: the next call greets the one that is there then."""
        with self._lock:
            if self._greeting is not None:
                self._greeting.close()
                self._greeting = None

    def _metadata(self) -> list[tuple[str, str]]:
        with self._lock:
            if self._greeting is None:
                self._greeting = Greeting(self._socket)
            return [(METADATA, self._greeting.token)]

    def _metadata_of_another(
        self, old: list[tuple[str, str]], patience: Patience
    ) -> list[tuple[str, str]]:
        """Greets the agent that may have come in the place of the one that went."""
        self.renew()
        try:
            metadata = self._metadata()
        except HostUnavailable:
            return old  # the call itself will say so, if there still is none then
        patience.returned()
        return metadata

    def _failure(self, what: str, error: grpc.RpcError, request_id: str | None) -> LongshoreError:
        said = failures.decode(error)
        if said is not None:
            return said
        code, why = error.code(), error.details() or ""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return _late(what, request_id)
        if code in _GONE and request_id is not None:
            return _late(what, request_id, "the agent went away")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in why:
            return MessageTooLarge(f"cannot {what}: {why}")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return AgentBusy(f"cannot {what}: {why}", hint="try again soon")
        if code in (*_GONE, grpc.StatusCode.UNIMPLEMENTED):
            return HostUnavailable(
                f"cannot {what}: the agent at {self._socket} went away or is too old ({why})",
                object=str(self._socket),
                hint="systemctl status longshore-agent",
            )
        return LongshoreError(f"cannot {what}: {why}", details={"grpc": code.name})


def is_gone(error: LongshoreError) -> bool:
    """Whether a call ended so because the agent stops, or went away."""
    cause = error.__cause__
    is_said = isinstance(cause, grpc.RpcError) and failures.decode(cause) is not None
    return isinstance(error, Interrupted) or (isinstance(error, HostUnavailable) and not is_said)


def _is_gone(error: grpc.RpcError) -> bool:
    """Whether the agent went away without a word."""
    return failures.decode(error) is None and error.code() in _GONE


def _refusal(call: Any) -> grpc.RpcError | None:
    """Why a stream ended before it began; None for one of an agent that does not say so."""
    try:
        error: grpc.RpcError | None = call.exception(_OLD)
    except grpc.FutureTimeoutError:
        return None
    return error


def _late(what: str, request_id: str | None, why: str = "no answer in time") -> DeadlineExceeded:
    return DeadlineExceeded(
        f"cannot {what}: {why}; it may have happened, or still happen",
        hint="look at its state, or ask again with the same request id" if request_id else None,
        details={"request_id": request_id} if request_id else None,
    )
