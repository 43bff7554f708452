"""Human forms of sizes, times and cores, in and out. Pure: the present time is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from longshore.model.sizes import NAMES, parse_size, quantity, size

__all__ = [
    "ago", "brief", "clock", "moment", "parse_cpus", "parse_seconds", "parse_size", "quantity",
    "share", "size", "span",
]  # fmt: skip

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)")
_FACTORS = {"": 1, "s": 1, "m": 60, "h": 3600}
_SPANS = (
    (365 * 86400, "year"),
    (30 * 86400, "month"),
    (7 * 86400, "week"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)


def parse_seconds(text: str) -> float:
    """Seconds: `10`, `1.5`, `90s`, `2m`, `1h`.

    Raises:
        ValueError: why not, in words.
    """
    match = _SECONDS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time: write 10 or 1.5 (seconds), 2m or 1h")
    return float(match[1]) * _FACTORS[match[2]]


def parse_cpus(text: str) -> float:
    """Cores: `2`, `0.5`.

    Raises:
        ValueError: why not, in words.
    """
    if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", text.strip()):
        raise ValueError(f"{text!r} is no number of cores: write 2 or 0.5")
    return float(text)


def share(done: int, total: int) -> str:
    """`12.3/50.0 MiB`: both in the unit of the whole, with digits that do not jump about."""
    power = 0
    while total >= 1024 ** (power + 1) and power < len(NAMES) - 1:
        power += 1
    digits = 1 if power else 0
    return f"{done / 1024**power:.{digits}f}/{total / 1024**power:.{digits}f} {NAMES[power]}"


def clock(seconds: float) -> str:
    """`0:04`, `12:10`, `1:02:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """`3 minutes`: the largest unit that fits, whole; below a second, `less than a second`."""
    for length, name in _SPANS:
        count = int(seconds // length)
        if count > 0:
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "less than a second"


def ago(then: float, now: float) -> str:
    return f"{span(now - then)} ago"


def brief(seconds: float) -> str:
    """How long something took: `3.1 ms`, `1.25 s`."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def moment(at: float) -> str:
    """The whole date, in UTC: `2026-01-31 12:00:00Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
