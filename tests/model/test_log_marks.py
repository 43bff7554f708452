"""Which marks a time index gets, and what of a log is kept."""

from __future__ import annotations

import pytest

from longshore.model.logs import Mark, is_too_much, lines_of, next_mark, shares


def grow(*seen: tuple[int, float]) -> list[Mark]:
    """The index after looks that saw these sizes at these times."""
    index = [Mark(0, 0.0)]
    before = index[0]
    for new in (Mark(*one) for one in seen):
        index += next_mark(index[-1], before, new)
        before = new
    return index[1:]


def test_a_mark_for_each_second_in_which_it_grew() -> None:
    assert grow((10, 1.1), (20, 1.2), (30, 2.5), (40, 9.0)) == [
        Mark(10, 1.1),
        Mark(20, 1.2),  # what was left of the first second, once there was another
        Mark(30, 2.5),
        Mark(40, 9.0),
    ]


def test_little_gets_one_mark_a_second_and_much_gets_more() -> None:
    little = grow(*((index * 10, 1.0 + index / 100) for index in range(1, 90)))
    assert little == [Mark(10, 1.01)]
    much = grow(*((index * 1024, 1.0 + index / 100) for index in range(1, 90)))
    assert len(much) == 89


@pytest.mark.parametrize(
    ("out", "err", "expected"),
    [
        (1000, 0, (750, 0)),
        (1000, 100, (650, 100)),
        (1000, 900, (375, 375)),
        (100, 1000, (100, 650)),
        (10, 20, (10, 20)),
    ],
)
def test_who_writes_much_makes_the_room(out: int, err: int, expected: tuple[int, int]) -> None:
    found = shares({"stdout": out, "stderr": err}, 1000)
    assert (found["stdout"], found["stderr"]) == expected


def test_it_is_cut_before_it_is_too_large() -> None:
    assert not is_too_much(900, 50, 1000)
    assert is_too_much(900, 51, 1000)


def test_lines() -> None:
    assert lines_of(b"a\n\rb\r\n\nc") == [b"a\n", b"\rb\r\n", b"\n", b"c"]
    assert lines_of(b"") == []
