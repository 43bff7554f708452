"""Times as `logs` takes and shows them: docker's formats."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_DURATION = re.compile(rf"-?(?:{_PART.pattern})+")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: Of a second's fraction Python takes six digits.
_LONG_FRACTION = re.compile(r"(\.\d{6})\d+")


def parse_time(text: str, now: float) -> float:
    """Unix seconds: of `1700000000.5`, `10m` ago, `2026-01-31T12:00:00Z` or a part of it; without a
    zone it is this computer's.

    Raises:
        ValueError: it is none of these.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text):
        ago = sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
        return now + ago if text.startswith("-") else now - ago
    try:
        return datetime.fromisoformat(_LONG_FRACTION.sub(r"\1", text)).timestamp()
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: write 10m, 1h30m, 2026-01-31T12:00:00Z or Unix seconds"
        ) from None


def show_time(at: float) -> str:
    """RFC 3339, in UTC, to the millisecond; as wide for one that is not known."""
    if not at:
        return "-" * 24
    whole = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return whole.replace("+00:00", "Z")


class Time(click.ParamType[Any]):
    name = "time"

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        try:
            return value if isinstance(value, float) else parse_time(str(value), self._now())
        except ValueError as error:
            self.fail(str(error), param, context)


class Tail(click.ParamType[Any]):
    """`all` is the text that stands for no number: -1."""

    name = "lines"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        if value == "all":
            return -1
        return int(click.IntRange(min=0).convert(value, param, context))
