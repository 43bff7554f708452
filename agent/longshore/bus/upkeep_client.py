"""The verbs for many containers, and for their future, as a scheduler calls them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from longshore.bus.image_client import all_of, one_of
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.status import ContainerStatus, PlanStatus, PruneStatus

#: Seconds beyond those that the agent waits, so that it says itself that they are over.
_MARGIN = 5.0


class UpkeepVerbs(ABC):
    """The part of ComputeClient that concerns many containers."""

    def list(
        self, node: str, filter: Filter = EVERYTHING, *, deadline: float | None = None
    ) -> Sequence[ContainerStatus]:
        """Those that it lets through; all of the node, oldest first, unless it says otherwise.

        An agent of an older release than this refuses a filter.
        """
        default = vars(EVERYTHING)
        message = {name: one for name, one in vars(filter).items() if one != default[name]}
        return all_of(ContainerStatus, self._ask(node, "list", message, deadline))

    def wait(
        self,
        node: str,
        ref: str,
        condition: str = "not-running",
        *,
        timeout: float = 60.0,
        deadline: float | None = None,
    ) -> ContainerStatus:
        """Returns once it is `not-running`, `removed`, `running` or `healthy`, or, with
        `next-exit`, has ended since the agent was asked. Conflict for what cannot come about any
        more, DeadlineExceeded after `timeout` seconds, at most 3600.

        Args:
            deadline: of the call; None: a little more than `timeout`.
        """
        message = {"ref": ref, "condition": condition, "timeout": timeout}
        by = timeout + _MARGIN if deadline is None else deadline
        return one_of(ContainerStatus, self._ask(node, "wait", message, by))

    def prune_containers(
        self,
        node: str,
        labels: Sequence[str] = (),
        age: float = 0.0,
        *,
        request_id: str | None = None,
        deadline: float | None = None,
    ) -> PruneStatus:
        """Deletes those that do not run, have all these labels (`key`, `key=value`) and ended, or
        were made and never started, at least `age` seconds ago."""
        message = {
            "request_id": request_id or str(uuid4()),
            "labels": list(labels),
            "age": age,
        }
        return one_of(PruneStatus, self._ask(node, "prune_containers", message, deadline))

    def plan(
        self,
        node: str,
        ref: str,
        patch: Mapping[str, Any],
        *,
        deadline: float | None = None,
    ) -> PlanStatus:
        """What a merge patch (RFC 7396) of its spec would take, field by field."""
        message = {"ref": ref, "patch": dict(patch)}
        return one_of(PlanStatus, self._ask(node, "plan", message, deadline))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
