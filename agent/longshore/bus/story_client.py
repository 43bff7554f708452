"""`explain` and `events`, as a scheduler calls them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from longshore.bus.image_client import one_of
from longshore.model.status import EventsStatus, StoryStatus

#: Seconds for an answer to come, beside those that it waits for something to happen.
_ROUND_TRIP = 15.0


class StoryVerbs(ABC):
    """The part of ComputeClient that tells what happened. `deadline`: seconds; None: enough."""

    def explain(self, node: str, ref: str, *, deadline: float | None = None) -> StoryStatus:
        """How it came to be as it is, and what comes next; also of one that has just gone."""
        return one_of(StoryStatus, self._ask(node, "explain", {"ref": ref}, deadline))

    def events(
        self,
        node: str,
        after: int | None = None,
        *,
        refs: Sequence[str] = (),
        kinds: Sequence[str] = (),
        timeout: float = 30.0,
        deadline: float | None = None,
    ) -> EventsStatus:
        """Changes above `after`; waits up to `timeout` seconds (60 at most) for the first.

        Ask again with the `last` of the answer. One that is None asks for nothing but that: the
        number to begin with. A change of kind `gap` says that some are missing before it.
        """
        message = {
            "after": after,
            "refs": list(refs),
            "kinds": list(kinds),
            "timeout": timeout,
        }
        patience = timeout + _ROUND_TRIP if deadline is None else deadline
        return one_of(EventsStatus, self._ask(node, "events", message, patience))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
