"""A filtered list reads the records that are in the answer, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from longshore.errors import ContainerNotFound
from longshore.host.journal import Journal
from longshore.host.journal_transaction import record_of
from longshore.model.filters import Filter
from longshore.model.record import Record
from longshore.model.spec import parse
from longshore.model.state import Desired, State

COUNT = 500


def record(number: int) -> Record:
    spec = {
        "id": str(UUID(int=number)),
        "name": f"c{number}",
        "image": "web:1",
        "labels": {"even": str(number % 2 == 0)},
    }
    return Record(
        spec=parse(spec),
        generation=1,
        desired=Desired.RUNNING,
        desired_by="test",
        desired_at=0.0,
        state=State.RUNNING if number % 5 else State.STOPPED,
        reason="asked",
        created_at=float(number),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    with journal.transaction(durable=False) as tx:
        for number in range(COUNT):
            tx.put(record(number))
    yield journal
    journal.close()


def names(journal: Journal, filter: Filter) -> list[str]:
    return [one.name for one in journal.list(filter)]


def test_only_the_answer_is_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = record_of

    def counted(id: str, document: str) -> Record:
        read.append(id)
        return real(id, document)

    monkeypatch.setattr("longshore.host.journal.record_of", counted)
    assert names(journal, Filter(names=("^c123$",))) == ["c123"]
    assert names(journal, Filter(sort="-created", limit=2)) == ["c499", "c498"]
    assert len(read) == 3
    assert len(names(journal, Filter())) == COUNT


def test_pages(journal: Journal) -> None:
    seen: list[Record] = []
    wanted = Filter(labels=("even=True",), states=("stopped",), limit=7)
    while page := journal.list(Filter(**{**vars(wanted), "after": seen[-1].id if seen else None})):
        assert len(page) <= 7
        seen += page
    assert [one.name for one in seen] == [f"c{number}" for number in range(0, COUNT, 10)]
    with pytest.raises(ContainerNotFound):
        journal.list(Filter(after="nobody"))


def test_what_cannot_be_read_hides_no_other(journal: Journal) -> None:
    for document in ("no json", "{}", '{"spec": {"name": "x"}}', "[]"):
        with journal.transaction(durable=False) as tx:
            tx._database.execute(
                "UPDATE records SET document = ? WHERE id = ?", (document, str(UUID(int=3)))
            )
        assert names(journal, Filter(limit=4)) == ["c0", "c1", "c2", "c4"]
        assert len(names(journal, Filter(sort="name"))) == COUNT - 1
