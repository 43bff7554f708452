"""A process in a container at the other end of two streams, as a program on the node has it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from longshore.errors import AgentBusy, HostUnavailable, Interrupted, LongshoreError
from longshore.local.calls import Calls, is_gone
from longshore.local.patience import Patience, pause
from longshore.model.execs import Output
from longshore.pb.longshore.v1 import agent_pb2

#: Messages to the agent that may wait to be taken.
_WAITING = 16
#: Bytes of input in one message.
_PIECE = 64 * 1024


class Stream:
    """A command, or a container's own process. Iterating yields what it writes until it has ended;
    then `exit_code` says how. Thread-safe: one may read while others write.

    Closing it, or leaving the `with`, kills a command that still runs; an attached process goes
    on.
    """

    def __init__(self, calls: Calls, rpc: str, what: str, kind: Any, start: Any, by: float) -> None:
        self.exit_code: int | None = None
        self.pid = 0
        self._calls, self._rpc, self._what = calls, rpc, what
        self._kind = kind
        self._over = False
        self._waiting: deque[Any] = deque()
        self._change = threading.Condition()
        #: Of the present call: one that went before takes nothing any more.
        self._number = 0
        patience = Patience(by)
        while True:
            try:
                self._first = self._begun(kind(start=start))
            except AgentBusy as error:
                if not patience.grants(error, gone=False):
                    raise
            else:
                return
            pause()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Output]:
        first, self._first = self._first, []
        yield from first
        yield from self._take(None)

    def write(self, data: bytes) -> None:
        """More input. Waits while the process does not read."""
        for at in range(0, len(data), _PIECE):
            self._send(stdin=data[at : at + _PIECE])

    def end_input(self) -> None:
        self._send(stdin_end=True)

    def resize(self, rows: int, columns: int) -> None:
        self._send(size=agent_pb2.TerminalSize(rows=rows, columns=columns))

    def signal(self, name: str) -> None:
        self._send(signal=name)

    def close(self) -> None:
        """From any thread; whoever iterates comes to the end."""
        self._end()
        self._cancel()

    def _begun(self, *first: Any) -> list[Output]:
        """Calls with these messages, and waits for the agent's word that it has begun."""
        with self._change:
            self._number += 1
            number = self._number
        requests = self._requests(number, *first)
        self._replies, self._cancel = self._calls.converse(self._rpc, self._what, requests)
        try:
            return list(self._take(1))
        except LongshoreError:
            self._retire()
            raise

    def _retire(self) -> None:
        """The present call takes nothing any more."""
        with self._change:
            self._number += 1
            self._change.notify_all()
        self._cancel()

    def _end(self) -> None:
        with self._change:
            self._over = True
            self._change.notify_all()

    def _take(self, most: int | None) -> Iterator[Output]:
        """Of so many messages, or of all that are left."""
        for reply in self._messages(most):
            self._heard(reply)
            if reply.HasField("exit_code"):
                self.exit_code = reply.exit_code
                self._end()
            for stream in ("stdout", "stderr"):
                if data := getattr(reply, stream):
                    yield Output(stream, data)

    def _messages(self, most: int | None) -> Iterator[Any]:
        taken = 0
        while most is None or taken < most:
            try:
                reply = next(self._replies, None)
            except LongshoreError as error:
                if self._over:
                    return  # by `close`
                if most is not None or not self._goes_on(error):
                    raise
                continue
            if reply is None:
                self._end()
                return
            taken += 1
            yield reply

    def _heard(self, reply: Any) -> None:
        # Attaching has none.
        self.pid = getattr(reply, "pid", 0) or self.pid

    def _goes_on(self, error: LongshoreError) -> bool:
        """Whether it does after that; raises what is said instead of it."""
        if is_gone(error) and not isinstance(error, Interrupted):
            raise HostUnavailable(
                f"cannot {self._what} to its end: the agent went away, and ends it",
                object=error.object,
                hint="run it again once the agent is back",
            ) from error
        return False

    def _send(self, **fields: Any) -> None:
        sent = self._kind(**fields)
        with self._change:
            self._change.wait_for(lambda: self._over or len(self._waiting) < _WAITING)
            self._waiting.append(sent)
            self._change.notify_all()

    def _requests(self, number: int, *first: Any) -> Iterator[Any]:
        """What is sent in the call of that number: these, and then what waits."""
        for sent in first:
            self._passed(sent)
            yield sent
        while True:
            with self._change:
                self._change.wait_for(
                    lambda: self._over or number != self._number or bool(self._waiting)
                )
                if self._over or number != self._number:
                    return
                sent = self._waiting.popleft()
                self._passed(sent)
                self._change.notify_all()
            yield sent

    def _passed(self, sent: Any) -> None:
        """It is on its way."""
