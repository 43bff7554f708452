"""The verbs for many containers, and for their future, as oslo.messaging calls them: decode, call,
encode."""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import upkeep_messages as asks


class Upkeep:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def list(self, call: Call) -> JSON:
        asked = wire.decode(asks.ListContainers, call.message)
        return wire.encode(self._service.list(asked.filter))

    @verb
    def wait(self, call: Call) -> JSON:
        asked = wire.decode(asks.WaitFor, call.message)
        return wire.encode(
            self._service.wait(
                asked.ref,
                asked.condition,
                asked.timeout,
                still=lambda: not self.door.leaving.is_set(),
            )
        )

    @verb
    def prune_containers(self, call: Call) -> JSON:
        asked = wire.decode(asks.PruneContainers, call.message)
        return wire.encode(
            self._service.prune_containers(
                asked.labels, asked.age, request_id=asked.request_id, origin=call.origin
            )
        )

    @verb
    def plan(self, call: Call) -> JSON:
        asked = wire.decode(asks.PlanChange, call.message)
        return wire.encode(self._service.plan(asked.ref, asked.patch))
