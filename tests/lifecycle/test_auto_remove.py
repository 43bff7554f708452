"""`auto_remove`: what has ended goes by itself, whoever ended it and whenever the agent notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.lifecycle import Lifecycle, a_spec, ask, patched
from longshore.errors import HostBusy, HostUnavailable, LongshoreError, NameInUse
from longshore.lifecycle.pipeline import Context
from longshore.model.plan import ASKED_AGAIN, AUTO_REMOVE
from longshore.model.state import Desired, State


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def told(life: Lifecycle) -> list[str]:
    return [one.state for one in life.changes.after(0, 0)]


def test_it_ends_by_itself(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 3)
    life.settle_hints()
    assert told(life) == ["creating", "running", "stopped", "deleting", "absent"]
    assert "exit code 3" in life.changes.after(0, 0)[2].reason
    assert life.containers.list() == []
    assert life.fake.left() == {}
    life.containers.create(ask(), a_spec(name=spec.name))


def test_a_stop_gets_its_answer_and_then_it_is_gone(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)
    request = ask()
    answer = life.containers.stop(request, spec.id)
    assert (answer.state, answer.exit_code) == ("stopped", 143)
    assert life.containers.list() == []
    assert life.fake.left() == {}
    assert life.containers.stop(request, spec.id) == answer, "asked again"


def test_a_stop_gets_its_answer_though_the_removal_fails(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)

    def busy(*_: object) -> None:
        raise HostBusy("cannot remove it yet")

    with patched("files", undo=busy):
        assert life.containers.stop(ask(), spec.id).state == "stopped"
        record = life.containers.record(spec.id)
        assert record is not None
        assert (record.state, record.desired_by) == (State.DELETING, AUTO_REMOVE)
        assert record.leftovers
        with pytest.raises(NameInUse):
            life.containers.create(ask(), a_spec(name=spec.name))
    again = life.next_life()
    assert again.containers.list() == []
    assert again.fake.left() == {}


def test_a_start_that_fails_says_why_and_leaves_nothing(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(wait="created"), spec, start=False)

    def broken(_: Context) -> None:
        raise LongshoreError("cannot start it")

    request = ask()
    with patched("start", do=broken), pytest.raises(LongshoreError, match="cannot start it"):
        life.containers.start(request, spec.id)
    assert life.containers.list() == []
    assert life.fake.left() == {}
    with pytest.raises(LongshoreError, match="cannot start it"):
        life.containers.start(request, spec.id)


def test_a_failure_that_may_pass_leaves_it_for_the_next_try(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(wait="created"), spec, start=False)

    def away(_: Context) -> None:
        raise HostUnavailable("cannot reach containerd")

    request = ask()
    with patched("start", do=away), pytest.raises(HostUnavailable):
        life.containers.start(request, spec.id)
    assert life.containers.start(request, spec.id).state == "running"


def test_a_failure_that_may_pass_is_given_up_with_whoever_asked(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(wait="created"), spec, start=False)

    def away(_: Context) -> None:
        raise HostUnavailable("cannot reach containerd")

    with patched("start", do=away), pytest.raises(HostUnavailable):
        life.containers.start(ask(), spec.id)
    life.sweep_and_settle()
    record = life.containers.record(spec.id)
    assert record is not None
    assert record.state is State.ERROR
    with life.journal.transaction(durable=False) as tx:
        tx.put(record.but(desired_at=record.desired_at - ASKED_AGAIN - 100))
    life.sweep_and_settle()
    assert life.containers.list() == []
    assert life.fake.left() == {}


def test_a_failure_that_may_pass_is_given_up_with_a_stop(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(wait="created"), spec, start=False)

    def away(_: Context) -> None:
        raise HostUnavailable("cannot reach containerd")

    with patched("start", do=away), pytest.raises(HostUnavailable):
        life.containers.start(ask(), spec.id)
    assert life.containers.stop(ask(), spec.id).state == "stopped"
    assert life.containers.list() == []


def test_changes_tell_how_it_ended(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 3)
    life.settle_hints()
    found = [(one.state, one.exit_code) for one in life.changes.after(0, 0)]
    assert found == [
        ("creating", None), ("running", None), ("stopped", 3), ("deleting", 3), ("absent", 3)
    ]  # fmt: skip


def test_a_create_that_fails_is_kept_to_be_read(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)

    def broken(_: Context) -> None:
        raise LongshoreError("cannot start it")

    with patched("start", do=broken), pytest.raises(LongshoreError):
        life.containers.create(ask(), spec)
    assert life.containers.show(spec.id).state == "failed"


def test_it_ends_while_the_agent_is_away(life: Lifecycle) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)
    life.fake.tasks.there.pop(spec.id)
    again = life.next_life()
    assert again.containers.list() == []
    assert again.fake.left() == {}


def test_a_start_that_comes_as_it_ends_wins(life: Lifecycle) -> None:
    """As with any other container: the start is carried out, and it goes when it ends again."""
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 0)
    assert life.containers.start(ask(), spec.id).state == "running"
    record = life.containers.record(spec.id)
    assert record is not None
    assert record.desired is Desired.RUNNING
    assert life.containers.stop(ask(), spec.id).state == "stopped"
    assert life.containers.list() == []


def test_others_stay(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.containers.stop(ask(), spec.id)
    assert life.containers.show(spec.id).state == "stopped"
