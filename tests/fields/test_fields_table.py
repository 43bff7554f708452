"""No field of a spec is accepted and ignored: each has examples that hold, and a proof."""

from __future__ import annotations

from typing import Any

import pytest

from fields import table
from fields.proofs import all_proofs, note, proves
from fields.rows import ROWS, blamed, spec_with
from fields.walk import fields, given
from longshore.errors import InvalidSpec
from longshore.model.spec import parse

FIELDS = list(fields())
PROOFS = list(all_proofs())
ACCEPTED = [(path, value) for path, row in ROWS.items() for value in row.accepted]
REFUSED = [
    *((path, value, blamed(path)) for path, row in ROWS.items() for value in row.refused),
    *(
        (path, value, field)
        for path, row in ROWS.items()
        for field, values in row.elsewhere.items()
        for value in values
    ),
]


def test_every_field_has_a_row_and_every_row_a_field() -> None:
    assert sorted(ROWS) == sorted(FIELDS)
    assert [path for path, row in ROWS.items() if not row.accepted or not row.refused] == []


@pytest.mark.parametrize(("path", "value"), ACCEPTED, ids=lambda one: str(one)[:30])
def test_what_a_row_accepts_is_accepted(path: str, value: Any) -> None:
    assert parse(spec_with(path, value))


@pytest.mark.parametrize(("path", "value", "field"), REFUSED, ids=lambda one: str(one)[:30])
def test_what_a_row_refuses_is_refused_with_its_field(path: str, value: Any, field: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse(spec_with(path, value))
    blame = [fault["field"] for fault in refused.value.details["faults"]]
    # An element of a list, a key of a map, or a field of it is named behind it.
    assert all(one == field or one.startswith((f"{field}[", f"{field}.")) for one in blame), blame


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_has_a_row_that_sets_it(path: str) -> None:
    """So that a proof's own check can see that a test has asked for it."""
    assert any(path in given(parse(spec_with(path, value))) for value in ROWS[path].accepted)


def test_every_field_has_a_proof() -> None:
    proved = {field for proof in PROOFS for field in proof.fields}
    assert [path for path in FIELDS if path not in proved] == []
    assert sorted(proved - set(FIELDS)) == []


@pytest.mark.parametrize("also", [True, False])
def test_a_proof_that_never_asked_is_none(also: bool) -> None:
    """Nor is one before which another test of its file has asked."""
    if also:
        note(spec_with("limits.pids", 7))
    asked = spec_with("limits.memory", 2**26)

    @proves("limits.memory", "limits.pids", back="nowhere")
    def asks_for_memory() -> None:
        note(asked)

    if also:
        asks_for_memory()
    else:
        with pytest.raises(AssertionError, match=r"never asked for: \['limits\.pids'\]"):
            asks_for_memory()


def test_the_table_is_up_to_date() -> None:
    assert table.PAGE.read_text() == table.rendered(), "make fields"
