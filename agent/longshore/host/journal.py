"""The journal: one SQLite database of what was promised.

Tables: `records` (a container each, as JSON), `requests` (who asked what, and what came of it),
`claims` (names, addresses, ports: UNIQUE, so that two containers can never hold one), `promises`
(how much of what the node has each may use), `volumes` (named ones), `stories` (what happened to
each container, told by every write of its record) and `departed` (how those that are gone were).
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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longshore.errors import HostFailed, HostUnavailable
from longshore.host.journal_list import documents
from longshore.host.journal_lock import hold
from longshore.host.journal_schema import bring_up_to_date, make_room
from longshore.host.journal_transaction import Transaction, record_of
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.record import Record
from longshore.model.requested import Requested
from longshore.model.running import MEASURED, Running
from longshore.model.story import Told

LOG = logging.getLogger(__name__)

#: Seconds that a statement waits for another process (a backup, an operator's sqlite3) to let go.
_BUSY = 5.0


class Journal:
    """Thread-safe. One connection under one lock: a transaction takes about 0.2 ms.

    Raises:
        HostBusy: another agent works with it.
        HostUnavailable: the database cannot be opened, is damaged, or the disk refused a write.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._lock = threading.RLock()
        self._durable: bool | None = None
        #: What `running` found last, and when in the life of the database that was.
        self._running: tuple[tuple[int, int], Sequence[Running]] | None = None
        with self._translated("open", (sqlite3.Error, OSError)):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            # An object, so that the lock goes with a journal that nobody closed.
            self._held = os.fdopen(hold(path.with_suffix(".lock")), "r+b", buffering=0)
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
            self._held.close()

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[Transaction]:
        """Takes the write lock at once; commits at the end, rolls back when the body raises."""
        with self._lock, self._translated("write to"):
            if durable is not self._durable:
                self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._database, self._now)
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
                records.append(record_of(id, document))
            except HostFailed as error:
                # One that nobody can read must not hide the others; `ids` has it all the same.
                LOG.error("%s", error)
        return records

    def running(self) -> Sequence[Running]:
        """Those that have processes. Reads only what that takes, ten times as fast as `list`, and
        nothing again until something has been written."""
        with self._reading():
            # Rows that we have written, and commits of others: an operator with a sqlite3.
            (others,) = self._database.execute("PRAGMA data_version").fetchone()
            written = (self._database.total_changes, others)
            if self._running is not None and self._running[0] == written:
                return self._running[1]
            rows = self._database.execute(_RUNNING, (json.dumps(sorted(MEASURED)),)).fetchall()
            found = tuple(_running(id, *json.loads(values)) for id, values in rows)
            # What a transaction has written so far may be rolled back, and counts as written.
            self._running = None if self._database.in_transaction else (written, found)
        return found

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

    def story(self, ref: str) -> Told:
        """What happened to the container that `find` finds, or to one that is gone.

        Raises:
            ContainerNotFound: none, or more than one.
        """
        with self._reading() as view:
            return view.story(ref)

    def promised(self, resource: str) -> float:
        """How much of it all containers together hold."""
        with self._reading() as view:
            return view.promised(resource)

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self._lock, self._translated("read"):
            yield Transaction(self._database, self._now)

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
