"""Decisions about containers' logs: when a place in one is worth a note, and how much is kept.

A log's time index is a row of marks. A mark says: up to this offset it had been written at that
time. So what lies between two marks was written by the time of the second, and after that of the
first; the time of a line is that of its last byte. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STREAMS = ("stdout", "stderr")
#: Bytes between two marks of the same second: the index stays below a sixtieth of the log, beside
#: one mark for each second in which something was written.
_WORTH = 1024
#: What is left of one that has become too large: enough room that it is not cut at each look.
_LOW = 0.75


@dataclass(frozen=True)
class Mark:
    """`at`: Unix seconds by which the first `offset` bytes had been written."""

    offset: int
    at: float


def lines_of(data: bytes) -> list[bytes]:
    """With their ends; the last may have none."""
    parts = data.split(b"\n")
    whole = [part + b"\n" for part in parts[:-1]]
    return [*whole, parts[-1]] if parts[-1] else whole


def is_worth(last: Mark, new: Mark) -> bool:
    """Whether the index needs a mark here, if it may come to be its last for long."""
    return new.offset - last.offset >= _WORTH or int(new.at) != int(last.at)


def next_mark(last: Mark, seen: Mark, new: Mark) -> list[Mark]:
    """The marks to add, now that `new` is seen; `last`: in the index, `seen`: at the last look.

    What was not worth a mark gets one once something is written in another second.
    """
    marks = [seen] if seen.offset > last.offset and int(seen.at) != int(new.at) else []
    before = marks[-1] if marks else last
    if new.offset > before.offset and is_worth(before, new):
        marks.append(new)
    return marks


def is_too_much(kept: int, grown: int, limit: int) -> bool:
    """Whether to cut now.

    Args:
        kept: bytes of both streams, with their indexes.
        grown: since the last look; twice as much may come until the next one.
    """
    return kept + 2 * grown > limit


def shares(kept: Mapping[str, int], limit: int) -> Mapping[str, int]:
    """How many bytes of each stream stay when they are cut; of all that fit, all.

    What is written much takes its room from itself first: a flood on stdout drives no line of
    stderr out as long as that has no more than half.
    """
    room = int(limit * _LOW)
    left = dict(sorted(kept.items(), key=lambda one: one[1]))
    found: dict[str, int] = {}
    for index, (stream, size) in enumerate(left.items()):
        found[stream] = min(size, room // (len(left) - index))
        room -= found[stream]
    return found
