"""The automatic starts of a container, read from its story."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longshore.model.status import StoryStatus

_WAITS, _BEGINS = " → restarting: ", "restarting → starting: "


@dataclass(frozen=True)
class Start:
    """`number`: from 0; `at`: Unix seconds; `pause`: seconds since the run before was over."""

    number: int
    at: float
    pause: float


def starts(story: StoryStatus) -> Sequence[Start]:
    """All that there were: a story forgets what is older than its newest hundred entries, which
    are three for each.

    Raises:
        ValueError: it has forgotten some.
    """
    found: list[Start] = []
    ended = 0.0
    for entry in story.entries:
        if _WAITS in entry.what:
            ended = entry.at
        elif entry.what.startswith(_BEGINS):
            found.append(Start(len(found), entry.at, entry.at - ended))
    if len(found) < story.container.restarts:
        raise ValueError(
            f"cannot tell the starts of {story.container.name}: the first are forgotten"
        )
    return found


def most_at_once(those: Iterable[Start], seconds: float) -> int:
    """The most starts within any so many seconds."""
    times = sorted(one.at for one in those)
    return max(
        (sum(at <= other < at + seconds for other in times[i:]) for i, at in enumerate(times)),
        default=0,
    )


def too_fast(those: Iterable[Start], rate: float) -> Sequence[Start]:
    """Those of all containers that came before it was their turn, counted from when the first of
    them had ended. (What waited for a free worker may come at once.)"""
    ordered = sorted(those, key=lambda one: one.at)
    first = min((one.at - one.pause for one in ordered), default=0.0)
    return [one for turn, one in enumerate(ordered) if one.at < first + turn / rate]
