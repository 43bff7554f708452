"""The verbs of named volumes, as a program on the node calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from longshore.local import convert
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.model.status import VolumeStatus
from longshore.pb.longshore.v1 import agent_pb2


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...


class VolumeVerbs:
    """The part of LocalClient that concerns volumes. `request_id`: a uuid; None: a new one."""

    def create_volume(
        self: _Client,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        request_id: str | None = None,
    ) -> VolumeStatus:
        """One that is there with these labels is fine; VolumeExists for others."""
        id = request_id or str(uuid4())
        request = message(agent_pb2.CreateVolumeRequest, name=name, labels=labels, request_id=id)
        what = f"create volume {name}"
        return _volume(self._calls.change("CreateVolume", what, request, self._by(), id))

    def list_volumes(self: _Client) -> Sequence[VolumeStatus]:
        """By name."""
        request = agent_pb2.ListVolumesRequest()
        reply = self._calls.ask("ListVolumes", "list volumes", request, self._by())
        return [_volume(one) for one in reply.volumes]

    def show_volume(self: _Client, name: str) -> VolumeStatus:
        request = message(agent_pb2.VolumeRequest, name=name)
        return _volume(self._calls.ask("ShowVolume", f"show volume {name}", request, self._by()))

    def remove_volume(self: _Client, name: str, *, request_id: str | None = None) -> VolumeStatus:
        """With its content; VolumeInUse while a container has it."""
        id = request_id or str(uuid4())
        request = message(agent_pb2.RemoveVolumeRequest, name=name, request_id=id)
        what = f"remove volume {name}"
        return _volume(self._calls.change("RemoveVolume", what, request, self._by(), id))


def _volume(reply: Any) -> VolumeStatus:
    return VolumeStatus.model_validate(convert.to_dict(reply))
