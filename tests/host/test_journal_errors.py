"""Whose an error is that comes out of a transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from longshore.errors import HostUnavailable
from longshore.host.journal import Journal


def test_only_the_journals_own_are_the_journals(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")

    def write(error: Exception) -> None:
        with journal.transaction(durable=True) as tx:
            tx.remember("key", "value")
            raise error

    with pytest.raises(PermissionError):
        write(PermissionError(13, "of a file that has nothing to do with it"))
    with pytest.raises(HostUnavailable, match="cannot write to the journal: the test says so"):
        write(sqlite3.OperationalError("the test says so"))
    with journal.transaction(durable=False) as tx:
        assert tx.recall("key") is None, "both were rolled back"
    journal.close()


def test_a_place_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostUnavailable, match="cannot open the journal"):
        Journal(tmp_path / "file" / "journal.db")
