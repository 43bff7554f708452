"""Limits that drift, and memory that runs out, on a fake host and a real journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed, LimitNotApplied, NotFound
from longshore.lifecycle.steps.limits import keep
from longshore.model.host import AppliedLimits, MemoryUse
from longshore.model.limits import IoLimit, Limits, Ulimit
from longshore.model.names import Names
from longshore.model.record import Record
from longshore.model.spec import ContainerSpec

ASKED = Limits(pids=100)
USED = MemoryUse("/longshore/x", 900, 1000, 1)


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    life = Lifecycle(tmp_path)
    life.fake.cgroups.applied = AppliedLimits(pids=100)
    return life


def running(life: Lifecycle, **changes: Any) -> ContainerSpec:
    spec = a_spec(limits={"pids": 100}, **changes)
    life.containers.create(ask(), spec)
    life.sweep_and_settle()  # the one at start takes nothing for granted
    return spec


def record(life: Lifecycle, spec: ContainerSpec) -> Record:
    found = life.journal.get(spec.id)
    assert found is not None
    return found


def test_a_limit_that_the_runtime_left_out_is_set_before_the_start(life: Lifecycle) -> None:
    life.fake.cgroups.applied = AppliedLimits(pids=50)
    spec = a_spec(limits={"pids": 100})
    with pytest.raises(LimitNotApplied, match="asked 100, the kernel has 50") as caught:
        life.containers.create(ask(), spec)
    assert caught.value.field == "limits.pids"
    assert life.fake.cgroups.mended == [ASKED]
    assert life.fake.left() == {}


def test_drift_is_found_put_right_and_told(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = running(life)
    assert (life.sweep.run().findings, life.hints) == ((), [])
    life.fake.cgroups.applied = AppliedLimits(pids=50)

    def update(names: Names, limits: Limits) -> None:
        assert (names.id, limits) == (spec.id, ASKED)
        life.fake.cgroups.applied = AppliedLimits(pids=100)

    monkeypatch.setattr(life.fake.tasks, "update", update)
    (finding,) = life.sweep.run().findings
    assert finding == f"container {spec.name}: limits.pids: asked 100, the kernel has 50"
    life.settle_hints()
    now = record(life, spec)
    assert now.error is None
    assert "put right: limits.pids: asked 100, the kernel has 50" in now.reason
    assert now.facts.limits == AppliedLimits(pids=100)
    assert (life.sweep.run().findings, life.hints) == ((), [])
    told = [one for one in life.changes.after(0, 0) if one.kind == "limits"]
    assert [(one.id, one.state, one.reason) for one in told] == [(spec.id, "running", now.reason)]


def test_a_disk_that_is_pulled_out_is_told_once(life: Lifecycle) -> None:
    rates = {"device": "/dev/vdz", "read_bps": 5}
    io = (IoLimit.model_validate(rates),)
    life.fake.cgroups.applied = AppliedLimits(io=io)
    spec = a_spec(limits={"io": [rates]})
    life.containers.create(ask(), spec)
    life.sweep_and_settle()
    life.fake.cgroups.applied = AppliedLimits(gone=("/dev/vdz",))
    (finding,) = life.sweep.run().findings
    assert finding.endswith("the disk of /dev/vdz is gone")
    life.settle_hints()
    now = record(life, spec)
    assert now.error is None
    assert now.reason == "it runs; limits.io[0].device: the disk of /dev/vdz is gone"
    assert (life.sweep.run().findings, life.hints) == ((), [])


@pytest.mark.parametrize("late", [False, True])
def test_one_that_ends_while_its_limits_are_looked_at(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    spec = running(life)
    read = life.fake.cgroups.read
    life.fake.cgroups.applied = AppliedLimits(pids=50)
    looks: list[int] = []

    def ending(pid: int, limits: Limits, *, asked_only: bool = False) -> AppliedLimits:
        looks.append(pid)
        if late and len(looks) == 1:
            return read(pid, limits)
        raise NotFound("cannot read the limits: it is gone")

    found = record(life, spec)
    monkeypatch.setattr(life.fake.cgroups, "read", ending)
    assert keep(life.host, found) == (None, None)
    assert len(looks) == 1 + late


def test_drift_that_stays_is_an_error_until_it_is_gone(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = running(life)
    life.fake.cgroups.applied = AppliedLimits(pids=50)

    def update(*_: object) -> None:
        raise HostFailed("cannot set the limits: the test says so")

    monkeypatch.setattr(life.fake.tasks, "update", update)
    for _ in range(2):
        assert len(life.sweep.run().findings) == 1
        life.settle_hints()
        error = record(life, spec).error
        assert error is not None
        assert (error["code"], error["field"]) == ("limit_not_applied", "limits.pids")
        assert "the test says so" in error["message"]
    assert record(life, spec).state == "running"
    # Somebody put it right by hand.
    life.fake.cgroups.applied = AppliedLimits(pids=100)
    assert life.sweep.run().findings == ()
    life.settle_hints()
    assert record(life, spec).error is None
    assert life.sweep.run().findings == ()
    assert life.hints == []


def test_a_missed_event_is_made_up_for_at_the_end(life: Lifecycle) -> None:
    spec = running(life)
    life.fake.cgroups.used = USED
    life.fake.tasks.end(spec.id, 137)
    life.settle_hints()
    found = record(life, spec)
    assert found.out_of_memory is not None
    assert (found.out_of_memory.peak, found.out_of_memory.limit) == (900, 1000)
    assert "exit code 137; the kernel killed it or a part of it: out of memory" in found.reason
    assert "it came to 900 of 1000 bytes in cgroup /longshore/x" in found.reason


def test_a_child_that_is_killed_is_noted_while_the_container_goes_on(life: Lifecycle) -> None:
    spec = running(life)
    life.fake.cgroups.used = USED
    life.converge.out_of_memory(spec.id)
    noted = record(life, spec).out_of_memory
    assert noted is not None
    assert (record(life, spec).state, noted.cgroup) == ("running", "/longshore/x")
    life.containers.stop(ask(), spec.id, grace=0)
    found = record(life, spec)
    assert "out of memory" in found.reason
    assert found.out_of_memory == noted
    # Of the next run none of it is true.
    life.fake.cgroups.used = MemoryUse("/longshore/x", 1, 1000, 0)
    life.containers.start(ask(), spec.id)
    life.containers.stop(ask(), spec.id, grace=0)
    assert "out of memory" not in record(life, spec).reason


def test_an_event_that_comes_after_the_end_completes_the_reason(life: Lifecycle) -> None:
    """systemd removes a cgroup with its last process: no one can look into it any more."""
    spec = running(life)
    life.fake.tasks.end(spec.id, 137)
    life.settle_hints()
    assert "out of memory" not in record(life, spec).reason
    for _ in range(2):
        life.converge.out_of_memory(spec.id)
        found = record(life, spec)
        assert found.reason.count("out of memory") == 1
        assert found.out_of_memory is not None
        assert found.out_of_memory.peak is None


def test_who_waits_for_memory_was_not_killed(life: Lifecycle) -> None:
    limits = {"memory": 2**23, "oom_policy": "pause", "pids": 100}
    life.fake.cgroups.applied = AppliedLimits(pids=100, memory=2**23, oom_policy="pause")
    spec = a_spec(limits=limits)
    life.containers.create(ask(), spec)
    life.fake.cgroups.used = MemoryUse("/longshore/x", 2**23, 2**23, 0)
    life.converge.out_of_memory(spec.id)
    found = record(life, spec)
    assert found.out_of_memory is None
    assert "its processes wait" in found.reason


def test_an_end_that_comes_while_its_memory_is_looked_at(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = running(life)

    def ending(names: Names) -> None:
        monkeypatch.undo()
        life.fake.tasks.end(spec.id, 137)
        life.settle_hints()

    monkeypatch.setattr(life.fake.cgroups, "memory", ending)
    life.converge.out_of_memory(spec.id)
    assert record(life, spec).state == "stopped"
    assert "exit code 137; the kernel killed it" in record(life, spec).reason


def test_memory_that_cannot_be_looked_at_keeps_no_end_from_being_noted(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(names: Names) -> None:
        raise HostFailed("cannot read it: the test says so")

    spec = running(life)
    monkeypatch.setattr(life.fake.cgroups, "memory", broken)
    life.fake.tasks.end(spec.id, 3)
    life.settle_hints()
    assert (record(life, spec).state, record(life, spec).exit_code) == ("stopped", 3)


def test_a_process_that_ends_while_its_limits_are_looked_at(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = running(life)

    def gone(*_: object, **__: object) -> AppliedLimits:
        raise NotFound("cannot read the limits: it is gone")

    monkeypatch.setattr(life.fake.cgroups, "read", gone)
    assert life.sweep.run().findings == ()
    life.sweep_and_settle()
    assert record(life, spec).error is None


def test_limits_that_cannot_be_read_are_a_finding(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = running(life)

    def broken(*_: object, **__: object) -> AppliedLimits:
        raise HostFailed("cannot read the limits: the test says so")

    monkeypatch.setattr(life.fake.cgroups, "read", broken)
    assert life.sweep.run().findings == (
        f"container {spec.name}: cannot read the limits: the test says so",
    )


def test_what_runs_already_may_have_moved_its_own_limits(life: Lifecycle) -> None:
    """Many raise their soft limit of open files; adopting them must not take it back."""
    asked = {"ulimits": [{"name": "nofile", "soft": 10, "hard": 20}]}
    life.fake.cgroups.applied = AppliedLimits(ulimits=(Ulimit(name="nofile", soft=10, hard=20),))
    spec = a_spec(limits=asked)
    with patched("start", do=_die), pytest.raises(Died):
        life.containers.create(ask(), spec)
    life.fake.tasks.start(Names(spec.id))
    moved = Ulimit(name="nofile", soft=20, hard=20)
    life.fake.cgroups.applied = AppliedLimits(ulimits=(moved,))
    again = life.next_life()
    found = again.journal.get(spec.id)
    assert found is not None
    assert (found.state, found.error) == ("running", None)
    assert life.fake.cgroups.mended == []


def _die(*_: object) -> None:
    raise Died
