"""Whose logs have grown: real folders and files, one inotify instance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from longshore.host import log_watch
from longshore.host.log_watch import LogWatch

A, B = str(uuid4()), str(uuid4())


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[LogWatch]:
    make(tmp_path, A)
    one = LogWatch(tmp_path)
    yield one
    one.close()


def make(folder: Path, id: str) -> Path:
    (folder / id).mkdir()
    log = folder / id / "stdout.log"
    log.touch()
    return log


def append(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b"x\n")


def test_all_at_first_and_then_what_grows(watch: LogWatch, tmp_path: Path) -> None:
    assert watch.grown(0) == {A}
    assert watch.grown(0) == set()
    for _ in range(100):
        append(tmp_path / A / "stdout.log")
    assert watch.grown(20) == {A}
    assert watch.grown(0) == set()
    # What else is in the folder, and what is ours, makes no look.
    append(tmp_path / A / "hosts")
    append(tmp_path / A / ".stdout.index")
    assert watch.grown(0) == set()


def test_one_that_comes_and_one_that_goes(watch: LogWatch, tmp_path: Path) -> None:
    watch.grown(0)
    log = make(tmp_path, B)
    append(log)
    assert watch.grown(20) == {B}
    append(log)
    assert watch.grown(20) == {B}
    log.unlink()
    log.parent.rmdir()
    assert watch.grown(20) == {B}
    assert list(watch._ids.values()) == [A]
    (tmp_path / "no-container").mkdir()
    assert watch.grown(0) == set()


def test_it_is_interrupted(watch: LogWatch) -> None:
    watch.grown(0)
    watch.interrupt()
    assert watch.grown(600) == set()


def test_more_events_than_the_kernel_keeps(watch: LogWatch, tmp_path: Path) -> None:
    watch.grown(0)
    other = make(tmp_path, B)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    watch.grown(20)
    logs = [os.open(one, os.O_WRONLY | os.O_APPEND) for one in (tmp_path / A / "stdout.log", other)]
    for _ in range(limit):
        for log in logs:
            os.write(log, b"x")
    for log in logs:
        os.close(log)
    assert watch.grown(20) == {A, B}


@pytest.mark.parametrize("which", ["instances", "watches"])
def test_where_the_node_has_no_more_all_are_looked_at(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def inotify_init1(self, flags: int) -> int:
            return -1 if which == "instances" else os.open("/dev/null", os.O_RDONLY)

        def inotify_add_watch(self, *_: object) -> int:
            return -1

    make(tmp_path, A)
    monkeypatch.setattr(log_watch, "libc", Full())
    watch = LogWatch(tmp_path)
    try:
        assert watch.unwatched()
        for _ in range(3):
            assert watch.grown(0) == {A}
        make(tmp_path, B)
        assert watch.grown(0) == {A, B}
    finally:
        watch.close()
