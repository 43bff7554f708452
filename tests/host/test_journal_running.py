"""Who runs is read again after something was written, and not before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from longshore.host.journal import Journal
from longshore.model.record import Facts, Record
from longshore.model.spec import parse
from longshore.model.state import Desired, State


def record(number: int, pid: int | None = 7) -> Record:
    return Record(
        spec=parse({"id": str(UUID(int=number)), "name": f"c{number}", "image": "web:1"}),
        generation=1,
        desired=Desired.RUNNING,
        desired_by="test",
        desired_at=0.0,
        state=State.RUNNING if pid else State.STOPPED,
        reason="asked",
        facts=Facts(pid=pid),
        created_at=float(number),
    )


def put(journal: Journal, *records: Record) -> None:
    with journal.transaction(durable=False) as tx:
        for one in records:
            tx.put(one)


def names(journal: Journal) -> list[str]:
    return sorted(one.name for one in journal.running())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    put(journal, record(1), record(2), record(3, None))
    yield journal
    journal.close()


def test_once_for_each_write(journal: Journal) -> None:
    read: list[str] = []

    def heard(statement: str) -> None:
        if "json_each" in statement:
            read.append(statement)

    journal._database.set_trace_callback(heard)
    for _ in range(3):
        assert names(journal) == ["c1", "c2"]
    assert len(read) == 1
    put(journal, record(3), record(1, None))
    for _ in range(3):
        assert names(journal) == ["c2", "c3"]
    assert len(read) == 2
    with journal.transaction(durable=False) as tx:
        tx.forget(record(2).id)
    assert names(journal) == ["c3"]
    assert len(read) == 3


def test_what_is_rolled_back_was_never_there(journal: Journal) -> None:
    class Trouble(Exception):
        pass

    def in_vain() -> None:
        with journal.transaction(durable=False) as tx:
            tx.put(record(4))
            assert names(journal) == ["c1", "c2", "c4"]
            raise Trouble

    assert names(journal) == ["c1", "c2"]
    with pytest.raises(Trouble):
        in_vain()
    assert names(journal) == ["c1", "c2"]


def test_what_an_operator_writes_is_seen(journal: Journal, tmp_path: Path) -> None:
    assert names(journal) == ["c1", "c2"]
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as other, other:
        other.execute("DELETE FROM records WHERE id = ?", (record(1).id,))
    assert names(journal) == ["c2"]
