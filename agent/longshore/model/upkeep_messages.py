"""The messages of those who tend many containers: list, wait, prune, and plan a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from longshore.model.filters import (
    EVERYTHING,
    HEALTH,
    LIMIT_MAX,
    STATES,
    TEXT_MAX,
    VALUES_MAX,
    Filter,
    image_fault,
    name_fault,
    sort_fault,
)
from longshore.model.message import Message, Ref, RequestId
from longshore.model.values import no_nul, one_of

#: Seconds. What waits by the bus holds one of its threads.
WAIT_DEFAULT, WAIT_MAX = 60.0, 3600.0
#: Of containers that ended longer ago nobody asks.
_AGE_MAX = 1e10


def _without(fault: Callable[[str], str | None]) -> AfterValidator:
    def checked(value: str) -> str:
        why = fault(value)
        if why:
            raise ValueError(why)
        return value

    return AfterValidator(checked)


def _label(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError("must be key or key=value")
    return text


_Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX), AfterValidator(no_nul)]
Labels = Annotated[
    tuple[Annotated[_Text, AfterValidator(_label)], ...],
    # From JSON a list, which strict mode takes for a tuple in JSON alone.
    Field(max_length=VALUES_MAX, strict=False),
]


class ListContainers(Message):
    """As `model.filters.Filter`. An agent of 1.2 knows it with no key at all."""

    verb = "list"
    newer: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("labels", "states", "names", "ids", "images", "health", "sort", "limit", "after"), "1.3"
    )
    labels: Labels = ()
    states: Annotated[
        tuple[Annotated[str, one_of(f"state: one of {', '.join(STATES)}", STATES)], ...],
        Field(max_length=VALUES_MAX, strict=False),
    ] = ()
    names: Annotated[
        tuple[Annotated[_Text, _without(name_fault)], ...],
        Field(max_length=VALUES_MAX, strict=False),
    ] = ()
    ids: Annotated[tuple[_Text, ...], Field(max_length=VALUES_MAX, strict=False)] = ()
    images: Annotated[
        tuple[Annotated[_Text, _without(image_fault)], ...],
        Field(max_length=VALUES_MAX, strict=False),
    ] = ()
    health: Annotated[
        tuple[Annotated[str, one_of(f"health: one of {', '.join(HEALTH)}", HEALTH)], ...],
        Field(max_length=VALUES_MAX, strict=False),
    ] = ()
    sort: Annotated[str, _without(sort_fault)] = EVERYTHING.sort
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] | None = None
    after: _Text | None = None

    @property
    def filter(self) -> Filter:
        return Filter(**dict(self))


class UpkeepMessage(Message):
    since: ClassVar[str] = "1.3"


class WaitFor(UpkeepMessage):
    """`timeout`: seconds, after which the answer is DeadlineExceeded."""

    verb = "wait"
    ref: Ref
    condition: Literal["not-running", "next-exit", "removed", "running", "healthy"] = "not-running"
    timeout: Annotated[float, Field(gt=0, le=WAIT_MAX, allow_inf_nan=False)] = WAIT_DEFAULT


class PruneContainers(UpkeepMessage):
    """`age`: seconds since it ended."""

    verb = "prune_containers"
    request_id: RequestId
    labels: Labels = ()
    age: Annotated[float, Field(ge=0, le=_AGE_MAX, allow_inf_nan=False)] = 0.0


class PlanChange(UpkeepMessage):
    """`patch`: of the spec, as RFC 7396 has it."""

    verb = "plan"
    ref: Ref
    patch: dict[str, Any]
