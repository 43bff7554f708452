"""Every verb that changes a container, in every state: both doors say the same, and so does
tests/VERBS.md."""

from __future__ import annotations

import re

import pytest

from longshore.bus import wire
from longshore.model.request import Verb
from longshore.model.state import TRANSITIONS, State
from verbs import page, table

CELLS = [(row, state) for row in table.ROWS for state in State]


def test_every_verb_that_changes_a_container_has_a_row() -> None:
    changing = {verb for verb, kind in wire.MESSAGES.items() if issubclass(kind, wire.Intent)}
    assert changing <= {verb for verb, _ in table.ROWS.values()}


@pytest.mark.parametrize(("row", "state"), CELLS)
def test_both_doors(row: str, state: State) -> None:
    local, bus = (table.cell(row, state, door) for door in table.DOORS)
    assert local == bus
    verb = table.ROWS[row][0]
    if verb in set(Verb) and state is not State.ABSENT and row != "delete":
        assert (": " not in bus) is ((state, Verb(verb)) in TRANSITIONS), bus


def test_its_part_of_the_page_is_up_to_date() -> None:
    assert page.PAGE.read_text().startswith(page.changing()), "make verbs"


def test_every_refusal_gives_its_reason() -> None:
    reasons = re.findall(r"^\d+\. (.*)$", page.PAGE.read_text(), re.M)
    assert reasons
    assert all(re.fullmatch(r"[a-z_]+: cannot .+: .+", reason) for reason in reasons)
