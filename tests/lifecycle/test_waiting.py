"""`wait`: each condition, what comes of one that is gone, and what cannot come any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import Lifecycle, a_spec, ask, until
from longshore.errors import (
    Conflict,
    ContainerNotFound,
    DeadlineExceeded,
    Interrupted,
    InvalidRequest,
)
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.waiting import Waiting
from longshore.model.state import State
from longshore.model.status import Change, ContainerStatus, HealthStatus

FOR_EVER = 1e6


class Heard(Changes):
    """Counts who listens, so that a test knows that somebody waits."""

    listened = 0

    def after(self, seq: int, timeout: float) -> Any:
        self.listened += 1
        return super().after(seq, timeout)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    life.pulls.stop(0.0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def waiting(life: Lifecycle) -> Waiting:
    return Waiting(life.journal, life.changes, time.monotonic)


def yes() -> bool:
    return True


def begun(
    life: Lifecycle, pool: ThreadPoolExecutor, ref: str, condition: str, timeout: float = FOR_EVER
) -> Future[ContainerStatus]:
    """Waits, and has looked once and not seen it."""
    life.changes.__class__ = Heard
    heard = life.changes
    assert isinstance(heard, Heard)
    heard.listened = 0
    one = pool.submit(waiting(life).wait, ref, condition, timeout, yes)
    until(lambda: heard.listened > 0 or one.done())
    assert not one.done(), one.exception() or one.result()
    return one


def made(life: Lifecycle, *, start: bool = True, **changes: Any) -> str:
    return life.containers.create(ask(), a_spec(**changes), start=start).id


def end(life: Lifecycle, id: str, code: int) -> None:
    life.fake.tasks.end(id, code)
    life.settle_hints()


@pytest.mark.parametrize(("condition", "start"), [("not-running", False), ("running", True)])
def test_what_is_so_already(life: Lifecycle, condition: str, start: bool) -> None:
    id = made(life, start=start)
    status = waiting(life).wait(id[:8], condition, FOR_EVER, yes)
    assert (status.id, status.state) == (id, "running" if start else "created")


def test_not_running(life: Lifecycle, pool: ThreadPoolExecutor) -> None:
    id = made(life)
    one = begun(life, pool, id, "not-running")
    other = made(life)
    life.containers.stop(ask(), other, grace=0)
    assert not one.done()
    end(life, id, 7)
    assert (one.result(10).state, one.result().exit_code) == ("stopped", 7)


def test_of_one_that_is_removed_at_once_the_exit_code_is_known(
    life: Lifecycle, pool: ThreadPoolExecutor
) -> None:
    id = made(life, auto_remove=True)
    waits = [begun(life, pool, id, one) for one in ("not-running", "next-exit", "removed")]
    end(life, id, 3)
    assert life.containers.record(id) is None
    for one in waits:
        status = one.result(10)
        assert status.exit_code == 3
        assert status.state in ("stopped", "deleting", "absent")
    assert waits[-1].result().state == "absent"
    assert waits[-1].result().finished_at is not None


def test_next_exit_is_not_the_last_one(life: Lifecycle, pool: ThreadPoolExecutor) -> None:
    id = made(life)
    end(life, id, 1)
    one = begun(life, pool, id, "next-exit")
    life.containers.start(ask(), id)
    assert not one.done()
    end(life, id, 2)
    assert one.result(10).exit_code == 2


def test_running(life: Lifecycle, pool: ThreadPoolExecutor) -> None:
    id = made(life, start=False)
    one = begun(life, pool, id, "running")
    life.containers.start(ask(), id)
    assert one.result(10).state == "running"


def test_healthy(life: Lifecycle, pool: ThreadPoolExecutor) -> None:
    id = made(life, health={"type": "tcp", "port": 80})
    one = begun(life, pool, id, "healthy")
    for state in ("starting", "unhealthy", "healthy"):
        assert not one.done()
        record = life.containers.record(id)
        assert record is not None
        with life.journal.transaction(durable=False) as tx:
            tx.put(record.but(health=HealthStatus(state=state)))
        life.changes.add(record, record.state)
    health = one.result(10).health
    assert health is not None
    assert health.state == "healthy"


@pytest.mark.parametrize("health", [None, {"type": "none"}])
def test_healthy_of_one_that_nobody_probes(life: Lifecycle, health: Any) -> None:
    id = made(life, health=health)
    with pytest.raises(Conflict, match="nothing is probed"):
        waiting(life).wait(id, "healthy", FOR_EVER, yes)


@pytest.mark.parametrize("condition", ["running", "healthy", "next-exit"])
def test_what_cannot_come_of_one_that_is_deleted(
    life: Lifecycle, pool: ThreadPoolExecutor, condition: str
) -> None:
    id = made(life, start=False, health={"type": "tcp", "port": 80})
    one = begun(life, pool, id, condition)
    life.containers.delete(ask(), id)
    with pytest.raises(Conflict, match=r"gone|deleted"):
        one.result(10)


def test_running_of_one_whose_create_failed(life: Lifecycle) -> None:
    id = made(life)
    record = life.containers.record(id)
    assert record is not None
    with life.journal.transaction(durable=False) as tx:
        tx.put(record.but(state=State.FAILED, reason="no such command"))
    with pytest.raises(Conflict, match="no such command"):
        waiting(life).wait(id, "running", FOR_EVER, yes)
    assert waiting(life).wait(id, "not-running", FOR_EVER, yes).state == "failed"


def test_deadline_and_nobody(life: Lifecycle) -> None:
    id = made(life)
    wait = waiting(life).wait
    with pytest.raises(DeadlineExceeded) as late:
        wait(id, "removed", 0.01, yes)
    assert late.value.details == {"condition": "removed", "state": "running"}
    with pytest.raises(Interrupted):
        wait(id, "removed", FOR_EVER, lambda: False)
    with pytest.raises(ContainerNotFound):
        wait("nobody", "removed", FOR_EVER, yes)
    with pytest.raises(InvalidRequest) as refused:
        wait(id, "happy", FOR_EVER, yes)
    assert refused.value.field == "condition"


def test_changes_of_others_do_not_put_off_the_deadline(life: Lifecycle) -> None:
    """Not even where there is one at each look."""
    id = made(life)
    record = life.containers.record(id)
    assert record is not None
    other = record.but(spec=record.spec.model_copy(update={"id": "other"}))
    times = iter(range(1000))

    class Busy(Changes):
        def after(self, seq: int, timeout: float) -> list[Change]:
            self.add(other, other.state)
            return list(super().after(seq, 0.0))

    busy = Waiting(life.journal, Busy(lambda: 0.0), lambda: float(next(times)))
    with pytest.raises(DeadlineExceeded):
        busy.wait(id, "removed", 20.0, yes)
    assert next(times) < 200


def test_next_exit_of_one_that_is_started_again_by_itself(
    life: Lifecycle, pool: ThreadPoolExecutor
) -> None:
    """It does not stop for good; and each end counts."""
    id = made(life, restart={"policy": "always"})
    one = begun(life, pool, id, "next-exit")
    stays = begun(life, pool, id, "not-running")
    life.fake.tasks.end(id, 4)
    life.settle_hints()
    assert one.result(10).exit_code == 4
    assert one.result().state in ("restarting", "starting", "running")
    assert not stays.done()
    life.containers.stop(ask(), id, grace=0)
    assert stays.result(10).state == "stopped"
