"""The verbs for many containers, and for their future, as a program on the node calls them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from longshore.errors import ContainerNotFound, DeadlineExceeded, Interrupted
from longshore.local import convert
from longshore.local.answers import container_of, json_of
from longshore.local.calls import Calls
from longshore.local.image_client import message
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.status import ContainerStatus, PlanStatus, PruneStatus
from longshore.pb.longshore.v1 import agent_pb2

#: Seconds of one call of a wait that has no end; and what one that has an end gets on top, so that
#: the agent says itself that it is over.
_LONG, _MARGIN = 86400.0, 5.0
#: What is true of a container that is gone.
_TRUE_OF_NONE = frozenset({"removed", "not-running", "next-exit"})


class _Client(Protocol):
    """What LocalClient has, and these verbs call with."""

    _calls: Calls

    def _by(self, patience: float = 0) -> float: ...

    def show(self, ref: str) -> ContainerStatus: ...


class UpkeepVerbs:
    """The part of LocalClient that concerns many containers, and their future."""

    def list(self: _Client, filter: Filter = EVERYTHING) -> Sequence[ContainerStatus]:
        """Those that it lets through; all of the node, oldest first, unless it says otherwise."""
        given = {name: one for name, one in vars(filter).items() if one not in ((), None)}
        request = message(agent_pb2.ListRequest, **given)
        reply = self._calls.ask("List", "list", request, self._by())
        return [container_of(one) for one in reply.containers]

    def wait(
        self: _Client, ref: str, condition: str = "not-running", timeout: float | None = None
    ) -> ContainerStatus:
        """Returns once it is `not-running`, `removed`, `running` or `healthy`, or, with
        `next-exit`, has ended since the call; also when the agent is restarted meanwhile. What it
        was like comes back of one that is gone, with state `absent`.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            Conflict: it cannot come about any more.
            DeadlineExceeded: not in time.
        """
        was = self.show(ref)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONG if end is None else max(0.001, end - time.monotonic())
            request = message(agent_pb2.WaitRequest, ref=was.id, condition=condition, timeout=left)
            by = time.monotonic() + left + _MARGIN
            try:
                return container_of(self._calls.once("Wait", f"wait for {ref}", request, by))
            except DeadlineExceeded as error:
                # Said by the agent, unless it went away.
                if end is not None and ("condition" in error.details or time.monotonic() > end):
                    raise
            except Interrupted:
                pass
            except ContainerNotFound:
                # It went in the moment after `show`.
                if condition not in _TRUE_OF_NONE:
                    raise
                return was.model_copy(update={"state": "absent"})
            try:
                now = self.show(was.id)
            except ContainerNotFound:
                continue
            if condition == "next-exit" and now.finished_at not in (None, was.finished_at):
                return now

    def prune_containers(
        self: _Client,
        labels: Sequence[str] = (),
        age: float = 0.0,
        *,
        request_id: str | None = None,
    ) -> PruneStatus:
        """Deletes those that do not run, have all these labels (`key`, `key=value`) and ended, or
        were made and never started, at least `age` seconds ago."""
        id = request_id or str(uuid4())
        request = message(
            agent_pb2.PruneContainersRequest, request_id=id, labels=list(labels), age=age
        )
        what = "prune containers"
        reply = self._calls.change("PruneContainers", what, request, self._by(), id)
        return PruneStatus.model_validate(convert.to_dict(reply))

    def plan(self: _Client, ref: str, patch: Mapping[str, Any]) -> PlanStatus:
        """What a merge patch (RFC 7396) of its spec would take, field by field."""
        request = message(agent_pb2.PlanRequest, ref=ref, patch_json=json_of(patch, "plan"))
        reply = self._calls.ask("Plan", f"plan a change of {ref}", request, self._by())
        return PlanStatus.model_validate(convert.to_dict(reply))
