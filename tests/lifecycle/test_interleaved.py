"""What happens when two things happen at once, or the agent dies between two lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched
from longshore.errors import HostBusy, HostFailed, HostUnavailable, StaleGeneration
from longshore.lifecycle.ports import Host
from longshore.model.host import Task, TaskStatus
from longshore.model.names import Names


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def somebody_first(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the intent and the lock, a tick settles the container."""
    settle = life.converge.settle

    def late(id: str, **admitted: Any) -> None:
        settle(id)
        settle(id, **admitted)

    monkeypatch.setattr(life.converge, "settle", late)


def test_a_create_that_a_tick_overtakes_is_not_killed(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    somebody_first(life, monkeypatch)
    assert life.containers.create(ask(), spec).state == "running"
    assert life.containers.show(spec.id).state == "running"
    assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.RUNNING


def test_a_start_that_another_overtakes_does_not_kill_it(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec, start=False)
    somebody_first(life, monkeypatch)
    assert life.containers.start(ask(), spec.id).state == "running"
    assert life.containers.show(spec.id).state == "running"
    assert life.fake.tasks.created == [spec.id]


def test_a_new_container_is_not_undone_before_it_is_made(life: Lifecycle) -> None:
    undone: list[str] = []

    def undo(host: Host, names: Names) -> None:
        undone.append(names.id)

    with patched("rootfs", undo=undo), patched("volumes", undo=undo):
        spec = a_spec()
        life.containers.create(ask(), spec)
        assert undone == []


def test_a_start_of_what_ended_unnoticed_starts_it(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    del life.fake.tasks.there[spec.id]  # as after a reboot
    assert life.containers.start(ask(), spec.id).state == "running"
    assert life.fake.tasks.created == [spec.id, spec.id]


def test_the_end_is_written_down_before_it_is_removed(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 7)

    def die(host: Host, names: Names) -> None:
        host.tasks.delete(names)
        raise Died

    with patched("task", undo=die), pytest.raises(Died):
        life.settle_hints()
    life = life.next_life()
    shown = life.containers.show(spec.id)
    assert (shown.state, shown.exit_code) == ("stopped", 7)


def test_out_of_memory_is_in_the_reason(life: Lifecycle) -> None:
    spec, other = a_spec(), a_spec()
    for one in (spec, other):
        life.containers.create(ask(), one)
    life.converge.out_of_memory(spec.id)
    for one in (spec, other):
        life.fake.tasks.end(one.id, 137)
    life.settle_hints()
    assert "out of memory" in life.containers.show(spec.id).reason
    assert "out of memory" not in life.containers.show(other.id).reason
    # The next run is another story.
    life.containers.start(ask(), spec.id)
    life.fake.tasks.end(spec.id, 137)
    life.settle_hints()
    assert "out of memory" not in life.containers.show(spec.id).reason


def test_what_runs_is_kept_though_something_around_it_fails_at_adoption(life: Lifecycle) -> None:
    spec, request = a_spec(), ask()

    def dies(context: Any) -> None:
        context.host.tasks.start(context.names)
        raise Died

    def fails(context: Any) -> None:
        raise HostFailed("cannot do it: the test says so")

    with patched("start", do=dies), pytest.raises(Died):
        life.containers.create(request, spec)
    with patched("volumes", do=fails):
        life = life.next_life()
        assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.RUNNING
        shown = life.containers.show(spec.id)
        assert shown.error is not None
    life.sweep_and_settle()
    assert life.containers.create(request, spec).state == "running"
    assert life.fake.tasks.created == [spec.id]


def test_what_was_asked_before_the_deletion_may_not_come_after_it(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(generation=1), spec)
    life.containers.delete(ask(generation=2), spec.id, force=True)
    with pytest.raises(StaleGeneration):
        life.containers.create(ask(generation=1), spec)
    assert life.fake.left() == {}
    assert life.containers.create(ask(generation=3), spec).state == "running"


def test_a_create_waits_for_the_clearing_up_of_the_one_before(life: Lifecycle) -> None:
    spec, request = a_spec(), ask()

    def away(*_: Any) -> None:
        raise HostUnavailable("cannot reach it: the test says so")

    with patched("network", undo=away), patched("start", do=away):
        with pytest.raises(HostUnavailable):
            life.containers.create(request, spec)
        with pytest.raises(HostBusy):
            life.containers.create(request, spec)
    life.sweep_and_settle()
    assert life.containers.create(request, spec).state == "running"


def test_no_neighbour_is_asked_inside_the_transaction(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, request = a_spec(), ask()
    get = life.fake.images.get

    def asked(name: str) -> Any:
        assert not life.journal._database.in_transaction
        return get(name)

    def away(*_: Any) -> None:
        raise HostUnavailable("cannot reach it: the test says so")

    monkeypatch.setattr(life.fake.images, "get", asked)
    with patched("start", do=away), pytest.raises(HostUnavailable):
        life.containers.create(request, spec)
    assert life.containers.create(request, spec).state == "running"


def test_a_shim_that_does_not_answer_is_not_taken_for_an_orphan(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    with life.journal.transaction(durable=True) as tx:
        tx.forget(spec.id)
    life.fake.tasks.there[spec.id] = Task(TaskStatus.UNKNOWN)
    (finding,) = life.sweep.run().findings
    assert "left alone" in finding
    assert spec.id in life.fake.tasks.there


def test_a_record_that_nobody_can_read_hides_no_other(life: Lifecycle) -> None:
    spec, broken = a_spec(), a_spec()
    for one in (spec, broken):
        life.containers.create(ask(), one)
    life.journal._database.execute(
        "UPDATE records SET document = ? WHERE id = ?", (json.dumps({"spec": {}}), broken.id)
    )
    assert [one.id for one in life.containers.list()] == [spec.id]
    with pytest.raises(HostFailed, match="cannot read the record"):
        life.containers.show(broken.id)
    life.sweep.run()
    life.converge.visit(broken.id)  # as a worker does; it goes on
    assert life.fake.tasks.get(Names(broken.id)).status is TaskStatus.RUNNING
