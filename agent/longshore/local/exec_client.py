"""Commands in containers, and attaching to them, as a program on the node does both."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from longshore.errors import DeadlineExceeded
from longshore.local.attachment import Attachment
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.local.streams import Stream
from longshore.model.exec_messages import OUTPUT, TIMEOUT
from longshore.model.execs import Kept
from longshore.model.status import ExecStatus, StoryStatus
from longshore.pb.longshore.v1 import agent_pb2

#: Seconds that a killed command gets to end.
_KILLED = 15.0


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...

    def explain(self, ref: str) -> StoryStatus: ...


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
    ) -> Attachment:
        """What its own process writes, from now on or `from_start`, and its input.

        Closing the stream leaves it as it is. It outlives the agent: see `Attachment`.

        Raises:
            IllegalTransition: it could not be made or started, or is being deleted.
            Conflict: it was made without input.
        """
        start = message(
            agent_pb2.AttachStart, ref=ref, stdin=stdin, from_start=from_start, size=_size(size)
        )

        def ended(id: str) -> int | None:
            return self.explain(id).container.exit_code

        return Attachment(self._calls, f"attach to {ref}", start, self._by(), ended=ended)

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
