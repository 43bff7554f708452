"""The gRPC face of lifecycle's Service, for what operates a container: decode, call, encode; no
decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc

from longshore.lifecycle.service import Service
from longshore.local import convert
from longshore.local.door import Door, given_in
from longshore.model import operation_messages as asks
from longshore.model.message import decode
from longshore.model.request import Request
from longshore.model.status import ContainerStatus
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)
Asked = TypeVar("Asked", bound=asks.Operation)


class OperationService:
    """The methods of service Agent that operate containers."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {
            "Restart": self.restart,
            "Kill": self.kill,
            "Pause": self.pause,
            "Unpause": self.unpause,
            "Rename": self.rename,
        }

    def restart(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request,
            context,
            asks.Restart,
            lambda by, one: self._service.restart(by, one.ref, grace=one.grace),
        )

    def kill(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request,
            context,
            asks.Kill,
            lambda by, one: self._service.kill(by, one.ref, signal=one.signal),
        )

    def pause(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request, context, asks.Pause, lambda by, one: self._service.pause(by, one.ref)
        )

    def unpause(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request, context, asks.Unpause, lambda by, one: self._service.unpause(by, one.ref)
        )

    def rename(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._change(
            request,
            context,
            asks.Rename,
            lambda by, one: self._service.rename(by, one.ref, one.name),
        )

    def _change(
        self,
        request: Any,
        context: grpc.ServicerContext,
        kind: type[Asked],
        call: Callable[[Request, Asked], ContainerStatus],
    ) -> Any:
        with self._door.serving(context, kind.verb):
            by, asked = asked_of(kind, request, context, self._door)
            status = call(by, asked)
            return convert.fill(agent_pb2.ContainerStatus(), status.to_dict())


def asked_of(
    kind: type[Asked], request: Any, context: grpc.ServicerContext, door: Door
) -> tuple[Request, Asked]:
    """Who asks, and for what. Raises InvalidRequest."""
    given = given_in(kind.verb, request)
    # Over the bus the intent's fields stand beside the others.
    asked = decode(kind, {**given.pop("intent", {}), **given}, "wait")
    by = asked.request(door.origin(context))
    LOG.info("%s %s asked by %s, request %s", kind.verb, asked.ref, by.origin, by.id)
    return by, asked
