"""The verbs that concern versions of a container's spec, as oslo.messaging calls them: decode,
call, encode.

No decisions, but for the lane: a rebuild that has to wait for its image waits beside the others.
"""

from __future__ import annotations

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.lifecycle import lanes
from longshore.model import version_messages as asks


class Versions:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def update(self, call: Call) -> JSON:
        asked = wire.decode(asks.Update, call.message)
        request = asked.request(call.origin)
        return wire.encode(
            self._service.update(
                request, asked.ref, asked.patch, apply=asked.apply, still=self._still
            )
        )

    @verb
    def rollback(self, call: Call) -> JSON:
        asked = wire.decode(asks.Rollback, call.message)
        request = asked.request(call.origin)
        return wire.encode(
            self._service.rollback(
                request, asked.ref, asked.version, apply=asked.apply, still=self._still
            )
        )

    @verb
    def rebuild(self, call: Call) -> JSON:
        asked = wire.decode(asks.Rebuild, call.message)
        image, policy, auth = asked.asked
        call.place.move(lanes.of_rebuild(self._service, image, policy))
        request = asked.request(call.origin)
        return wire.encode(self._service.rebuild(request, asked.ref, image, policy, auth))

    @verb
    def versions(self, call: Call) -> JSON:
        asked = wire.decode(asks.ListVersions, call.message)
        return wire.encode(self._service.versions(asked.ref))

    @verb
    def compare_versions(self, call: Call) -> JSON:
        asked = wire.decode(asks.CompareVersions, call.message)
        return wire.encode(self._service.compare_versions(asked.ref, asked.before, asked.after))

    def _still(self) -> bool:
        return not self.door.leaving.is_set()
