"""The messages that ask what containers use."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from longshore.model.message import Message, Ref

#: Seconds between two readings for one who follows them.
INTERVAL_MIN, INTERVAL_MAX = 0.25, 3600.0


class StatsMessage(Message):
    since: ClassVar[str] = "1.3"


class Stats(StatsMessage):
    """`refs`: empty: all that run."""

    verb = "stats"
    refs: list[Ref] = Field(default_factory=list, max_length=4096)


class FollowStats(Stats):
    """`interval`: seconds between two replies; None: there is one."""

    interval: (
        Annotated[float, Field(ge=INTERVAL_MIN, le=INTERVAL_MAX, allow_inf_nan=False)] | None
    ) = None


class Top(StatsMessage):
    verb = "top"
    ref: Ref
