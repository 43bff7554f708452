"""What can be read and written in one transaction of the journal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from longshore.errors import ContainerNotFound, HostFailed
from longshore.host import journal_story, journal_versions
from longshore.model.record import Record
from longshore.model.requested import Requested
from longshore.model.story import Told, happened
from longshore.model.versions import Version
from longshore.model.volume import Volume

_REQUESTS = "SELECT id, container, verb, fingerprint, generation, asked_at, outcome FROM requests"


class Transaction:
    """Reads and writes that happen together or not at all. Valid inside `Journal.transaction`."""

    def __init__(self, database: sqlite3.Connection, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        #: As they are in here: what a record that is put tells depends on the one before.
        self._records: dict[str, Record | None] = {}

    def get(self, id: str) -> Record | None:
        row = self._database.execute("SELECT document FROM records WHERE id = ?", (id,)).fetchone()
        self._records[id] = None if row is None else record_of(id, row[0])
        return self._records[id]

    def find(self, ref: str) -> str:
        """As `Journal.find`."""
        holder = self._database.execute(
            "SELECT container FROM claims WHERE kind = 'name' AND key = ?", (ref,)
        ).fetchone()
        if holder:
            return str(holder[0])
        if self._database.execute("SELECT 1 FROM records WHERE id = ?", (ref,)).fetchone():
            return ref
        # One that nobody can read must not keep the others from being found.
        rows = self._database.execute(
            "SELECT id FROM records WHERE"
            " CASE WHEN json_valid(document) THEN json_extract(document, '$.spec.name') END = ?1"
            " OR (length(?1) >= 4 AND substr(id, 1, length(?1)) = ?1) LIMIT 2",
            (ref,),
        ).fetchall()
        if len(rows) == 1:
            return str(rows[0][0])
        why = "several match, use the whole id" if rows else "there is none"
        raise ContainerNotFound(f"cannot find container {ref}: {why}", object=ref)

    def put(self, record: Record, asked: str = "") -> None:
        """Adds to its story what is different now. `asked`: the verb that it is written for, and by
        whom."""
        id = record.id
        before = self._records[id] if id in self._records else self.get(id)
        self._records[id] = record
        journal_story.add(self._database, id, happened(before, record, self._now(), asked))
        self._database.execute(
            "INSERT INTO records VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            (record.id, record.created_at, record.model_dump_json()),
        )

    def forget(self, id: str, last: Record | None = None) -> None:
        """Removes the record, its versions and its claims; what was asked about it stays, and its
        story. `last`: how it was last, for those who ask what became of it."""
        if last is not None:
            at = self._now()
            told = happened(self._records.get(id), last, at)
            journal_story.add(self._database, id, told)
            journal_story.bury(self._database, at, last.status())
        self._records[id] = None
        self._database.execute("DELETE FROM records WHERE id = ?", (id,))
        journal_versions.forget(self._database, id)
        self.release(id)

    def claims(self, kind: str) -> Mapping[str, str]:
        """Key → the container that holds it."""
        rows = self._database.execute("SELECT key, container FROM claims WHERE kind = ?", (kind,))
        return dict(rows.fetchall())

    def claim(self, kind: str, key: str, id: str) -> str | None:
        """Returns None once `id` holds it, or the container that holds it instead."""
        self._database.execute("INSERT OR IGNORE INTO claims VALUES (?, ?, ?)", (kind, key, id))
        holder: str = self._database.execute(
            "SELECT container FROM claims WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()[0]
        return None if holder == id else holder

    def give_back(self, kind: str, key: str, id: str) -> None:
        self._database.execute(
            "DELETE FROM claims WHERE kind = ? AND key = ? AND container = ?", (kind, key, id)
        )

    def release(self, id: str) -> None:
        """Its claims, and what it was promised."""
        self._database.execute("DELETE FROM claims WHERE container = ?", (id,))
        self._database.execute("DELETE FROM promises WHERE container = ?", (id,))

    def promised(self, resource: str) -> float:
        """How much of it all containers together hold."""
        row = self._database.execute(
            "SELECT sum(amount) FROM promises WHERE resource = ?", (resource,)
        ).fetchone()
        return float(row[0] or 0)

    def promise(self, resource: str, amount: float, id: str) -> None:
        """`id` holds so much of it, in place of what it held; given back with its claims."""
        self._database.execute(
            "INSERT OR REPLACE INTO promises VALUES (?, ?, ?)", (resource, id, amount)
        )

    def promises(self, id: str) -> Mapping[str, float]:
        """Resource → how much of it `id` holds."""
        rows = self._database.execute(
            "SELECT resource, amount FROM promises WHERE container = ?", (id,)
        )
        return dict(rows.fetchall())

    def version(self, id: str, number: int) -> Version | None:
        return journal_versions.get(self._database, id, number)

    def versions(self, id: str) -> Sequence[Version]:
        """Oldest first."""
        return journal_versions.every(self._database, id)

    def put_version(self, id: str, version: Version, needed: Collection[int] = ()) -> None:
        """In place of one with its number. Of the others the newest stay, and those `needed`."""
        journal_versions.put(self._database, id, version, needed)

    def volumes(self) -> Mapping[str, Volume]:
        """By name."""
        rows = self._database.execute("SELECT name, created_at, labels FROM volumes ORDER BY name")
        return {name: Volume(name, at, json.loads(labels)) for name, at, labels in rows}

    def put_volume(self, volume: Volume) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO volumes VALUES (?, ?, ?)",
            (volume.name, volume.created_at, json.dumps(dict(volume.labels))),
        )

    def forget_volume(self, name: str) -> None:
        self._database.execute("DELETE FROM volumes WHERE name = ?", (name,))

    def requested(self, id: str) -> Requested | None:
        row = self._database.execute(f"{_REQUESTS} WHERE id = ?", (id,)).fetchone()
        return None if row is None else _requested(row)

    def unanswered(self, container: str) -> Sequence[Requested]:
        rows = self._database.execute(
            f"{_REQUESTS} WHERE container = ? AND outcome IS NULL ORDER BY generation", (container,)
        )
        return [_requested(row) for row in rows]

    def last_generation(self, container: str) -> int:
        """The newest that was asked for and is still remembered; 0 if none."""
        row = self._database.execute(
            "SELECT max(generation) FROM requests WHERE container = ?", (container,)
        ).fetchone()
        return int(row[0] or 0)

    def ask(self, requested: Requested) -> None:
        """Notes a request, or asks a noted one again with a new generation."""
        self._database.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, NULL) "
            "ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, outcome = NULL",
            (
                requested.id,
                requested.container,
                requested.verb,
                requested.fingerprint,
                requested.generation,
                requested.asked_at,
            ),
        )

    def answer(self, id: str, outcome: Mapping[str, Any]) -> None:
        self._database.execute(
            "UPDATE requests SET outcome = ? WHERE id = ?", (json.dumps(outcome), id)
        )

    def remember(self, key: str, value: str | None) -> None:
        """One word for later, such as the address handed out last; None: no more."""
        if value is None:
            self._database.execute("DELETE FROM memory WHERE key = ?", (key,))
            return
        self._database.execute("INSERT OR REPLACE INTO memory VALUES (?, ?)", (key, value))

    def recall(self, key: str) -> str | None:
        row = self._database.execute("SELECT value FROM memory WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def recalled(self, beginning: str) -> Sequence[str]:
        """The keys of what is remembered that begin so."""
        rows = self._database.execute(
            "SELECT key FROM memory WHERE substr(key, 1, ?) = ?", (len(beginning), beginning)
        )
        return [row[0] for row in rows]

    def prune_requests(self, before: float) -> int:
        """Forgets requests asked before that time, but for open ones whose container is there;
        returns how many."""
        return self._database.execute(
            "DELETE FROM requests WHERE asked_at < ? "
            "AND (outcome IS NOT NULL OR container NOT IN (SELECT id FROM records))",
            (before,),
        ).rowcount

    def prune_stories(self, before: float) -> None:
        """Forgets those of containers that were gone before that time."""
        journal_story.prune(self._database, before)

    def story(self, ref: str) -> Told:
        """As `Journal.story`."""
        try:
            id = self.find(ref)
        except ContainerNotFound:
            found = journal_story.dig_up(self._database, ref)
            if found is None:
                raise
            at, last = found
            return Told(last, tuple(journal_story.read(self._database, last.id)), at)
        record = self.get(id)
        assert record is not None
        return Told(record, tuple(journal_story.read(self._database, id)))


def record_of(id: str, document: str) -> Record:
    try:
        return Record.model_validate_json(document)
    except ValidationError as error:
        raise HostFailed(
            f"cannot read the record of container {id}: {error.error_count()} faults, the first: "
            f"{error.errors(include_url=False)[0]['msg']}",
            object=id,
            hint="was it written by another release?",
        ) from error


def _requested(row: tuple[Any, ...]) -> Requested:
    id, container, verb, fingerprint, generation, asked_at, outcome = row
    answer = None if outcome is None else json.loads(outcome)
    return Requested(id, container, verb, fingerprint, generation, asked_at, answer)
