"""A request as the journal remembers it, so that the same one again gets the same answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longshore import errors
from longshore.model.status import ContainerStatus


@dataclass(frozen=True)
class Requested:
    """`container`: its id, or `volume NAME`.

    `fingerprint` is of everything asked but the waiting; empty if an older release had its own way
    to make it. `outcome` None while it is open.
    """

    id: str
    container: str
    verb: str
    fingerprint: str
    generation: int
    asked_at: float
    outcome: Mapping[str, Any] | None = None

    def check_same(self, verb: str, container: str, arguments: Mapping[str, Any]) -> None:
        """Raises RequestConflict if something else was asked for under this id."""
        if self.fingerprint:
            same = self.fingerprint == fingerprint(verb, arguments)
        else:
            same = (self.verb, self.container) == (verb, container)
        if not same:
            raise errors.RequestConflict(
                f"cannot {verb} {container}: request {self.id} was used before, for {self.verb} "
                f"of {self.container} with other arguments",
                field="request_id",
                object=self.id,
                hint="a new request needs a new id",
            )

    def result(self) -> ContainerStatus:
        """What came of it, for one that is answered.

        Raises:
            LongshoreError: it came to that.
        """
        assert self.outcome is not None
        if "error" in self.outcome:
            raise errors.from_dict(self.outcome["error"])
        return ContainerStatus.model_validate(self.outcome["status"])


def succeeded(status: ContainerStatus) -> Mapping[str, Any]:
    return {"status": status.to_dict()}


def failed(error: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"error": error}


def fingerprint(verb: str, arguments: Mapping[str, Any]) -> str:
    """The same for the same request in any order of keys."""
    text = json.dumps([verb, arguments], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
