"""The gRPC face of lifecycle's Service, for named volumes: decode, call, encode; no decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from longshore.lifecycle.service import Service
from longshore.local import convert
from longshore.local.door import Door
from longshore.model import volume_messages as asks
from longshore.model.message import decode
from longshore.model.status import VolumeStatus
from longshore.pb.longshore.v1 import agent_pb2

LOG = logging.getLogger(__name__)


class VolumeService:
    """The methods of service Agent that concern volumes."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By their names in agent.proto."""
        return {
            "CreateVolume": self.create_volume,
            "ListVolumes": self.list_volumes,
            "ShowVolume": self.show_volume,
            "RemoveVolume": self.remove_volume,
        }

    def create_volume(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "create_volume", "create the volume"):
            asked = decode(asks.CreateVolume, convert.to_dict(request))
            self._log(context, "creation", asked)
            return _volume(
                self._service.create_volume(asked.name, asked.labels, request_id=asked.request_id)
            )

    def list_volumes(self, request: Any, context: grpc.ServicerContext) -> Any:
        del request
        with self._door.serving(context, "list_volumes", "list volumes"):
            return agent_pb2.VolumeList(volumes=map(_volume, self._service.list_volumes()))

    def show_volume(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "show_volume", "show the volume"):
            asked = decode(asks.ShowVolume, convert.to_dict(request))
            return _volume(self._service.show_volume(asked.name))

    def remove_volume(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door.serving(context, "remove_volume", "remove the volume"):
            asked = decode(asks.RemoveVolume, convert.to_dict(request))
            self._log(context, "removal", asked)
            return _volume(self._service.remove_volume(asked.name, request_id=asked.request_id))

    def _log(
        self,
        context: grpc.ServicerContext,
        what: str,
        asked: asks.CreateVolume | asks.RemoveVolume,
    ) -> None:
        LOG.info(
            "%s of volume %s asked by %s, request %s",
            *(what, asked.name, self._door.origin(context), asked.request_id),
        )


def _volume(status: VolumeStatus) -> Any:
    return convert.fill(agent_pb2.VolumeStatus(), status.to_dict())
