"""The verb of containers' logs, as oslo.messaging calls it: decode, call, encode."""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import log_messages as asks


class Logs:
    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def logs(self, call: Call) -> JSON:
        asked = wire.decode(asks.Logs, call.message)
        return wire.encode(
            self._service.recent_logs(
                asked.ref,
                tail=asked.tail,
                max_bytes=asked.max_bytes,
                since=asked.after,
                until=asked.before,
                stream=asked.stream,
            )
        )
