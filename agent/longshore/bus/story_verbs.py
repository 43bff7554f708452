"""`explain` and `events`, as oslo.messaging calls them: decode, call, encode."""

from __future__ import annotations

import time
from collections.abc import Sequence

import oslo_messaging

from longshore.bus import wire
from longshore.bus.endpoint import JSON, Call, Door, verb
from longshore.model import story_messages as asks
from longshore.model.status import Change, EventsStatus

#: Changes in one answer; who asks again gets the next ones.
_MOST = 1000
#: Seconds after which it is noticed that the agent stops.
_LOOK = 0.5


class Stories:
    """One method for each verb."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self, door: Door) -> None:
        self.door = door
        self._service = door.service

    @verb
    def explain(self, call: Call) -> JSON:
        return wire.encode(self._service.explain(wire.decode(asks.Explain, call.message).ref))

    @verb
    def events(self, call: Call) -> JSON:
        """Answers with the first changes that are of interest, or with none after its timeout."""
        asked = wire.decode(asks.Events, call.message)
        if asked.after is None:
            return wire.encode(EventsStatus(last=self._service.last_change()))
        until = time.monotonic() + asked.timeout
        seen, found = asked.after, list[Change]()
        while not found:
            left = until - time.monotonic()
            news: Sequence[Change] = self._service.changes(seen, min(max(left, 0.0), _LOOK))[:_MOST]
            found = [one for one in news if asked.interest.has(one)]
            seen = news[-1].seq if news else seen
            if left <= 0 and not news:
                break
            self.door.check_open("events")
        return wire.encode(EventsStatus(changes=tuple(found), last=seen))
