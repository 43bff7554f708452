"""Who watches is told everything, or what he has missed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.lifecycle import Lifecycle, a_spec, ask
from longshore.lifecycle import changes as module
from longshore.lifecycle.changes import Changes
from longshore.model.record import Record
from longshore.model.state import State


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    life = Lifecycle(tmp_path)
    spec = a_spec()
    life.containers.create(ask(), spec)
    found = life.journal.get(spec.id)
    assert found is not None
    yield found
    life.pulls.stop(0.0)


def seen(changes: Changes, after: int) -> list[tuple[int, str]]:
    return [(one.seq, one.kind) for one in changes.after(after, 0.0)]


def test_numbers_go_on_above_those_of_the_life_before(record: Record) -> None:
    first = Changes(lambda: 5.0)
    assert (first.last, seen(first, 0), seen(first, first.last)) == (5000, [], [])
    first.add(record, State.CREATING)
    first.add(record, State.RUNNING, kind="health")
    assert seen(first, 0) == seen(first, 5000) == [(5001, "state"), (5002, "health")]
    assert seen(first, 5001) == [(5002, "health")]
    assert seen(first, 5002) == []

    again = Changes(lambda: 6.0)
    again.add(record, State.CREATING)
    (gap, change) = again.after(5002, 0.0)
    assert (gap.kind, gap.seq, gap.id) == ("gap", 6000, "")
    assert "was started again since number 5002" in gap.reason
    assert (change.kind, change.seq) == ("state", 6001)
    assert seen(again, gap.seq) == [(6001, "state")]
    assert seen(again, 0) == [(6001, "state")]


def test_a_clock_that_went_back_is_a_gap_too(record: Record) -> None:
    changes = Changes(lambda: 5.0)
    assert seen(changes, 9000) == [(5000, "gap")]
    changes.add(record, State.CREATING)
    assert seen(changes, 9000) == [(5000, "gap"), (5001, "state")]


def test_who_lags_behind_is_told_so(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    changes = Changes(lambda: 0.001)
    for _ in range(5):
        changes.add(record, State.CREATING)
    assert seen(changes, 3) == [(4, "state"), (5, "state"), (6, "state")]
    (gap, *rest) = changes.after(2, 0.0)
    assert (gap.seq, gap.reason) == (3, "1 changes are not kept any more")
    assert [one.seq for one in rest] == [4, 5, 6]
    # All since the start was asked for, and that is not to be had any more.
    assert seen(changes, 0)[0] == (3, "gap")
