"""For every step of CREATE: do fails, undo fails, the process dies before, in and after it.

Parametrised over the real tuple: a new step is covered the day it is added. The same matrix runs
against the real host in tests/e2e, where after one step is before the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import STEPS, Died, Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed, HostUnavailable, LongshoreError
from longshore.lifecycle.create import CREATE, RUN
from longshore.model.state import State

PUBLISHED: dict[str, Any] = {"ports": [{"container_port": 80, "host_port": 8080}]}
#: Something for every step to do.
EVERYTHING: dict[str, Any] = {
    **PUBLISHED,
    "mounts": [{"type": "volume", "name": "kept", "target": "/kept"}],
    "limits": {"disk": 2**20},
    "security": {"user_namespace": True},
    "secrets": [{"name": "password", "value": "s3cret"}],
}

RUNNING = [step.name for step in RUN]


def fail(*_: Any) -> None:
    raise HostFailed("cannot do it: the test says so", hint="do not")


def fault(*_: Any) -> None:
    raise KeyError("a fault of ours")


def die(*_: Any) -> None:
    raise Died


@pytest.mark.parametrize("broken", [fail, fault])
@pytest.mark.parametrize("step", STEPS)
def test_do_fails(tmp_path: Path, step: str, broken: Any) -> None:
    life, spec, request = Lifecycle(tmp_path), a_spec(**EVERYTHING), ask()
    with patched(step, do=broken), pytest.raises(LongshoreError) as caught:
        life.containers.create(request, spec)
    assert life.fake.left() == {}
    record = life.journal.get(spec.id)
    assert record is not None
    assert record.state is State.FAILED
    assert record.error is not None
    assert record.error["message"] == str(caught.value)
    # What it claimed is free again, and the same request gets the same answer.
    other = a_spec(name=spec.name, **PUBLISHED)
    assert life.containers.create(ask(), other).state == "running"
    with pytest.raises(type(caught.value), match=str(caught.value)):
        life.containers.create(request, spec)


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_that_may_pass_can_be_asked_again(tmp_path: Path, step: str) -> None:
    def unavailable(*_: Any) -> None:
        raise HostUnavailable("cannot reach it: the test says so")

    life, spec, request = Lifecycle(tmp_path), a_spec(**EVERYTHING), ask(generation=5)
    with patched(step, do=unavailable), pytest.raises(HostUnavailable):
        life.containers.create(request, spec)
    assert life.fake.left() == {}
    assert life.containers.create(request, spec).state == "running"


@pytest.mark.parametrize("step", STEPS)
def test_undo_fails_too(tmp_path: Path, step: str) -> None:
    life, spec = Lifecycle(tmp_path), a_spec(**EVERYTHING)
    with patched(step, undo=fail), patched(STEPS[-1], do=fail):
        with pytest.raises(HostFailed) as caught:
            life.containers.create(ask(), spec)
        assert any(step in note for note in caught.value.__notes__)
        record = life.journal.get(spec.id)
        assert record is not None
        # A task that stays keeps its record, too: removed alone, nobody would find it again.
        kept = [step, "record"] if step == "task" else [step]
        assert [one.partition(":")[0] for one in record.leftovers] == kept
        # While something is left, its name and port are not given to others.
        with pytest.raises(LongshoreError, match="taken"):
            life.containers.create(ask(), a_spec(name=spec.name))
        life.sweep.run()
        assert any("left over" in finding for finding in life.sweep.last.findings)
    life.sweep_and_settle()
    record = life.journal.get(spec.id)
    assert record is not None
    assert record.leftovers == ()
    assert life.fake.left() == {}
    assert life.containers.create(ask(), a_spec(name=spec.name, **PUBLISHED)).state == "running"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_dies_in_create(tmp_path: Path, step: str, when: str) -> None:
    life, spec, request = Lifecycle(tmp_path), a_spec(**EVERYTHING), ask()
    (real,) = [one.do for one in CREATE if one.name == step]

    def do(context: Any) -> None:
        if when == "after":
            real(context)
        raise Died

    with patched(step, do=do), pytest.raises(Died):
        life.containers.create(request, spec)
    life = life.next_life()
    assert life.containers.show(spec.id).state == "running"
    # Started once: what ran already was kept, and nothing runs beside it.
    assert list(life.fake.tasks.there) == [spec.id]
    assert life.fake.rootfs.leases == set()
    if (step, when) == ("start", "after"):
        assert life.fake.tasks.created == [spec.id]
    # Whoever asked, and asks again, gets the answer.
    assert life.containers.create(request, spec).state == "running"
    life.containers.delete(ask(), spec.id, force=True)
    assert life.fake.left() == {}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_dies_in_delete(tmp_path: Path, step: str, when: str) -> None:
    life, spec, request = Lifecycle(tmp_path), a_spec(**EVERYTHING), ask()
    life.containers.create(ask(), spec)
    (real,) = [one.undo for one in CREATE if one.name == step]

    def undo(*arguments: Any) -> None:
        if when == "after":
            real(*arguments)
        raise Died

    with patched(step, undo=undo), pytest.raises(Died):
        life.containers.delete(request, spec.id, force=True)
    life = life.next_life()
    assert life.fake.left() == {}
    assert life.journal.list() == []
    assert life.containers.delete(request, spec.id, force=True).state == "absent"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_dies_while_rolling_back(tmp_path: Path, step: str, when: str) -> None:
    """A create that failed, and an agent that died undoing it: it is begun anew."""
    life, spec, request = Lifecycle(tmp_path), a_spec(**EVERYTHING), ask()
    (real,) = [one.undo for one in CREATE if one.name == step]

    def undo(*arguments: Any) -> None:
        if when == "after":
            real(*arguments)
        raise Died

    with patched(step, undo=undo), patched("limits", do=fail), pytest.raises(Died):
        life.containers.create(request, spec)
    life = life.next_life()
    assert life.containers.create(request, spec).state == "running"
    life.containers.delete(ask(), spec.id, force=True)
    assert life.fake.left() == {}


@pytest.mark.parametrize("how", ["do", "undo"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", RUNNING)
def test_dies_in_restart(tmp_path: Path, step: str, when: str, how: str) -> None:
    life, spec, request = Lifecycle(tmp_path), a_spec(**EVERYTHING), ask()
    life.containers.create(ask(), spec)
    with patched(step, **{how: _dying(step, how, when)}), pytest.raises(Died):
        life.containers.restart(request, spec.id)
    life = life.next_life()
    assert life.containers.show(spec.id).state == "running"
    assert list(life.fake.tasks.there) == [spec.id]
    assert len(life.fake.tasks.created) >= 2, "it is another process"
    assert life.containers.restart(request, spec.id).state == "running"
    life.containers.delete(ask(), spec.id, force=True)
    assert life.fake.left() == {}


@pytest.mark.parametrize("how", ["do", "undo"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", RUNNING)
def test_dies_while_its_policy_starts_it_again(
    tmp_path: Path, step: str, when: str, how: str
) -> None:
    life, spec = Lifecycle(tmp_path), a_spec(**EVERYTHING, restart={"policy": "always"})
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 1)
    life.settle_hints()
    with patched(step, **{how: _dying(step, how, when)}), pytest.raises(Died):
        life.pass_time(1e5)
    life = life.next_life()
    life.pass_time(1e5)
    record = life.journal.get(spec.id)
    assert record is not None
    assert (record.state, record.restarts) == (State.RUNNING, 1)
    assert list(life.fake.tasks.there) == [spec.id]
    life.containers.delete(ask(), spec.id, force=True)
    assert life.fake.left() == {}


@pytest.mark.parametrize("verb", ["pause", "unpause"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_dies_in_pause_and_unpause(
    tmp_path: Path, verb: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, spec, request = Lifecycle(tmp_path), a_spec(), ask()
    life.containers.create(ask(), spec)
    if verb == "unpause":
        life.containers.pause(ask(), spec.id)
    call = {"pause": "pause", "unpause": "resume"}[verb]
    real = getattr(life.fake.tasks, call)

    def dying(names: Any) -> None:
        if when == "after":
            real(names)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, call, dying)
        with pytest.raises(Died):
            getattr(life.containers, verb)(request, spec.id)
    life = life.next_life()
    wanted = {"pause": "paused", "unpause": "running"}[verb]
    assert life.containers.show(spec.id).state == wanted
    assert life.fake.tasks.there[spec.id].status == wanted
    assert getattr(life.containers, verb)(request, spec.id).state == wanted


def _dying(step: str, how: str, when: str) -> Any:
    (real,) = [getattr(one, how) for one in CREATE if one.name == step]

    def call(*arguments: Any) -> None:
        if when == "after":
            real(*arguments)
        raise Died

    return call


def test_the_matrix_has_a_row_for_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(set(STEPS)) == len(CREATE)
    with capsys.disabled():
        print(f"\ncrash matrix: {len(STEPS)} steps x 10 faults on the fake host")


def test_nothing_is_done_between_two_steps(tmp_path: Path) -> None:
    """On the host or in the journal; so one who dies after a step has died before the next."""
    life, spec = Lifecycle(tmp_path), a_spec(**EVERYTHING)
    journal = f"file:{tmp_path / 'state' / 'journal.sqlite'}?mode=ro"
    seen: list[tuple[str, str, Any]] = []

    def look(which: str, moment: str) -> None:
        with closing(sqlite3.connect(journal, uri=True)) as database:
            seen.append((which, moment, (list(database.iterdump()), life.fake.left())))

    def watched(which: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            look(which, "before")
            real(*arguments)
            look(which, "after")

        return call

    with ExitStack() as stack:
        for step in CREATE:
            watching = {"do": watched("do", step.do), "undo": watched("undo", step.undo)}
            stack.enter_context(patched(step.name, **watching))
        life.containers.create(ask(), spec)
        life.containers.stop(ask(), spec.id)
        life.containers.start(ask(), spec.id)
        life.containers.delete(ask(), spec.id, force=True)
    between = [
        (state, following)
        for (which, moment, state), (next_which, _, following) in pairwise(seen)
        if moment == "after" and which == next_which
    ]
    # Create and delete; stop and start.
    assert len(between) == 2 * (len(CREATE) - 1) + 2 * (len(RUN) - 1)
    assert all(state == following for state, following in between)
