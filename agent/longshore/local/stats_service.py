"""The gRPC face of lifecycle's Service, for what containers use: decode, call, encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from longshore.lifecycle.service import Service
from longshore.local import convert
from longshore.local.door import Door
from longshore.local.peers import BEGUN
from longshore.local.service import STREAMS
from longshore.model import stats_messages as asks
from longshore.model.message import decode
from longshore.model.status import ContainerStats
from longshore.pb.longshore.v1 import agent_pb2

_WHAT = "read the stats"
#: Seconds between two looks whether the caller, and the agent, are still there.
_LOOK = 0.5


class StatsService:
    """The methods of service Agent that tell what containers use."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {"Stats": self.stats, "Top": self.top}

    def stats(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        lane = STREAMS if request.HasField("interval") else None
        with self._door.serving(context, "stats", _WHAT, lane=lane):
            asked = decode(asks.FollowStats, convert.to_dict(request))
            reading = self._service.stats(asked.refs)
            context.send_initial_metadata((BEGUN,))
            yield _reply(reading)
            due = time.monotonic()
            while asked.interval is not None:
                # By the clock, so that the time a reading takes adds up to nothing; who takes them
                # more slowly than that misses some.
                due = max(due + asked.interval, time.monotonic())
                while (left := due - time.monotonic()) > 0 and self._goes_on(context):
                    self._door.leaving.wait(min(left, _LOOK))
                self._door.check_open(_WHAT)
                if not context.is_active():
                    return
                yield _reply(self._service.stats(asked.refs, again=True))

    def top(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "top", "list the processes"):
            asked = decode(asks.Top, convert.to_dict(request))
            found = self._service.top(asked.ref)
            return agent_pb2.TopReply(
                processes=[agent_pb2.ProcessStatus(**one.to_dict()) for one in found]
            )

    def _goes_on(self, context: grpc.ServicerContext) -> bool:
        return context.is_active() and not self._door.leaving.is_set()


def _reply(reading: Sequence[ContainerStats]) -> Any:
    return agent_pb2.StatsReply(containers=[_message(one) for one in reading])


def _message(one: ContainerStats) -> Any:
    # protobuf's own way from dicts takes a seventh of the time of ours, which knows conventions
    # that these messages have not; and the fields as they are half of that of `to_dict`.
    fields = vars(one)
    lists = {name: list(map(vars, fields[name])) for name in ("block", "network", "pressure")}
    return agent_pb2.ContainerStats(
        **{**fields, **lists, "cpu": vars(one.cpu), "memory": vars(one.memory)}
    )
