"""One write to containerd's content store, request by request.

gRPC draws the requests in a thread of its own, and its answers are drawn in another: so that
nobody waits for a containerd that hangs longer than allowed, or than anybody wants it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import grpc

from longshore.errors import DeadlineExceeded, HostFailed
from longshore.host.containerd.client import Client, translate, translated
from longshore.pb.containerd import content_pb2

REF = "longshore-"
#: Requests under way to containerd before its answer to the first is waited for.
_AHEAD = 2
#: Seconds between two looks at whether it is still wanted.
_LOOK = 0.25
#: The slowest disk that is still waited for, in bytes per second: containerd reads again what is
#: there before it goes on, and sees to it that all is on the disk before it says so.
_SLOWEST = 2 * 1024 * 1024


@dataclass(frozen=True)
class Blob:
    """What is to be stored: OCI's descriptor, and the labels that tie it to other blobs."""

    digest: str
    size: int
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """containerd's name for the write while it is not complete."""
        return REF + self.digest


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Course:
    """How a write may go.

    Attributes:
        timeout: seconds for all of it.
        check: asked all the time; what it raises ends the write.
        wrote: told how many bytes are there, after each piece.
    """

    timeout: float
    check: Callable[[], None] = _nothing
    wrote: Callable[[int], None] = _nothing


@contextmanager
def opened(client: Client, blob: Blob, lease: str, course: Course, what: str) -> Iterator[Session]:
    """A write under a lease. What is there at the end, without `commit`, can be gone on with."""
    requests: SimpleQueue[content_pb2.WriteContentRequest | None] = SimpleQueue()
    with translated(what, blob.digest):
        call = client.content.Write(
            iter(requests.get, None), timeout=course.timeout, metadata=client.metadata(lease)
        )
    answers: SimpleQueue[Any] = SimpleQueue()
    drawing = threading.Thread(target=_draw, args=(call, answers), name=f"write {blob.digest}")
    try:
        _start(drawing, what)
        yield Session(client.timeout, requests, answers, blob, course, what)
    finally:
        # Not cancelled but ended: containerd has closed the write by the time that it says so.
        requests.put(None)
        if drawing.ident is not None:
            drawing.join(client.timeout)
        call.cancel()
        if drawing.ident is not None:
            drawing.join()


class Session:
    """Its calls in their order: `begin`, `send` as often as needed, `commit`."""

    def __init__(
        self,
        patience: float,
        requests: SimpleQueue[content_pb2.WriteContentRequest | None],
        answers: SimpleQueue[Any],
        blob: Blob,
        course: Course,
        what: str,
    ) -> None:
        self._patience = patience
        self._requests = requests
        self._answers = answers
        self._blob = blob
        self._course = course
        self._what = what
        self._ahead = 0
        self._end = 0

    def begin(self) -> int:
        """How many bytes are there.

        Raises:
            Conflict: all, and the blob is visible; the lease holds it now.
            HostBusy: somebody else is writing it.
        """
        # Without the total: one that was announced differently before is no reason to refuse.
        self._put(action=content_pb2.STAT, expected=self._blob.digest)
        self._end = int(self._answer(self._whole).offset)
        return self._end

    def send(self, offset: int, data: bytes) -> None:
        self._put(action=content_pb2.WRITE, offset=offset, data=data)
        self._end = offset + len(data)
        while self._ahead > _AHEAD:
            self._answer(self._patience)

    def commit(self) -> None:
        """Raises Refused: size or digest are not as they should be. Conflict: it is there."""
        self._put(
            action=content_pb2.COMMIT,
            total=self._blob.size,
            expected=self._blob.digest,
            offset=self._end,
            labels=dict(self._blob.labels),
        )
        while self._ahead:
            self._answer(self._whole)

    @property
    def _whole(self) -> float:
        return self._patience + self._blob.size / _SLOWEST

    def _put(self, **fields: Any) -> None:
        self._requests.put(content_pb2.WriteContentRequest(ref=self._blob.ref, **fields))
        self._ahead += 1

    def _answer(self, patience: float) -> content_pb2.WriteContentResponse:
        digest = self._blob.digest
        until = time.monotonic() + patience
        while True:
            try:
                answer = self._answers.get(timeout=_LOOK)
                break
            except Empty:
                self._course.check()
                if time.monotonic() > until:
                    raise DeadlineExceeded(
                        f"cannot {self._what}: no answer within {patience:g} s", object=digest
                    ) from None
        if isinstance(answer, grpc.RpcError):
            raise translate(answer, self._what, digest) from answer
        if answer is None:
            raise HostFailed(f"cannot {self._what}: containerd ended the write", object=digest)
        self._ahead -= 1
        return answer  # type: ignore[no-any-return]  # the queue holds what the call answers


def _start(thread: threading.Thread, what: str) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise HostFailed(f"cannot {what}: {error}") from error


def _draw(call: Any, answers: SimpleQueue[Any]) -> None:
    """Until the call ends; the last that it puts is why, or None."""
    try:
        for answer in call:
            answers.put(answer)
        answers.put(None)
    except grpc.RpcError as error:
        answers.put(error)
