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

from longshore.errors import InvalidRequest, LongshoreError
from longshore.lifecycle.service import Service
from longshore.local import convert, stall
from longshore.local.door import Door
from longshore.local.peers import BEGUN
from longshore.local.service import STREAMS
from longshore.local.stall import Watchdog
from longshore.model import exec_messages as asks
from longshore.model.execs import Session
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
                yield from self._served(session, requests, context, agent_pb2.ExecOutput, what)

    def attach(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """A process goes on when who is attached leaves."""
        what = "attach"
        with self._door.serving(context, "attach", lane=STREAMS):
            asked = decode(asks.Attach, convert.to_dict(_first(requests, context)))
            LOG.info("attaching to %s asked by %s", asked.ref, self._door.origin(context))
            with closing(
                self._service.attach(asked.ref, stdin=asked.stdin, from_start=asked.from_start)
            ) as session:
                if asked.size is not None:
                    session.resize(asked.size.rows, asked.size.columns)
                context.send_initial_metadata((BEGUN,))
                yield agent_pb2.AttachOutput(stdout=b"")
                yield from self._served(session, requests, context, agent_pb2.AttachOutput, what)

    def _served(
        self,
        session: Session,
        requests: Iterator[Any],
        context: grpc.ServicerContext,
        reply: Any,
        what: str,
    ) -> Iterator[Any]:
        """What it writes and then its exit code, until the caller has left."""
        failures: list[LongshoreError] = []
        feeding = threading.Thread(
            target=_feed, args=(session, requests, failures), name="local-api input", daemon=True
        )
        feeding.start()
        while (code := session.exit_code) is None:
            if not context.is_active():
                return
            self._door.check_open(what)
            if failures:
                raise failures[0]
            output = session.read(_LOOK)
            if output is not None:
                yield reply(**{output.stream: output.data})
        yield reply(exit_code=code)


def _first(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    """The start, which says everything."""
    with Watchdog(context, stall.STALL) as watchdog, watchdog.waiting():
        message = next(requests, None)
    if message is None or not message.HasField("start"):
        raise InvalidRequest("cannot begin: the first message must be the start", field="start")
    return message.start


def _feed(session: Session, requests: Iterator[Any], failures: list[LongshoreError]) -> None:
    """Hands on what the caller sends, until it has left or the call is over."""
    # grpc's word for a caller who left.
    with contextlib.suppress(grpc.RpcError):
        for message in requests:
            try:
                _hand_on(session, message)
            except LongshoreError as error:
                failures.append(error)
                return


def _hand_on(session: Session, message: Any) -> None:
    if message.HasField("stdin"):
        session.write(message.stdin)
    if message.HasField("size"):
        size = decode(asks.Size, convert.to_dict(message.size))
        session.resize(size.rows, size.columns)
    if message.HasField("signal"):
        session.signal(message.signal)
    if message.stdin_end:
        session.end_input()
