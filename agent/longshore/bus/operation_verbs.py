"""The verbs that operate a container, as oslo.messaging calls them: decode, call, encode."""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import operation_messages as asks


class Operations:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def restart(self, call: Call) -> JSON:
        asked = wire.decode(asks.Restart, call.message)
        request = asked.request(call.origin)
        return wire.encode(self._service.restart(request, asked.ref, grace=asked.grace))

    @verb
    def kill(self, call: Call) -> JSON:
        asked = wire.decode(asks.Kill, call.message)
        request = asked.request(call.origin)
        return wire.encode(self._service.kill(request, asked.ref, signal=asked.signal))

    @verb
    def pause(self, call: Call) -> JSON:
        asked = wire.decode(asks.Pause, call.message)
        return wire.encode(self._service.pause(asked.request(call.origin), asked.ref))

    @verb
    def unpause(self, call: Call) -> JSON:
        asked = wire.decode(asks.Unpause, call.message)
        return wire.encode(self._service.unpause(asked.request(call.origin), asked.ref))

    @verb
    def rename(self, call: Call) -> JSON:
        asked = wire.decode(asks.Rename, call.message)
        return wire.encode(self._service.rename(asked.request(call.origin), asked.ref, asked.name))
