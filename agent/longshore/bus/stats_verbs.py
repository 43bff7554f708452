"""What containers use, as oslo.messaging asks for it: decode, call, encode."""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import stats_messages as asks


class Stats:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def stats(self, call: Call) -> JSON:
        return wire.encode(self._service.stats(wire.decode(asks.Stats, call.message).refs))

    @verb
    def top(self, call: Call) -> JSON:
        return wire.encode(self._service.top(wire.decode(asks.Top, call.message).ref))
