"""Commands in containers, and attaching to them, as a program on the node does both."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

from longshore.errors import AgentBusy, DeadlineExceeded, LongshoreError
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.local.patience import Patience, pause
from longshore.model.exec_messages import OUTPUT, TIMEOUT
from longshore.model.execs import Kept, Output
from longshore.model.status import ExecStatus
from longshore.pb.longshore.v1 import agent_pb2

#: Messages to the agent that may wait to be taken.
_WAITING = 16
_LOOK = 0.25
#: Seconds that a killed command gets to end.
_KILLED = 15.0
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
        self._kind = kind
        patience = Patience(by)
        while True:
            self._over = False
            self._out: queue.Queue[Any] = queue.Queue(_WAITING)
            self._out.put(kind(start=start))
            requests = self._requests(self._out)
            self._replies, self._cancel = calls.converse(rpc, what, requests)
            try:
                # The agent's word that it has begun.
                self._first = list(self._take(1))
            except LongshoreError as error:
                self.close()
                if not isinstance(error, AgentBusy) or not patience.grants(error, gone=False):
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
        self._over = True
        self._cancel()

    def _take(self, most: int | None) -> Iterator[Output]:
        """Of so many messages, or of all that are left."""
        for reply in self._messages(most):
            if reply.HasField("exit_code"):
                self.exit_code = reply.exit_code
                self._over = True
            for stream in ("stdout", "stderr"):
                if data := getattr(reply, stream):
                    yield Output(stream, data)
            # Attaching has none.
            self.pid = getattr(reply, "pid", 0) or self.pid

    def _messages(self, most: int | None) -> Iterator[Any]:
        taken = 0
        while most is None or taken < most:
            try:
                reply = next(self._replies, None)
            except LongshoreError:
                if self._over:
                    return  # by `close`
                raise
            if reply is None:
                self._over = True
                return
            taken += 1
            yield reply

    def _send(self, **fields: Any) -> None:
        sent = self._kind(**fields)
        while not self._over:
            try:
                self._out.put(sent, timeout=_LOOK)
            except queue.Full:
                continue
            return

    def _requests(self, out: queue.Queue[Any]) -> Iterator[Any]:
        while not self._over and out is self._out:
            try:
                yield out.get(timeout=_LOOK)
            except queue.Empty:
                continue


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...


class ExecVerbs:
    """The part of LocalClient that concerns commands. `ref`: of a container."""

    def exec(
        self: _Client,
        ref: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        tty: bool = False,
        stdin: bool = False,
        size: tuple[int, int] | None = None,
        privileged: bool = False,
        request_id: str | None = None,
    ) -> Stream:
        """Begins a command in a container that runs; it is killed when the stream is closed.

        Args:
            env: beside the container's.
            workdir, user: None: the container's.
            tty: whether it gets a terminal, of `size` (rows, columns).
            stdin: whether it gets input; else it reads nothing.
            privileged: with every capability; needs the node's policy to allow it.
            request_id: a uuid; None: a new one. What was begun under it is not begun again.

        Raises:
            IllegalTransition: it does not run.
            CommandNotFound, StartFailed: the command cannot be run.
        """
        start = message(
            agent_pb2.ExecStart,
            ref=ref,
            command=list(command),
            env=env,
            workdir=workdir,
            user=user,
            tty=tty,
            stdin=stdin,
            size=_size(size),
            privileged=privileged,
            request_id=request_id or str(uuid4()),
        )
        what = f"run a command in {ref}"
        return Stream(self._calls, "Exec", what, agent_pb2.ExecInput, start, self._by())

    def attach(
        self: _Client,
        ref: str,
        *,
        stdin: bool = False,
        from_start: bool = False,
        size: tuple[int, int] | None = None,
    ) -> Stream:
        """What its own process writes, from now on or `from_start`, and its input.

        Closing the stream leaves it as it is. Raises Conflict: it was made without input.
        """
        start = message(
            agent_pb2.AttachStart, ref=ref, stdin=stdin, from_start=from_start, size=_size(size)
        )
        what = f"attach to {ref}"
        return Stream(self._calls, "Attach", what, agent_pb2.AttachInput, start, self._by())

    def execute(
        self: _Client,
        ref: str,
        command: Sequence[str],
        *,
        timeout: float = TIMEOUT,
        output_max: int = OUTPUT,
        **more: Any,
    ) -> ExecStatus:
        """Runs a command to its end and keeps the first `output_max` bytes of each output.

        After `timeout` seconds it is killed. `more`: as `exec`. Raises as `exec`.
        """
        kept, begun = Kept(output_max), time.monotonic()
        late = threading.Event()
        with ExecVerbs.exec(self, ref, command, **more) as stream:

            def kill() -> None:
                late.set()
                stream.signal("SIGKILL")

            # A command that does not even end then is left to the agent.
            timers = [
                threading.Timer(timeout, kill),
                threading.Timer(timeout + _KILLED, stream.close),
            ]
            for timer in timers:
                timer.daemon = True
                timer.start()
            try:
                for output in stream:
                    kept.add(output)
            finally:
                for timer in timers:
                    timer.cancel()
        if stream.exit_code is None:
            raise DeadlineExceeded(
                f"cannot run a command in {ref}: it does not end though it was killed", object=ref
            )
        return kept.status(stream.exit_code, time.monotonic() - begun, timed_out=late.is_set())


def _size(size: tuple[int, int] | None) -> dict[str, int] | None:
    return None if size is None else {"rows": size[0], "columns": size[1]}
