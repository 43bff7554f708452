"""`explain` and `watch`, as a program on the node calls them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from longshore.local import convert
from longshore.local.answers import container_of
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.model.status import Change, StoryStatus
from longshore.pb.longshore.v1 import agent_pb2


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...


class StoryVerbs:
    """The part of LocalClient that tells what happens to containers."""

    def explain(self: _Client, ref: str) -> StoryStatus:
        """How it came to be as it is, and what comes next; also of one that has just gone."""
        request = message(agent_pb2.ShowRequest, ref=ref)
        reply = self._calls.ask("Explain", f"explain {ref}", request, self._by())
        rest = {**convert.to_dict(reply), "container": container_of(reply.container)}
        return StoryStatus.model_validate(rest)

    def watch(
        self: _Client,
        after: int | None = None,
        *,
        refs: Sequence[str] = (),
        kinds: Sequence[str] = (),
    ) -> Generator[Change, None, None]:
        """Changes above `after` (0: all since the agent's start; None: from now on) until the
        caller closes the iterator.

        Has subscribed when it returns: nothing that happens after is missed. One of kind `gap`
        says that some are missing before it.

        Args:
            refs: of these containers, which need not be there yet; empty: of all.
            kinds: of these kinds (`Change.kind`); empty: of all.
        """
        request = message(agent_pb2.WatchRequest, after=after, refs=refs, kinds=kinds)
        stream = self._calls.stream("Watch", "watch", request, self._by())
        return (Change.model_validate(convert.to_dict(one)) for one in stream)
