"""The gRPC face of lifecycle's Service, for what concerns many containers or their future: decode,
call, encode; no decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from longshore.errors import InvalidRequest
from longshore.lifecycle.service import Service
from longshore.local import convert
from longshore.local.door import Door, given_in
from longshore.model import upkeep_messages as asks
from longshore.model.message import decode
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)
#: Seconds that a caller without any deadline is served; who waits longer asks again.
_WAIT_LONGEST = 30 * 86400.0


class UpkeepService:
    """Some methods of service Agent."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {
            "List": self.list,
            "Wait": self.wait,
            "PruneContainers": self.prune,
            "Plan": self.plan,
        }

    def list(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "list"):
            asked = decode(asks.ListContainers, convert.to_dict(request))
            found = self._service.list(asked.filter)
            return agent_pb2.ListReply(containers=[_container(one) for one in found])

    def wait(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "wait"):
            given = convert.to_dict(request)
            timeout = given.pop("timeout", None)
            if timeout is not None and not 0 < timeout <= _WAIT_LONGEST:
                raise InvalidRequest(
                    f"cannot wait: timeout must be above 0 and at most {_WAIT_LONGEST:g} seconds",
                    field="timeout",
                )
            asked = decode(asks.WaitFor, given)
            return _container(
                self._service.wait(
                    asked.ref,
                    asked.condition,
                    timeout or min(context.time_remaining() or _WAIT_LONGEST, _WAIT_LONGEST),
                    still=lambda: context.is_active() and not self._door.leaving.is_set(),
                )
            )

    def prune(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "prune_containers", "prune containers"):
            asked = decode(asks.PruneContainers, convert.to_dict(request))
            origin = self._door.origin(context)
            LOG.info("prune of containers asked by %s, request %s", origin, asked.request_id)
            pruned = self._service.prune_containers(
                asked.labels, asked.age, request_id=asked.request_id, origin=origin
            )
            return convert.fill(agent_pb2.PruneStatus(), pruned.to_dict())

    def plan(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "plan", "plan the change"):
            asked = decode(asks.PlanChange, given_in("plan the change", request))
            planned = self._service.plan(asked.ref, asked.patch)
            return convert.fill(agent_pb2.PlanStatus(), planned.to_dict())


def _container(status: Any) -> Any:
    return convert.fill(agent_pb2.ContainerStatus(), status.to_dict())
