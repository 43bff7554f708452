"""The versions of containers' specs in the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from pydantic import ValidationError

from longshore.errors import HostFailed
from longshore.model.versions import KEPT, Version


def get(database: sqlite3.Connection, id: str, number: int) -> Version | None:
    row = database.execute(
        "SELECT document FROM versions WHERE container = ? AND number = ?", (id, number)
    ).fetchone()
    return None if row is None else _version(id, row[0])


def every(database: sqlite3.Connection, id: str) -> Sequence[Version]:
    """Oldest first."""
    rows = database.execute(
        "SELECT document FROM versions WHERE container = ? ORDER BY number", (id,)
    )
    return [_version(id, row[0]) for row in rows]


def put(
    database: sqlite3.Connection, id: str, version: Version, needed: Collection[int] = ()
) -> None:
    """Of the others the newest stay, and those `needed`."""
    database.execute(
        "INSERT OR REPLACE INTO versions VALUES (?, ?, ?)",
        (id, version.number, version.model_dump_json()),
    )
    numbers = [
        row[0]
        for row in database.execute(
            "SELECT number FROM versions WHERE container = ? ORDER BY number DESC", (id,)
        )
    ]
    old = [(id, one) for one in numbers[KEPT:] if one not in needed]
    database.executemany("DELETE FROM versions WHERE container = ? AND number = ?", old)


def forget(database: sqlite3.Connection, id: str) -> None:
    database.execute("DELETE FROM versions WHERE container = ?", (id,))


def _version(id: str, document: str) -> Version:
    try:
        return Version.model_validate_json(document)
    except ValidationError as error:
        raise HostFailed(
            f"cannot read a version of container {id}: {error.error_count()} faults, the first: "
            f"{error.errors(include_url=False)[0]['msg']}",
            object=id,
            hint="was it written by another release?",
        ) from error
