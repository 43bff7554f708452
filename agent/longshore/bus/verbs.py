"""The verbs of containers and of the node, as oslo.messaging calls them: decode, call, encode.

No decisions, but for the lane: what has to wait for an image waits beside the others.
"""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.lifecycle import lanes
from longshore.model import spec
from longshore.model import volume_messages as asks


class Containers:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def create(self, call: Call) -> JSON:
        request, wanted, start, credential = wire.decode_create(call.message, call.origin)
        call.place.move(lanes.of_create(self._service, wanted))
        return wire.encode(
            self._service.create(request, wanted, start=start, credential=credential)
        )

    @verb
    def start(self, call: Call) -> JSON:
        asked = wire.decode(wire.Start, call.message)
        call.place.move(lanes.of_start(self._service, asked.ref))
        return wire.encode(self._service.start(asked.request(call.origin), asked.ref))

    @verb
    def stop(self, call: Call) -> JSON:
        asked = wire.decode(wire.Stop, call.message)
        request = asked.request(call.origin)
        return wire.encode(self._service.stop(request, asked.ref, grace=asked.grace))

    @verb
    def delete(self, call: Call) -> JSON:
        asked = wire.decode(wire.Delete, call.message)
        request = asked.request(call.origin)
        return wire.encode(self._service.delete(request, asked.ref, force=asked.force))

    @verb
    def show(self, call: Call) -> JSON:
        return wire.encode(self._service.show(wire.decode(wire.Show, call.message).ref))

    @verb
    def fits(self, call: Call) -> JSON:
        asked = wire.decode(asks.Fits, call.message)
        return wire.encode(self._service.fits(spec.parse(asked.spec)))

    @verb
    def list_flavors(self, call: Call) -> JSON:
        wire.decode(asks.ListFlavors, call.message)
        return wire.encode(self._service.list_flavors())

    @verb
    def node_status(self, call: Call) -> JSON:
        wire.decode(wire.ShowNode, call.message)
        return wire.encode(self._service.node_status())
