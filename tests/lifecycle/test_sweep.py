"""The tick: orphans go, what runs unknown is left alone, the shared network is mended."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from fakes.images import IMAGE
from fakes.lifecycle import Lifecycle, a_spec, ask, patched
from longshore.errors import HostUnavailable
from longshore.lifecycle.pipeline import Context
from longshore.model.host import Task, TaskStatus
from longshore.model.names import Names


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def test_what_the_journal_does_not_know_is_removed(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    before = life.fake.left()
    orphan = Names(str(uuid.uuid4()))
    life.fake.rootfs.prepare(orphan, IMAGE)
    life.fake.network.attach(orphan, ())
    life.fake.volumes.mount(orphan, ())
    life.fake.network.orphans = {"lsh000000000000", Names(spec.id).veth}
    found = life.sweep.run().findings
    assert life.fake.left() == before
    assert life.fake.network.orphans == {Names(spec.id).veth}
    assert [orphan.id in one for one in found] == [True, False]
    assert life.sweep.run().findings == ()


def test_what_runs_unknown_to_the_journal_is_reported_and_left_alone(life: Lifecycle) -> None:
    orphan = Names(str(uuid.uuid4()))
    life.fake.rootfs.prepare(orphan, IMAGE)
    life.fake.tasks.there[orphan.id] = Task(TaskStatus.RUNNING, 5)
    (finding,) = life.sweep.run().findings
    assert "left alone" in finding
    assert life.fake.tasks.there
    assert set(life.fake.rootfs.snapshots) == {orphan.id}


def test_a_lost_table_has_every_container_published_again(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec(ports=[{"container_port": 80, "host_port": 8080}])
    life.containers.create(ask(), spec)
    published = dict(life.fake.network.published)
    life.sweep_and_settle()  # the one at start takes nothing for granted
    life.sweep.run()
    assert life.hints == []
    life.fake.network.published.clear()
    monkeypatch.setattr(life.fake.network, "prepare", lambda: True)
    life.sweep.run()
    life.settle_hints()
    assert life.fake.network.published == published


def test_a_stuck_container_holds_up_whoever_asked_for_it_and_nobody_else(life: Lifecycle) -> None:
    stuck, fine = a_spec(), a_spec()
    entered, go_on = threading.Event(), threading.Event()

    def hang(context: Context) -> None:
        if context.names.id == stuck.id:
            entered.set()
            go_on.wait(10)

    creator = threading.Thread(target=lambda: life.containers.create(ask(), stuck))
    with patched("volumes", do=hang):
        creator.start()
        entered.wait(10)
        for _ in range(3):
            life.sweep_and_settle()  # would wait for ever
        assert life.containers.create(ask(), fine).state == "running"
        go_on.set()
        creator.join(10)
    # Whoever held it has it looked at again.
    assert life.hints.count(stuck.id) == 1


def test_a_neighbour_that_is_away_is_a_finding(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise HostUnavailable("cannot reach containerd: the test says so")

    life.containers.create(ask(), a_spec())
    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, "list", away)
        status = life.sweep.run()
    assert any("cannot reach containerd" in one for one in status.findings)
    life.sweep.run()
    assert life.sweep.last.findings == ()
    # After it was away nothing is taken for granted.
    assert life.hints


def test_an_open_request_goes_with_the_failure_it_asked_for(life: Lifecycle) -> None:
    def away(*_: Any) -> None:
        raise HostUnavailable("cannot reach it: the test says so")

    request, spec = ask(), a_spec()
    with patched("start", do=away), pytest.raises(HostUnavailable):
        life.containers.create(request, spec)
    life.sweep_and_settle()
    asked = life.journal.requested(request.id)
    assert asked is not None
    # Looking again at what failed makes it no success, and no final failure either.
    assert asked.outcome is None
    shown = life.containers.show(spec.id)
    assert shown.error is not None
    assert shown.error.code == "host_unavailable"
    object.__setattr__(life.sweep._pace, "retention", 0)
    life.sweep.run()
    life.sweep.run()
    assert life.journal.get(spec.id) is None
    assert life.journal.requested(request.id) is None


def test_old_answers_and_old_failures_are_forgotten(life: Lifecycle) -> None:
    request, spec = ask(), a_spec()
    life.containers.create(request, spec)
    object.__setattr__(life.sweep._pace, "retention", 0)
    life.sweep.run()
    assert life.journal.requested(request.id) is None
    assert life.journal.get(spec.id) is not None
