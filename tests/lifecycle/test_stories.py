"""`explain` over lives, failures and ends of containers, on a fake host and a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched
from longshore.errors import ContainerNotFound, StartFailed
from longshore.lifecycle.pipeline import Context
from longshore.lifecycle.story import Stories
from longshore.model.state import State
from longshore.model.status import StoryStatus


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    life.pulls.stop(0.0)


def explain(life: Lifecycle, ref: str) -> StoryStatus:
    return Stories(life.journal, lambda: 2000.0, life.sweep.next, 60.0).explain(ref)


def whats(life: Lifecycle, ref: str) -> list[str]:
    return [one.what for one in explain(life, ref).entries]


def test_a_life(life: Lifecycle) -> None:
    spec, create, stop, delete = a_spec(), ask(), ask(), ask(origin="")
    life.containers.create(create, spec)
    story = explain(life, spec.name)
    assert story.container == life.containers.show(spec.id)
    assert [one.what for one in story.entries] == [
        f"create by test, request {create.id}, generation 1: absent → creating",
        "creating → running: it runs",
    ]
    steps = sum(step.seconds for step in story.container.steps)
    assert [one.seconds for one in story.entries] == [None, steps]
    assert (story.next_at, "stays stopped" in story.next) == (None, True)

    life.containers.stop(stop, spec.id)
    life.containers.delete(delete, spec.id)
    assert whats(life, spec.id)[2:] == [
        f"stop by test, request {stop.id}, generation 2: running → stopping",
        *[one for one in whats(life, spec.id) if one.startswith("stopping → stopped: ")],
        f"delete by somebody, request {delete.id}, generation 3: stopped → deleting",
        "deleting → absent: it was deleted, as wanted",
    ]
    for ref in (spec.id, spec.name, spec.id[:8]):
        gone = explain(life, ref)
        assert (gone.container.state, gone.container.id) == ("absent", spec.id)
        assert len(gone.entries) == 6
        assert "it is gone" in gone.next
    with pytest.raises(ContainerNotFound):
        explain(life, "never")


def test_one_that_removes_itself_tells_of_its_end(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 3)
    life.sweep_and_settle()
    told = whats(life, spec.id)
    assert [one.partition(":")[0] for one in told[-3:]] == [
        "running → stopped",
        "stopped → deleting",
        "deleting → absent",
    ]
    assert "exit code 3" in told[-3]


def test_a_failure_is_told_in_full(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec, start=False)

    def broken(_: Context) -> None:
        raise StartFailed("cannot start it: no", hint="look at it")

    with patched("start", do=broken), pytest.raises(StartFailed):
        life.containers.start(ask(), spec.id)
    last = explain(life, spec.id).entries[-1]
    assert last.error is not None
    assert (last.error.code, last.error.hint) == (StartFailed.code, "look at it")
    assert "cannot start it: no" in last.what


def test_the_newest_hundred_stay(life: Lifecycle) -> None:
    spec, other = a_spec(), a_spec()
    for one in (spec, other):
        life.containers.create(ask(), one)
    for _ in range(60):
        life.containers.stop(ask(), spec.id, grace=0.0)
        life.containers.start(ask(), spec.id)
    told = explain(life, spec.id).entries
    assert len(told) == 100
    assert told[-1].what == "starting → running: it runs"
    assert len(explain(life, other.id).entries) == 2


def test_stories_of_those_gone_go_with_the_time(life: Lifecycle) -> None:
    gone, stays = a_spec(), a_spec()
    for one in (gone, stays):
        life.containers.create(ask(), one)
    life.containers.delete(ask(), gone.id, force=True)
    with life.journal.transaction(durable=False) as tx:
        tx.prune_stories(0.0)
    assert len(whats(life, gone.id)) == 4
    with life.journal.transaction(durable=False) as tx:
        tx.prune_stories(1e12)
    with pytest.raises(ContainerNotFound):
        explain(life, gone.id)
    assert len(whats(life, stays.id)) == 2
    # One of the same id begins anew.
    life.containers.create(ask(), gone)
    assert whats(life, gone.id)[0].endswith("absent → creating")


def test_a_name_means_the_one_that_is_there(life: Lifecycle) -> None:
    first = a_spec(name="web")
    second = a_spec(name="web")
    for spec in (first, second):
        life.containers.create(ask(), spec)
        assert explain(life, "web").container.id == spec.id
        life.containers.delete(ask(), spec.id, force=True)
        assert explain(life, "web").container.id == spec.id
    assert explain(life, first.id).container.id == first.id


@pytest.mark.parametrize("step", ["rootfs", "network", "start"])
def test_what_died_in_the_middle_tells_what_is_recorded(life: Lifecycle, step: str) -> None:
    spec = a_spec()

    def die(_: Context) -> None:
        raise Died

    with patched(step, do=die), pytest.raises(Died):
        life.containers.create(ask(), spec)
    assert [one.rpartition(": ")[2] for one in whats(life, spec.id)] == ["absent → creating"]
    again = life.next_life()
    record = again.journal.get(spec.id)
    assert record is not None
    assert record.state is State.RUNNING
    assert whats(again, spec.id)[1:] == ["creating → running: it runs"]
    again.pulls.stop(0.0)


def test_what_is_not_committed_is_not_told(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    before = whats(life, spec.id)

    def died() -> None:
        with life.journal.transaction(durable=False) as tx:
            record = tx.get(spec.id)
            assert record is not None
            tx.put(record.but(state=State.STOPPED, reason="never"))
            raise Died

    with pytest.raises(Died):
        died()
    assert whats(life, spec.id) == before


def test_what_is_started_again_by_itself(life: Lifecycle) -> None:
    spec = a_spec(restart={"policy": "always"})
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 3)
    life.settle_hints()
    record = life.journal.get(spec.id)
    assert record is not None
    story = explain(life, spec.id)
    (ended,) = story.entries[2:]
    assert ended.what.startswith("running → restarting: its process ended, with exit code 3")
    assert record.restart_at is not None
    assert ("started again" in story.next, story.next_at) == (True, max(record.restart_at, 2000.0))
    life.pass_time(10_000.0)
    assert whats(life, spec.id)[-1] == "starting → running: it runs"


def test_what_changes_no_state_is_told_with_what_was_asked(life: Lifecycle) -> None:
    spec, kill, rename = a_spec(), ask(), ask()
    life.containers.create(ask(), spec)
    life.containers.kill(kill, spec.id, signal="HUP")
    life.containers.rename(rename, spec.id, "other")
    assert whats(life, "other")[2:] == [
        f"kill (SIGHUP) by test, request {kill.id}, generation 2",
        f"renamed from {spec.name} to other",
        f"rename by test, request {rename.id}, generation 3",
    ]
