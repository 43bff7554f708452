"""What a node has and offers, as callers and operators are shown it; see status.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from longshore.model.limits import Limits
from longshore.model.value import Value


def _limits(value: Any) -> Any:
    """Strict mode takes a list for a tuple only from JSON; a newer agent knows more fields."""
    if not isinstance(value, Mapping):
        return value
    known = {name: one for name, one in value.items() if name in Limits.model_fields}
    return Limits.model_validate_json(json.dumps(known))


class Resource(Value):
    """One thing a node can run out of. `unit`: cores, bytes or count.

    `capacity`, what may be promised to containers, is (`total` - `reserved`) * `ratio`.
    """

    name: str
    unit: str
    capacity: float
    claimed: float
    free: float
    total: float = 0.0
    reserved: float = 0.0
    ratio: float = 1.0


class Shortfall(Value):
    """What a node has too little of for a container."""

    resource: str
    unit: str
    asked: float
    free: float


class FlavorStatus(Value):
    """A flavor of the node."""

    name: str
    description: str = ""
    limits: Annotated[Limits, BeforeValidator(_limits)] = Limits()


class VolumeStatus(Value):
    """A named volume. `path`: where its content is; `used_by`: names of containers."""

    name: str
    labels: dict[str, str] = {}
    created_at: float
    path: str
    used_by: tuple[str, ...] = ()


class Cannot(Value):
    """What this node cannot do, and why."""

    feature: str
    why: str


class ConvergeStatus(Value):
    """The last full pass over the node: when, how long, how many, and what it found and did."""

    at: float | None = None
    seconds: float = 0.0
    containers: int = 0
    findings: tuple[str, ...] = ()
