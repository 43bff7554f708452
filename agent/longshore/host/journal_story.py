"""What the journal keeps of a container beside its record: how it came to be so, and of one that
is gone how it was last. The statements run in whoever's transaction they are called in.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from longshore.model.status import ContainerStatus, StoryEntry


def add(database: sqlite3.Connection, id: str, entries: Sequence[StoryEntry]) -> None:
    """A trigger drops what is older than the newest hundred."""
    for one in entries:
        document = one.model_dump_json(exclude={"at"}, exclude_none=True)
        database.execute(
            "INSERT INTO stories SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 "
            "FROM stories WHERE container = ?1",
            (id, one.at, document),
        )


def read(database: sqlite3.Connection, id: str) -> list[StoryEntry]:
    """Oldest first."""
    rows = database.execute(
        "SELECT at, entry FROM stories WHERE container = ? ORDER BY number", (id,)
    )
    return [StoryEntry(at=at, **json.loads(entry)) for at, entry in rows]


def bury(database: sqlite3.Connection, at: float, last: ContainerStatus) -> None:
    """Keeps how one that is gone since `at` was last."""
    database.execute(
        "INSERT OR REPLACE INTO departed VALUES (?, ?, ?, ?)",
        (last.id, last.name, at, last.model_dump_json()),
    )


def dig_up(database: sqlite3.Connection, ref: str) -> tuple[float, ContainerStatus] | None:
    """When it went, and how it was: of one that is gone with that id, the unambiguous beginning (4
    or more) of one, or that name; of several with one name the last."""
    rows = database.execute(
        "SELECT at, document FROM departed WHERE container = ?1 OR name = ?1 ORDER BY at DESC",
        (ref,),
    ).fetchall()[:1]
    if not rows and len(ref) >= 4:
        rows = database.execute(
            "SELECT at, document FROM departed WHERE substr(container, 1, length(?1)) = ?1 LIMIT 2",
            (ref,),
        ).fetchall()
    if len(rows) != 1:
        return None
    return rows[0][0], ContainerStatus.model_validate_json(rows[0][1])


def prune(database: sqlite3.Connection, before: float) -> None:
    """Forgets those that were gone before that time."""
    database.execute("DELETE FROM departed WHERE at < ?", (before,))
    database.execute(
        "DELETE FROM stories WHERE container NOT IN (SELECT id FROM records) "
        "AND container NOT IN (SELECT container FROM departed)"
    )
