"""The verbs of named volumes, as oslo.messaging calls them: decode, call, encode."""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import volume_messages as asks


class Volumes:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def create_volume(self, call: Call) -> JSON:
        asked = wire.decode(asks.CreateVolume, call.message)
        return wire.encode(
            self._service.create_volume(asked.name, asked.labels, request_id=asked.request_id)
        )

    @verb
    def list_volumes(self, call: Call) -> JSON:
        wire.decode(asks.ListVolumes, call.message)
        return wire.encode(self._service.list_volumes())

    @verb
    def show_volume(self, call: Call) -> JSON:
        name = wire.decode(asks.ShowVolume, call.message).name
        return wire.encode(self._service.show_volume(name))

    @verb
    def remove_volume(self, call: Call) -> JSON:
        asked = wire.decode(asks.RemoveVolume, call.message)
        return wire.encode(self._service.remove_volume(asked.name, request_id=asked.request_id))
