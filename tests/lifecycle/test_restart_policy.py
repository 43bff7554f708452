"""The restart policy over whole lives of the agent, on a fake host and a clock of the test's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fakes.lifecycle import BACKOFF, Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed
from longshore.model.record import Record
from longshore.model.spec import ContainerSpec
from longshore.model.state import State

ALWAYS = {"policy": "always"}
#: Longer than the longest pause.
LONG = 2 * BACKOFF.most


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def made(life: Lifecycle, **restart: object) -> ContainerSpec:
    spec = a_spec(restart=restart)
    life.containers.create(ask(), spec)
    return spec


def record(life: Lifecycle, spec: ContainerSpec) -> Record:
    found = life.containers.record(spec.id)
    assert found is not None
    return found


def ends(life: Lifecycle, spec: ContainerSpec, code: int) -> Record:
    life.fake.tasks.end(spec.id, code)
    life.settle_hints()
    return record(life, spec)


def fail(*_: object) -> None:
    raise HostFailed("cannot do it: the test says so")


def test_it_is_started_again_after_a_pause_that_grows(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    pauses = []
    for count in range(5):
        waiting = ends(life, spec, 1)
        assert (waiting.state, waiting.restarts, waiting.exit_code) == (State.RESTARTING, count, 1)
        assert "always starts it again" in waiting.reason
        assert waiting.restart_at is not None
        pauses.append(round((waiting.restart_at - life.changes.after(0, 0)[-1].at) / 1000))
        life.pass_time(LONG)
        running = record(life, spec)
        assert (running.state, running.restarts) == (State.RUNNING, count + 1)
        assert running.restart_at is None
    assert pauses == [1, 2, 4, 8, 8]
    assert life.fake.tasks.created == [spec.id] * 6
    assert len(life.timers) == 0


def test_a_long_run_makes_the_next_pause_the_first(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    for _ in range(3):
        ends(life, spec, 1)
        life.pass_time(LONG)
    assert record(life, spec).tries == 3
    # The fake's processes end at 2 o'clock.
    with life.journal.transaction(durable=False) as tx:
        tx.put(record(life, spec).but(started_at=2.0 - BACKOFF.reset))
    assert ends(life, spec, 1).tries == 1


def test_nothing_happens_before_its_time(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    ends(life, spec, 0)
    for _ in range(5):
        life.sweep_and_settle()
        life.hints.append(spec.id)
        life.settle_hints()
    assert record(life, spec).state is State.RESTARTING
    assert life.fake.tasks.created == [spec.id]


def test_on_failure(life: Lifecycle) -> None:
    spec = made(life, policy="on-failure", retries=2)
    for _ in range(2):
        assert ends(life, spec, 1).state is State.RESTARTING
        life.pass_time(LONG)
    done = ends(life, spec, 1)
    assert (done.state, done.restart_at, done.restarts) == (State.STOPPED, None, 2)
    assert "2 times in a row" in done.reason
    life.containers.start(ask(), spec.id)
    fresh = record(life, spec)
    assert (fresh.restarts, fresh.tries) == (0, 0)
    well = ends(life, spec, 0)
    assert well.state is State.STOPPED
    assert "did its work" in well.reason


@pytest.mark.parametrize("code", [137, 143, 1])
def test_a_signal_is_a_failure(life: Lifecycle, code: int) -> None:
    spec = made(life, policy="on-failure")
    assert ends(life, spec, code).state is State.RESTARTING


def test_no_policy(life: Lifecycle) -> None:
    spec = made(life)
    assert ends(life, spec, 1).state is State.STOPPED
    assert len(life.timers) == 0


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_what_a_user_stopped_stays_stopped(life: Lifecycle, policy: str) -> None:
    spec = made(life, policy=policy)
    life.containers.stop(ask(), spec.id)
    life.pass_time(LONG)
    life = life.next_life()
    life.pass_time(LONG)
    assert record(life, spec).state is State.STOPPED
    assert life.fake.tasks.created == [spec.id]


def test_a_stop_in_the_pause_ends_it(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    ends(life, spec, 3)
    stopped = life.containers.stop(ask(), spec.id)
    assert (stopped.state, stopped.exit_code, stopped.restart_at) == ("stopped", 3, None)
    assert len(life.timers) == 0
    life.pass_time(LONG)
    assert life.fake.tasks.created == [spec.id]


def test_a_start_in_the_pause_skips_it(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    ends(life, spec, 3)
    started = life.containers.start(ask(), spec.id)
    assert (started.state, started.restarts, started.restart_at) == ("running", 0, None)
    life.pass_time(LONG)
    assert life.fake.tasks.created == [spec.id] * 2


def test_a_delete_in_the_pause(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    ends(life, spec, 3)
    life.containers.delete(ask(), spec.id, force=True)
    assert life.fake.left() == {}
    assert len(life.timers) == 0


def test_the_pause_goes_on_in_the_agents_next_life(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    before = ends(life, spec, 1)
    life = life.next_life()
    assert record(life, spec) == before
    life.pass_time(LONG)
    assert record(life, spec).state is State.RUNNING
    assert record(life, spec).restarts == 1


def test_a_boot_is_an_end_like_others(life: Lifecycle) -> None:
    spec, plain = made(life, **ALWAYS), made(life)
    life.fake.tasks.there.clear()
    life = life.next_life()
    life.pass_time(LONG)
    assert record(life, spec).state is State.RUNNING
    assert record(life, plain).state is State.STOPPED


def test_one_that_was_paused_when_it_ended(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    life.containers.pause(ask(), spec.id)
    assert ends(life, spec, 137).state is State.RESTARTING
    life.pass_time(LONG)
    assert record(life, spec).state is State.RUNNING


def test_an_automatic_start_that_fails_counts_and_goes_on(life: Lifecycle) -> None:
    spec = made(life, **ALWAYS)
    ends(life, spec, 1)
    with patched("network", do=fail):
        life.pass_time(LONG)
        waiting = record(life, spec)
        assert (waiting.state, waiting.tries, waiting.restarts) == (State.RESTARTING, 2, 1)
        assert waiting.error is not None
        assert "the test says so" in waiting.reason
    life.pass_time(LONG)
    running = record(life, spec)
    assert (running.state, running.error, running.restarts) == (State.RUNNING, None, 2)


def test_a_start_that_was_asked_for_and_fails_is_an_error(life: Lifecycle) -> None:
    spec = a_spec(restart=ALWAYS)
    life.containers.create(ask(), spec, start=False)
    with patched("network", do=fail), pytest.raises(HostFailed):
        life.containers.start(ask(), spec.id)
    life.pass_time(LONG)
    assert record(life, spec).state is State.ERROR


def test_retries_that_are_used_up_by_failed_starts(life: Lifecycle) -> None:
    spec = made(life, policy="on-failure", retries=2)
    ends(life, spec, 1)
    with patched("network", do=fail):
        for _ in range(3):
            life.pass_time(LONG)
    done = record(life, spec)
    assert (done.state, done.tries) == (State.ERROR, 2)
    assert "2 times in a row" in done.reason


def test_many_that_end_together_are_started_one_by_one(life: Lifecycle) -> None:
    specs = [made(life, **ALWAYS) for _ in range(5)]
    for spec in specs:
        ends(life, spec, 1)
    life.timers._gap = 50.0
    life.later += LONG
    rung = []
    while (wait := life.timers.run()) != 3600.0:
        if wait > 0:
            life.later += wait
            continue
        rung.append(life.timers._next)
    gaps = [after - before for before, after in itertools.pairwise(rung)]
    assert len(rung) == 5
    assert all(gap >= 50.0 for gap in gaps)
    life.settle_hints()
    assert {record(life, spec).state for spec in specs} == {State.RUNNING}
