"""Every verb that looks at a container or works in it, in every state, on real neighbours: both
doors say the same, and so does tests/VERBS.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from longshore.lifecycle.service import Service
from longshore.model.inside import INSIDE
from longshore.model.state import State
from verbs import inside, page, table
from verbs.inside import ROWS, Cells
from verbs.ward import name, ward

EACH = [(row, state) for row in ROWS for state in State]
#: Whatever the state: it says when it changes, or who has it.
_OF_MANY = {"list", "changes", "last_change"}


@pytest.fixture(scope="module")
def cells() -> Iterator[Cells]:
    with ward() as one:
        yield inside.cells(one)


def test_every_verb_of_one_container_has_a_row() -> None:
    ours = {
        verb
        for verb, method in inspect.getmembers(Service, inspect.isfunction)
        if {"ref", "refs"} & inspect.signature(method).parameters.keys()
    }
    rows = {verb for verb, _ in table.ROWS.values()}
    looking = {verb for row in ROWS.values() for verb in row.service}
    assert ours - rows == looking - _OF_MANY


@pytest.mark.parametrize(("row", "state"), EACH)
def test_both_doors(cells: Cells, row: str, state: State) -> None:
    """Word for word, hints and details too."""
    first, *others = cells[row, state].values()
    for other in others:
        assert other.words == first.words
        assert _plain(other.error) == _plain(first.error)


@pytest.mark.parametrize(("row", "state"), [one for one in EACH if ROWS[one[0]].inside])
def test_it_does_so_in_the_states_of_the_agents_table(cells: Cells, row: str, state: State) -> None:
    """And else it is refused, with a code, what is refused, of which container and why."""
    verb = ROWS[row].inside
    assert verb is not None
    for came in cells[row, state].values():
        if state in INSIDE[verb].states:
            assert came.error is None
            continue
        assert came.error is not None
        assert not came.error.retry
        if state is State.ABSENT:
            assert came.error.code == "container_not_found"
            continue
        assert came.error.code == "illegal_transition"
        assert str(came.error).endswith(f" container {name(state)}: it is {state}")
        assert came.error.object == name(state)
        assert came.error.details == {"state": str(state), "verb": verb}


@pytest.mark.parametrize(("row", "state"), [one for one in EACH if not ROWS[one[0]].inside])
def test_what_only_looks_does_so_in_every_state(cells: Cells, row: str, state: State) -> None:
    for came in cells[row, state].values():
        if came.error is None:
            continue
        assert state is State.ABSENT or came.error.code == "conflict"
        assert state is State.ABSENT or row.startswith("wait, ")


def test_its_part_of_the_page_is_up_to_date(cells: Cells) -> None:
    assert page.PAGE.read_text().endswith(page.looking(cells)), "make verbs"


def _plain(error: object) -> object:
    return getattr(error, "to_dict", lambda: None)()
