"""Ranges of numbers for user namespaces: no number twice, and none again soon."""

from __future__ import annotations

import pytest

from longshore.errors import Exhausted
from longshore.model.host import Ids
from longshore.model.idranges import COUNT, FIRST, SIZE, IdRanges


def test_round_and_round_past_those_taken() -> None:
    ranges = IdRanges(1000, 3)
    one, two, three = (Ids(1000 + number * SIZE, SIZE) for number in range(3))
    assert ranges.choose([], None) == one
    assert ranges.choose([one.first], None) == two
    assert ranges.choose([], one.first) == two
    assert ranges.choose([one.first], three.first) == two
    assert ranges.choose([two.first, three.first], one.first) == one
    with pytest.raises(Exhausted) as full:
        ranges.choose([one.first, two.first, three.first], None)
    assert full.value.field == "security.user_namespace"
    (lack,) = full.value.details["missing"]
    assert lack == {"resource": "user id ranges", "unit": "count", "asked": 1, "free": 0}
    assert full.value.details["faults"][0]["field"] == "security.user_namespace"


@pytest.mark.parametrize("last", [1000 - SIZE, 1000 + 9 * SIZE, 7])
def test_the_last_one_was_of_another_configuration(last: int) -> None:
    assert IdRanges(1000, 3).choose([], last).first in {1000 + n * SIZE for n in range(3)}


def test_the_default_ranges_are_nobody_elses() -> None:
    """systemd's docs/UIDS-GIDS.md: containers up to 0x6fffffff, foreign images from 0x7ffe0000."""
    assert FIRST > 0x6FFFFFFF
    assert FIRST + COUNT * SIZE <= 0x7FFE0000


def test_numbers_outside() -> None:
    ids = Ids(1000, 10)
    assert (ids.outside(0), ids.outside(9)) == (1000, 1009)
    assert [ids.covers(number) for number in (999, 1000, 1009, 1010)] == [False, True, True, False]
    for number in (-1, 10):
        with pytest.raises(ValueError, match="not below 10"):
            ids.outside(number)
