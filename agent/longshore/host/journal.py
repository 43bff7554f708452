"""The journal: one SQLite database of what was promised.

Tables: `records` (a container each, as JSON), `requests` (who asked what, and what came of it),
`claims` (names, addresses, ports: UNIQUE, so that two containers can never hold one), `promises`
(how much of what the node has each may use) and `volumes` (named ones).
WAL; an intent is written with synchronous=FULL (on the disk when `transaction` returns), what
only repeats the host's state with NORMAL (a power loss may lose it, and converge finds it out
again). A WAL database torn by a power loss rolls back to a whole transaction by itself
(sqlite.org/wal.html).
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from longshore.errors import ContainerNotFound, HostFailed, HostUnavailable
from longshore.host.journal_list import documents
from longshore.host.journal_lock import hold
from longshore.host.journal_schema import bring_up_to_date, make_room
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.record import Record
from longshore.model.requested import Requested
from longshore.model.running import MEASURED, Running
from longshore.model.volume import Volume

LOG = logging.getLogger(__name__)

#: Seconds that a statement waits for another process (a backup, an operator's sqlite3) to let go.
_BUSY = 5.0


class Transaction:
    """Reads and writes that happen together or not at all. Valid inside `Journal.transaction`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, id: str) -> Record | None:
        row = self._database.execute("SELECT document FROM records WHERE id = ?", (id,)).fetchone()
        return None if row is None else _record(id, row[0])

    def find(self, ref: str) -> str:
        """As `Journal.find`."""
        holder = self._database.execute(
            "SELECT container FROM claims WHERE kind = 'name' AND key = ?", (ref,)
        ).fetchone()
        if holder:
            return str(holder[0])
        rows = self._database.execute(
            "SELECT id FROM records WHERE id = ?1 OR json_extract(document, '$.spec.name') = ?1"
            " OR (length(?1) >= 4 AND substr(id, 1, length(?1)) = ?1) LIMIT 2",
            (ref,),
        ).fetchall()
        if len(rows) == 1:
            return str(rows[0][0])
        why = "several match, use the whole id" if rows else "there is none"
        raise ContainerNotFound(f"cannot find container {ref}: {why}", object=ref)

    def put(self, record: Record) -> None:
        self._database.execute(
            "INSERT INTO records VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            (record.id, record.created_at, record.model_dump_json()),
        )

    def forget(self, id: str) -> None:
        """Removes the record and its claims; what was asked about it stays."""
        self._database.execute("DELETE FROM records WHERE id = ?", (id,))
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


class Journal:
    """Thread-safe. One connection under one lock: a transaction takes about 0.2 ms.

    Raises:
        HostBusy: another agent works with it.
        HostUnavailable: the database cannot be opened, is damaged, or the disk refused a write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._durable: bool | None = None
        with self._translated("open", (sqlite3.Error, OSError)):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._held = hold(path.with_suffix(".lock"))
            self._database = sqlite3.connect(
                path, timeout=_BUSY, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            path.chmod(0o600)
            bring_up_to_date(self._database, path)
        make_room(self._database)

    def close(self) -> None:
        with self._lock:
            self._database.close()
            os.close(self._held)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[Transaction]:
        """Takes the write lock at once; commits at the end, rolls back when the body raises."""
        with self._lock, self._translated("write to"):
            if durable is not self._durable:
                self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._database)
                self._database.execute("COMMIT")
            except BaseException:
                # A commit that found the disk full may have rolled back by itself.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def get(self, id: str) -> Record | None:
        with self._reading() as view:
            return view.get(id)

    def list(self, filter: Filter = EVERYTHING) -> list[Record]:
        """As the filter orders them, but for those that cannot be read."""
        with self._reading():
            rows = documents(self._database, filter)
        records = []
        for id, document in rows:
            try:
                records.append(_record(id, document))
            except HostFailed as error:
                # One that nobody can read must not hide the others; `ids` has it all the same.
                LOG.error("%s", error)
        return records

    def running(self) -> Sequence[Running]:
        """Those that have processes. Reads only what that takes, ten times as fast as `list`."""
        with self._reading():
            rows = self._database.execute(_RUNNING, (json.dumps(sorted(MEASURED)),)).fetchall()
        return [_running(id, *json.loads(found)) for id, found in rows]

    def ids(self) -> set[str]:
        with self._reading():
            return {row[0] for row in self._database.execute("SELECT id FROM records")}

    def find(self, ref: str) -> str:
        """The id that a name, an id, or the unambiguous beginning (4 or more) of one means.

        Raises:
            ContainerNotFound: none, or more than one.
        """
        with self._reading() as view:
            return view.find(ref)

    def requested(self, id: str) -> Requested | None:
        with self._reading() as view:
            return view.requested(id)

    def promised(self, resource: str) -> float:
        """How much of it all containers together hold."""
        with self._reading() as view:
            return view.promised(resource)

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self._lock, self._translated("read"):
            yield Transaction(self._database)

    @contextmanager
    def _translated(
        self, verb: str, errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    ) -> Iterator[None]:
        try:
            yield
        except errors as error:
            raise HostUnavailable(
                f"cannot {verb} the journal: {error}",
                object=str(self._path),
                hint="is the disk full, or the file damaged?",
            ) from error


def _record(id: str, document: str) -> Record:
    try:
        return Record.model_validate_json(document)
    except ValidationError as error:
        raise HostFailed(
            f"cannot read the record of container {id}: {error.error_count()} faults, the first: "
            f"{error.errors(include_url=False)[0]['msg']}",
            object=id,
            hint="was it written by another release?",
        ) from error


_RUNNING = """
SELECT id, json_extract(
    document, '$.spec.name', '$.facts.pid', '$.facts.nics', '$.facts.limits.cpus',
    '$.facts.limits.memory', '$.facts.limits.pids'
)
FROM records
WHERE json_valid(document) AND json_extract(document, '$.facts.pid') IS NOT NULL
AND json_extract(document, '$.state') IN (SELECT value FROM json_each(?))
"""


def _running(
    id: str,
    name: str,
    pid: int,
    nics: Sequence[Mapping[str, Any]] | None,
    cpus: float | None,
    memory: int | None,
    pids: int | None,
) -> Running:
    interfaces = tuple(str(nic["interface"]) for nic in nics or ())
    return Running(id, name, pid, interfaces, cpus, memory, pids)


_REQUESTS = "SELECT id, container, verb, fingerprint, generation, asked_at, outcome FROM requests"


def _requested(row: tuple[Any, ...]) -> Requested:
    id, container, verb, fingerprint, generation, asked_at, outcome = row
    answer = None if outcome is None else json.loads(outcome)
    return Requested(id, container, verb, fingerprint, generation, asked_at, answer)
