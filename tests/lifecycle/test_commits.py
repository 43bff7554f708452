"""Commit: a container is paused for it, and goes on whatever happens; stop and delete wait."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, until
from longshore.errors import (
    HostUnavailable,
    IllegalTransition,
)
from longshore.model.commit import Commit
from longshore.model.host import Image, TaskStatus
from longshore.model.names import Names


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


@pytest.mark.parametrize("pause", [True, False])
def test_commit_pauses_what_runs(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, pause: bool
) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    seen: list[TaskStatus] = []
    commit = life.fake.images.commit

    def watched(names: Names, base: Image, name: str, change: Commit) -> Image:
        seen.append(life.fake.tasks.get(names).status)
        return commit(names, base, name, change)

    monkeypatch.setattr(life.fake.images, "commit", watched)
    assert life.images.commit(spec.name, "mine", Commit(pause=pause)).name.endswith("/mine:latest")
    assert seen == [TaskStatus.PAUSED if pause else TaskStatus.RUNNING]
    assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.RUNNING
    record = life.journal.get(spec.id)
    assert record is not None
    assert not record.paused


@pytest.mark.parametrize("again", ["next life", "tick"])
def test_what_stayed_paused_goes_on(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.sweep_and_settle()
    life.sweep_and_settle()

    def away(names: Names) -> None:
        raise HostUnavailable("cannot reach it: the test says so") if again == "tick" else Died

    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, "resume", away)
        if again == "tick":
            life.images.commit(spec.id, "mine", Commit())
            life.hints.clear()
        else:
            with pytest.raises(Died):
                life.images.commit(spec.id, "mine", Commit())
    assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.PAUSED
    if again == "tick":
        life.sweep.run()
        life.settle_hints()
    else:
        life = life.next_life()
    assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.RUNNING
    record = life.journal.get(spec.id)
    assert record is not None
    assert not record.paused


def test_what_somebody_else_paused_stays_so(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.tasks.pause(Names(spec.id))
    life = life.next_life()
    assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.PAUSED


def test_a_stop_of_what_stayed_paused_is_heard(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec(stop_grace=3600)
    life.containers.create(ask(), spec)

    def away(names: Names) -> None:
        raise HostUnavailable("cannot reach it: the test says so")

    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, "resume", away)
        life.images.commit(spec.id, "mine", Commit())
    assert life.containers.stop(ask(), spec.id).exit_code == 128 + 15


def test_commit_keeps_stop_and_delete_waiting(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    begun, go_on, commit = threading.Event(), threading.Event(), life.fake.images.commit

    def slow(names: Names, base: Image, name: str, change: Commit) -> Image:
        begun.set()
        go_on.wait(10)
        return commit(names, base, name, change)

    monkeypatch.setattr(life.fake.images, "commit", slow)
    with ThreadPoolExecutor(2) as door:
        committed = door.submit(life.images.commit, spec.id, "mine", Commit())
        assert begun.wait(10)
        deleted = door.submit(life.containers.delete, ask(), spec.id, force=True)
        until(lambda: life.containers.show(spec.id).state == "deleting")
        life.sweep_and_settle()  # holds up nobody who sees to all
        assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.PAUSED
        go_on.set()
        assert committed.result(10).digest
        assert deleted.result(10).state == "absent"
    assert life.fake.left() == {}


def test_commit_of_what_is_not_whole(life: Lifecycle) -> None:
    life.fake.sources.have("web")
    life.fake.sources.go.clear()
    spec = a_spec(image="web")
    life.containers.create(ask(wait="accepted"), spec)
    life.settle_hints()
    with pytest.raises(IllegalTransition) as caught:
        life.images.commit(spec.id, "mine", Commit())
    assert caught.value.details == {"state": "creating", "verb": "commit"}
    life.containers.delete(ask(), spec.id)


@pytest.mark.parametrize("state", ["created", "stopped"])
def test_commit_of_what_does_not_run(life: Lifecycle, state: str) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec, start=state == "stopped")
    if state == "stopped":
        life.containers.stop(ask(), spec.id)
    assert life.images.commit(spec.id, "localhost/mine:2", Commit()).name == "localhost/mine:2"
