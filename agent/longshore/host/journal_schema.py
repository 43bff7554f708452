"""The journal's tables, and the way from an older release's to them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from longshore.errors import HostUnavailable

LOG = logging.getLogger(__name__)
#: Bytes that the files of the database have to spare: some hundred stops and deletes.
_ROOM = 4 * 1024 * 1024

_VERSION = 4
_FIRST = """
CREATE TABLE records (
    id TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    container TEXT NOT NULL,
    verb TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    generation INTEGER NOT NULL,
    asked_at REAL NOT NULL,
    outcome TEXT
) WITHOUT ROWID;
CREATE INDEX requests_open ON requests (container) WHERE outcome IS NULL;
CREATE INDEX requests_of ON requests (container, generation);
CREATE INDEX requests_age ON requests (asked_at);
CREATE TABLE claims (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    container TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX claims_of ON claims (container);
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_SECOND = """
CREATE TABLE promises (
    resource TEXT NOT NULL,
    container TEXT NOT NULL,
    amount REAL NOT NULL,
    PRIMARY KEY (resource, container)
) WITHOUT ROWID;
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    labels TEXT NOT NULL
) WITHOUT ROWID;
"""
#: The newest hundred entries of each container stay, whoever adds one.
_THIRD = """
CREATE TABLE stories (
    container TEXT NOT NULL,
    number INTEGER NOT NULL,
    at REAL NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (container, number)
) WITHOUT ROWID;
CREATE TRIGGER stories_bounded AFTER INSERT ON stories BEGIN
    DELETE FROM stories
    WHERE container = NEW.container AND number <= NEW.number - 100;
END;
CREATE TABLE departed (
    container TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    at REAL NOT NULL,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX departed_by_name ON departed (name);
"""
_FOURTH = """
CREATE TABLE versions (
    container TEXT NOT NULL,
    number INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (container, number)
) WITHOUT ROWID;
"""
#: What containers that the older release has made hold: those that have claims, which a failed one
#: has not. Their limits are in the record, unless that cannot be read.
_PROMISES = """
INSERT INTO promises
SELECT limits.key, records.id, limits.value
FROM records, json_each(
    CASE WHEN json_valid(document) THEN document ELSE '{}' END, '$.spec.limits'
) AS limits
WHERE limits.key IN ('cpus', 'memory', 'pids') AND limits.value IS NOT NULL
AND records.id IN (SELECT container FROM claims);
"""
#: That release took the fingerprint of a create over all fields of the spec that it knew. One that
#: is sent again since is known by its id, verb and container.
_FINGERPRINTS = "UPDATE requests SET fingerprint = '' WHERE verb = 'create';"
#: Version → what makes the next one of it.
_STEPS: Mapping[int, str] = {
    0: _FIRST,
    1: _SECOND + _PROMISES + _FINGERPRINTS,
    2: _THIRD,
    3: _FOURTH,
}


def make_room(database: sqlite3.Connection) -> None:
    """Has the files of the database be larger than they need: when the disk is full, containers
    can still be stopped and deleted, which makes room again.

    Both grow by it, the write-ahead log at once and the database at the next checkpoint, and keep
    what is not used.
    """
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE room (bytes)")
        database.execute("INSERT INTO room VALUES (zeroblob(?))", (_ROOM,))
        database.execute("DROP TABLE room")
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.Error as error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        LOG.warning("the journal has no room in reserve: %s", error)


def bring_up_to_date(database: sqlite3.Connection, path: Path) -> None:
    """One step after the other, each whole or not at all.

    Raises:
        HostUnavailable: a newer release has written it.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise HostUnavailable(
            f"cannot open the journal: it has version {version}, this agent knows {_VERSION}",
            object=str(path),
            hint="it was written by another release; use that one, or restore a backup",
        )
    for before in range(version, _VERSION):
        database.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[before]} PRAGMA user_version = {before + 1}; COMMIT"
        )
