"""Commands in containers, as oslo.messaging calls for them: decode, call, encode."""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import exec_messages as asks


class Execs:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def execute(self, call: Call) -> JSON:
        asked = wire.decode(asks.Execute, call.message)
        return wire.encode(
            self._service.execute(
                asked.request_id,
                asked.ref,
                asked.asked(),
                timeout=asked.timeout,
                output_max=asked.output_max,
            )
        )
