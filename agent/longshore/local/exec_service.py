"""The gRPC face of commands in containers and of attaching to them: two streams each, in and out.

The thread that serves the call sends what the process writes, and reads no more of it while the
caller does not take it; a second one hands on what the caller sends.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import grpc

from longshore.errors import Interrupted, InvalidRequest, LongshoreError
from longshore.lifecycle.service import Service
from longshore.local import convert, stall
from longshore.local.door import Door
from longshore.local.peers import BEGUN
from longshore.local.service import STREAMS
from longshore.local.stall import Watchdog
from longshore.model import exec_messages as asks
from longshore.model.execs import Output, Session
from longshore.model.message import decode
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)
#: Seconds between two looks at whether the caller is still there.
_LOOK = 0.1


class ExecService:
    """Some methods of service Agent."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {"Exec": self.exec, "Attach": self.attach}

    def exec(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """A command whose caller leaves is killed."""
        what = "run a command"
        with self._door.serving(context, "exec", what, lane=STREAMS):
            asked = decode(asks.Exec, convert.to_dict(_first(requests, context)))
            LOG.info(
                "a command in %s asked by %s, request %s",
                *(asked.ref, self._door.origin(context), asked.request_id),
            )
            with closing(
                self._service.begin_exec(asked.request_id, asked.ref, asked.asked())
            ) as session:
                context.send_initial_metadata((BEGUN,))
                yield agent_pb2.ExecOutput(pid=session.pid)
                for output in self._served(session, _Input(session, requests), context):
                    if output is not None:
                        yield agent_pb2.ExecOutput(**_of(output))
                if session.exit_code is not None:
                    yield agent_pb2.ExecOutput(exit_code=session.exit_code)
                elif self._door.leaving.is_set():
                    raise Interrupted(
                        f"cannot go on with the command in {asked.ref}: the agent stops, and ends "
                        "it",
                        hint="run it again once the agent is back",
                    )

    def attach(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """A process goes on when who is attached leaves, or the agent does."""
        what = "attach"
        with self._door.serving(context, "attach", lane=STREAMS):
            asked = decode(asks.Attach, convert.to_dict(_first(requests, context)))
            LOG.info("attaching to %s asked by %s", asked.ref, self._door.origin(context))
            after = None if asked.after is None else asked.after.by_stream()
            with closing(
                self._service.attach(
                    asked.ref, stdin=asked.stdin, from_start=asked.from_start, after=after
                )
            ) as session:
                if asked.size is not None:
                    session.resize(asked.size.rows, asked.size.columns)
                context.send_initial_metadata((BEGUN,))
                given, told = _Input(session, requests), 0

                def reply(**said: Any) -> Any:
                    nonlocal told
                    told = given.taken
                    position = agent_pb2.LogPosition(**session.position)
                    return agent_pb2.AttachOutput(position=position, taken=told, **said)

                yield reply(stdout=b"", id=session.id, tty=session.tty)
                for output in self._served(session, given, context):
                    if output is not None:
                        yield reply(**_of(output))
                    elif given.taken != told:
                        yield reply(stdout=b"")
                if session.exit_code is not None:
                    yield reply(exit_code=session.exit_code)
                elif self._door.leaving.is_set():
                    # The last word about the input is exact: what is not taken is sent again.
                    given.end()
                    yield reply(stdout=b"")
                    self._door.check_open(what)

    def _served(
        self, session: Session, given: _Input, context: grpc.ServicerContext
    ) -> Iterator[Output | None]:
        """What it writes, and None now and then, until it has ended, the caller left or the agent
        stops. Raises what came of its input."""
        given.start()
        while session.exit_code is None and context.is_active() and not self._door.leaving.is_set():
            if given.failures:
                raise given.failures[0]
            yield session.read(_LOOK)


def _first(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    """The start, which says everything."""
    with Watchdog(context, stall.STALL) as watchdog, watchdog.waiting():
        message = next(requests, None)
    if message is None or not message.HasField("start"):
        raise InvalidRequest("cannot begin: the first message must be the start", field="start")
    return message.start


def _of(output: Output) -> dict[str, Any]:
    return {output.stream: output.data}


class _Input:
    """What the caller sends, handed on by a thread. `taken`: bytes that the process was given."""

    def __init__(self, session: Session, requests: Iterator[Any]) -> None:
        self.taken = 0
        self.failures: list[LongshoreError] = []
        self._session = session
        self._requests = requests
        self._ended = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Until the caller has left or the call is over."""
        threading.Thread(target=self._feed, name="local-api input", daemon=True).start()

    def end(self) -> None:
        """Closes the session; `taken` stays as it is from then on."""
        self._ended = True
        self._session.close()
        with self._lock:  # so that whoever hands something on has done so
            return

    def _feed(self) -> None:
        # grpc's word for a caller who left.
        with contextlib.suppress(grpc.RpcError):
            for message in self._requests:
                try:
                    with self._lock:
                        if self._ended:
                            return
                        self._hand_on(message)
                except LongshoreError as error:
                    self.failures.append(error)
                    return

    def _hand_on(self, message: Any) -> None:
        if message.HasField("stdin"):
            self.taken += self._session.write(message.stdin)
        if message.HasField("size"):
            size = decode(asks.Size, convert.to_dict(message.size))
            self._session.resize(size.rows, size.columns)
        if message.HasField("signal"):
            self._session.signal(message.signal)
        if message.stdin_end:
            self._session.end_input()
