"""Human forms, in and out."""

from __future__ import annotations

import pytest

from longshore.cli import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("1k", 1024),
        ("256m", 256 * 1024**2),
        ("256M", 256 * 1024**2),
        ("256mb", 256 * 1024**2),
        ("256MiB", 256 * 1024**2),
        ("1.5g", 3 * 1024**3 // 2),
        ("2 t", 2 * 1024**4),
        ("9007199254740993", 9007199254740993),
        ("0.1k", 102),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert units.parse_size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "m", "-1m", "5x", "5 mega", "1.5b", "1.5", "1,5g", "0x10", "1e3", "5ib", "inf"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10.0), ("1.5", 1.5), ("90s", 90.0), ("2m", 120.0), ("1h", 3600.0)]
)
def test_seconds(text: str, expected: float) -> None:
    assert units.parse_seconds(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1d", "nan", "1:30"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        units.parse_seconds(text)


@pytest.mark.parametrize(("text", "expected"), [("2", 2.0), ("0.5", 0.5), (".5", 0.5)])
def test_cpus(text: str, expected: float) -> None:
    assert units.parse_cpus(text) == expected


@pytest.mark.parametrize("text", ["", "nan", "inf", "50%", "500m", "-1", "1e3"])
def test_what_is_no_number_of_cores(text: str) -> None:
    with pytest.raises(ValueError, match="is no number of cores"):
        units.parse_cpus(text)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (256 * 1024**2, "256 MiB"),
        (3 * 1024**3 // 2, "1.50 GiB"),
        (1_999_999, "1.91 MiB"),
        (123_456_789, "118 MiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_sizes_out(count: int, expected: str) -> None:
    assert units.size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "less than a second"),
        (0.2, "less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (180, "3 minutes"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (15 * 86400, "2 weeks"),
        (400 * 86400, "1 year"),
    ],
)
def test_spans(seconds: float, expected: str) -> None:
    assert units.span(seconds) == expected
    assert units.ago(1000.0, 1000.0 + seconds) == f"{expected} ago"


def test_quantities() -> None:
    assert units.quantity(1.5, "cores") == "1.5"
    assert units.quantity(8, "cores") == "8"
    assert units.quantity(32768, "count") == "32,768"
    assert units.quantity(2**30, "bytes") == "1 GiB"
    assert (units.brief(0.0031), units.brief(1.25)) == ("3.1 ms", "1.25 s")
    assert units.moment(0) == "1970-01-01 00:00:00Z"
