"""The gRPC face of lifecycle's Service, for versions of a container's spec: decode, call, encode.

No decisions, but for the lane: a rebuild that has to wait for its image waits beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from longshore.lifecycle import lanes
from longshore.lifecycle.service import Service
from longshore.local import convert
from longshore.local.door import Door
from longshore.local.operation_service import Asked, asked_of
from longshore.model import version_messages as asks
from longshore.model.message import decode
from longshore.model.request import Request
from longshore.model.status import ContainerStatus
from longshore.pb.longshore.v1 import agent_pb2


class VersionService:
    """The methods of service Agent that concern versions."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {
            "Update": self.update,
            "Rollback": self.rollback,
            "Rebuild": self.rebuild,
            "Versions": self.versions,
            "CompareVersions": self.compare_versions,
        }

    def update(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request,
            context,
            asks.Update,
            lambda by, one: self._service.update(
                by, one.ref, one.patch, apply=one.apply, still=self._still(context)
            ),
        )

    def rollback(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request,
            context,
            asks.Rollback,
            lambda by, one: self._service.rollback(
                by, one.ref, one.version, apply=one.apply, still=self._still(context)
            ),
        )

    def rebuild(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "rebuild") as place:
            by, one = asked_of(asks.Rebuild, request, context, self._door)
            image, policy, auth = one.asked
            place.move(lanes.of_rebuild(self._service, image, policy))
            return _container(self._service.rebuild(by, one.ref, image, policy, auth))

    def versions(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "versions", "list the versions"):
            asked = decode(asks.ListVersions, convert.to_dict(request))
            found = [one.to_dict() for one in self._service.versions(asked.ref)]
            return convert.fill(agent_pb2.VersionList(), {"versions": found})

    def compare_versions(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "compare_versions", "compare the versions"):
            asked = decode(asks.CompareVersions, convert.to_dict(request))
            changes = self._service.compare_versions(asked.ref, asked.before, asked.after)
            found = [one.to_dict() for one in changes]
            return convert.fill(agent_pb2.FieldChangeList(), {"changes": found})

    def _change(
        self,
        request: Any,
        context: grpc.ServicerContext,
        kind: type[Asked],
        call: Callable[[Request, Asked], ContainerStatus],
    ) -> Any:
        with self._door.serving(context, kind.verb):
            by, asked = asked_of(kind, request, context, self._door)
            return _container(call(by, asked))

    def _still(self, context: grpc.ServicerContext) -> Callable[[], bool]:
        return lambda: context.is_active() and not self._door.leaving.is_set()


def _container(status: ContainerStatus) -> Any:
    return convert.fill(agent_pb2.ContainerStatus(), status.to_dict())
