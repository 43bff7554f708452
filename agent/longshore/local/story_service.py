"""The gRPC face of lifecycle's Service, for what happened and happens: decode, call, encode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc

from longshore.lifecycle.service import Service
from longshore.local import convert
from longshore.local.door import Door
from longshore.local.peers import BEGUN
from longshore.local.service import STREAMS
from longshore.model import story_messages as asks
from longshore.model.message import decode
from longshore.pb.longshore.v1 import agent_pb2

#: Seconds after which it is noticed that the caller left, or the agent stops.
_LOOK = 0.5


class StoryService:
    """The methods of service Agent that tell what happens to containers."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {"Explain": self.explain, "Watch": self.watch}

    def explain(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "explain"):
            asked = decode(asks.Explain, convert.to_dict(request))
            story = self._service.explain(asked.ref)
            return convert.fill(agent_pb2.StoryStatus(), story.to_dict())

    def watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._door.serving(context, "watch", lane=STREAMS):
            asked = decode(asks.Watch, convert.to_dict(request))
            seen = self._service.last_change() if asked.after is None else asked.after
            context.send_initial_metadata((BEGUN,))
            while context.is_active() and not self._door.leaving.is_set():
                for change in self._service.changes(seen, _LOOK):
                    seen = change.seq
                    if asked.interest.has(change):
                        yield convert.fill(agent_pb2.Change(), change.to_dict())
