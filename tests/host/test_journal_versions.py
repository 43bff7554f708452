"""Journals of older and newer releases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from longshore.errors import HostUnavailable, RequestConflict
from longshore.host.journal import Journal
from longshore.model.requested import fingerprint
from longshore.model.volume import Volume

ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"
FAILED = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0002"
BROKEN = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0003"
#: The tables of version 1, as release 0.1 made them.
V1 = """
CREATE TABLE records (id TEXT PRIMARY KEY, created_at REAL NOT NULL, document TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE requests (id TEXT PRIMARY KEY, container TEXT NOT NULL, verb TEXT NOT NULL,
    fingerprint TEXT NOT NULL, generation INTEGER NOT NULL, asked_at REAL NOT NULL, outcome TEXT)
    WITHOUT ROWID;
CREATE INDEX requests_open ON requests (container) WHERE outcome IS NULL;
CREATE INDEX requests_of ON requests (container, generation);
CREATE INDEX requests_age ON requests (asked_at);
CREATE TABLE claims (kind TEXT NOT NULL, key TEXT NOT NULL, container TEXT NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE INDEX claims_of ON claims (container);
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
#: A record as that release wrote it.
RECORD: Mapping[str, Any] = {
    "spec": {
        "id": ID,
        "name": "web",
        "image": "busybox:1",
        "pull": "if-not-present",
        "image_credential": None,
        "entrypoint": None,
        "command": [],
        "env": {},
        "workdir": None,
        "user": None,
        "hostname": None,
        "labels": {},
        "mounts": [
            {
                "type": "bind",
                "source": "/srv",
                "target": "/x",
                "read_only": False,
                "propagation": "rprivate",
            },
            {"type": "tmpfs", "target": "/t", "size": 4096},
        ],
        "nics": [{"network": "default", "address": None, "mac": None}],
        "ports": [
            {"container_port": 80, "host_port": None, "host_ip": "0.0.0.0", "protocol": "tcp"}
        ],
        "limits": {
            "cpus": 0.5,
            "cpu_shares": None,
            "cpuset": None,
            "memory": 67108864,
            "memory_swap": None,
            "pids": 20,
            "ulimits": [{"name": "nofile", "soft": 1, "hard": 2}],
            "shm_size": 67108864,
        },
        "stop_signal": None,
        "stop_grace": 10.0,
        "security": {
            "cap_add": ["NET_ADMIN"],
            "cap_drop": [],
            "read_only_rootfs": False,
            "privileged": False,
        },
    },
    "generation": 1,
    "desired": "running",
    "desired_by": "x",
    "desired_at": 1.0,
    "grace": None,
    "state": "running",
    "reason": "runs",
    "error": None,
    "leftovers": [],
    "facts": {
        "nics": [],
        "ports": [],
        "image": None,
        "user": {"uid": 0, "gid": 0, "groups": [10], "home": "/root"},
        "pid": None,
        "limits": {
            "memory": 67108864,
            "memory_swap": None,
            "cpus": 0.5,
            "cpu_shares": None,
            "cpuset": None,
            "pids": None,
        },
    },
    "steps": [],
    "created_at": 1.0,
    "started_at": None,
    "finished_at": None,
    "exit_code": None,
    "oom_at": None,
    "paused": False,
    "with_credential": False,
}


def tables(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    return [(name, " ".join((sql or "").replace("(", " ( ").split())) for name, sql in rows]


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """One that runs, one that failed and holds nothing, and one that nobody can read."""
    path = tmp_path / "journal.sqlite"
    failed = {**RECORD, "spec": {**RECORD["spec"], "id": FAILED}, "state": "failed"}
    with closing(sqlite3.connect(path)) as database:
        database.executescript(V1)
        for id, document in (
            (ID, json.dumps(RECORD)),
            (FAILED, json.dumps(failed)),
            (BROKEN, "{not JSON"),
        ):
            database.execute("INSERT INTO records VALUES (?, 1.0, ?)", (id, document))
        for kind, key, id in (("name", "web", ID), ("name", "db", BROKEN)):
            database.execute("INSERT INTO claims VALUES (?, ?, ?)", (kind, key, id))
        database.commit()
    return path


def test_a_journal_of_version_1_is_brought_up_to_date(old: Path, tmp_path: Path) -> None:
    journal = Journal(old)
    try:
        held = {name: journal.promised(name) for name in ("cpus", "memory", "pids", "disk")}
        assert held == {"cpus": 0.5, "memory": 67108864, "pids": 20, "disk": 0}
        assert journal.find("web") == ID
        assert journal.ids() == {ID, FAILED, BROKEN}
        record = journal.get(ID)
        assert record is not None
        assert record.spec.limits.memory == 67108864
        with journal.transaction(durable=True) as tx:
            tx.put_volume(Volume("data", 1.0, {"a": "b"}))
            tx.forget(ID)
        assert journal.promised("memory") == 0
    finally:
        journal.close()
    assert version(old) == 4
    fresh = Journal(tmp_path / "fresh" / "journal.sqlite")
    fresh.close()
    with closing(Journal(old)) as again, again.transaction(durable=False) as tx:
        assert list(tx.volumes()) == ["data"]
    assert [name for name, _ in tables(old)] == [
        name for name, _ in tables(tmp_path / "fresh" / "journal.sqlite")
    ]


def test_what_ran_before_stories_were_told_has_one_from_now_on(old: Path) -> None:
    with closing(Journal(old, lambda: 7.0)) as journal:
        assert journal.story("web").entries == ()
        with journal.transaction(durable=False) as tx:
            record = tx.get(ID)
            assert record is not None
            tx.put(record.but(reason="its limits were put right"))
        (entry,) = journal.story(ID).entries
        assert (entry.at, entry.what) == (7.0, "its limits were put right")


def test_a_story_is_bounded_by_the_table_itself(old: Path) -> None:
    with closing(Journal(old)) as journal:
        for number in range(105):
            with journal.transaction(durable=False) as tx:
                record = tx.get(ID)
                assert record is not None
                tx.put(record.but(reason=str(number)))
        told = [one.what for one in journal.story(ID).entries]
    assert told == [str(number) for number in range(5, 105)]


def test_a_create_of_the_older_release_is_known_again(old: Path) -> None:
    """It took the fingerprint in its own way, which is not that of this release."""
    with closing(sqlite3.connect(old)) as database:
        for id, verb in (("r1", "create"), ("r2", "stop")):
            row = (id, ID, verb, fingerprint(verb, {"of": "that release"}), 1, 1.0)
            database.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
        database.commit()
    with closing(Journal(old)) as journal:
        create, stop = journal.requested("r1"), journal.requested("r2")
    assert create is not None
    create.check_same("create", ID, {"of": "this release"})
    for verb, id in (("create", FAILED), ("delete", ID)):
        with pytest.raises(RequestConflict):
            create.check_same(verb, id, {})
    assert stop is not None
    stop.check_same("stop", ID, {"of": "that release"})
    with pytest.raises(RequestConflict):
        stop.check_same("stop", ID, {"of": "this release"})


def test_half_a_step_is_none(old: Path) -> None:
    """What the step wants to make is there already, as no release leaves it."""
    with closing(sqlite3.connect(old)) as database:
        database.execute("CREATE TABLE volumes (x)")
        before = tables(old)
    with pytest.raises(HostUnavailable, match="cannot open the journal"):
        Journal(old)
    assert (tables(old), version(old)) == (before, 1)


def test_a_journal_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 5")
    with pytest.raises(HostUnavailable, match="it has version 5, this agent knows 4"):
        Journal(path)
    assert tables(path) == []
