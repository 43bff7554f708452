"""Sizes and counts as people write and read them. Pure."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def parse_size(text: str) -> int:
    """Bytes: `512`, `256m`, `1.5g`, `64MiB`; a unit is 1024 times the one before.

    Raises:
        ValueError: why not, in words.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = match[2].lower() if match else ""
    power = _POWERS.get(re.sub(r"(?<=[kmgt])i?b$", "", unit))
    if match is None or power is None:
        raise ValueError(f"{text!r} is no size: write 512m or 1.5g (units b, k, m, g, t)")
    # Not by float: 2**53 bytes and above would come out wrong.
    whole, _, fraction = match[1].partition(".")
    digits = int(whole + fraction) << (10 * power)
    scale: int = 10 ** len(fraction)
    count, rest = divmod(digits, scale)
    if rest and power == 0:
        raise ValueError(f"{text!r} is no size: there is no part of a byte")
    return count


def size(count: float) -> str:
    """`256 MiB`, `1.5 GiB`: three digits at least, where there are."""
    value, power = float(count), 0
    while abs(value) >= 1024 and power < len(NAMES) - 1:
        value, power = value / 1024, power + 1
    digits = 0 if value == int(value) or value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {NAMES[power]}"


def quantity(value: float, unit: str) -> str:
    """A resource's number in its unit (cores, bytes or count)."""
    return size(value) if unit == "bytes" else f"{value:,.2f}".rstrip("0").rstrip(".")


def with_unit(value: float, unit: str) -> str:
    """The same for a sentence: `2 cores`, `1.5 GiB`, `200`."""
    return f"{quantity(value, unit)} cores" if unit == "cores" else quantity(value, unit)
