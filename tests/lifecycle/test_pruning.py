"""Pruning: which go and which stay, in what order, and the same request again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed, Interrupted, RequestConflict
from longshore.lifecycle.containers import Containers
from longshore.lifecycle.pruning import Pruning
from longshore.model.state import State
from longshore.model.status import PruneStatus

NOW = 1e9


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    life.pulls.stop(0.0)


def pruning(life: Lifecycle) -> Pruning:
    return Pruning(life.journal, life.containers, lambda: NOW)


def prune(life: Lifecycle, *labels: str, age: float = 0.0, id: str | None = None) -> PruneStatus:
    id = id or str(uuid4())
    return pruning(life).prune(labels, age, request_id=id, origin="test")


def made(life: Lifecycle, state: str, **changes: Any) -> str:
    """Its name. One in any state that is pruned, or running."""
    spec = a_spec(**changes)
    if state == "failed":
        with patched("rootfs", do=fails), pytest.raises(HostFailed):
            life.containers.create(ask(), spec)
        return spec.name
    life.containers.create(ask(), spec, start=state != "created")
    if state == "stopped":
        life.containers.stop(ask(), spec.id, grace=0)
    return spec.name


def fails(*_: object) -> None:
    raise HostFailed("cannot: the test says so")


def names(life: Lifecycle) -> list[str]:
    return [one.name for one in life.containers.list()]


def test_those_that_do_not_run(life: Lifecycle) -> None:
    gone = [made(life, state) for state in ("created", "stopped", "failed")]
    stays = made(life, "running")
    assert prune(life) == PruneStatus(containers=tuple(sorted(gone)))
    assert names(life) == [stays]
    assert prune(life) == PruneStatus()


def test_one_that_could_not_be_started(life: Lifecycle) -> None:
    name = made(life, "stopped")
    id = life.journal.find(name)
    record = life.containers.record(id)
    assert record is not None
    with life.journal.transaction(durable=False) as tx:
        tx.put(record.but(state=State.ERROR))
    assert prune(life).containers == (name,)


def test_only_with_these_labels(life: Lifecycle) -> None:
    both = made(life, "stopped", labels={"tier": "web", "old": ""})
    one = made(life, "stopped", labels={"tier": "web"})
    made(life, "stopped")
    assert prune(life, "tier=db").containers == ()
    assert prune(life, "tier=web", "old").containers == (both,)
    assert prune(life, "tier").containers == (one,)


def test_only_those_that_ended_so_long_ago(life: Lifecycle) -> None:
    """The fake clock counts up from 1000 with each look."""
    old, young = made(life, "stopped"), made(life, "created")
    ended, created = (life.containers.show(one) for one in (old, young))
    assert ended.finished_at is not None
    assert prune(life, age=NOW - ended.finished_at + 0.5).containers == ()
    assert prune(life, age=NOW - ended.finished_at).containers == (old,)
    assert prune(life, age=NOW - created.created_at + 0.5).containers == ()
    assert prune(life, age=NOW - created.created_at).containers == (young,)


def test_the_same_request_again(life: Lifecycle) -> None:
    name, id = made(life, "stopped"), str(uuid4())
    first = prune(life, id=id)
    made(life, "stopped", name=name)
    assert prune(life, id=id) == first == PruneStatus(containers=(name,))
    assert names(life) == [name]
    with pytest.raises(RequestConflict):
        prune(life, "tier", id=id)
    with pytest.raises(RequestConflict):
        life.containers.stop(ask(id=id), name)


def test_one_that_cannot_go_holds_up_no_other(life: Lifecycle) -> None:
    lender = made(life, "stopped", mounts=[{"type": "volume", "target": "/d"}])
    borrower = made(life, "running", volumes_from=[{"container": lender}])
    other = made(life, "stopped")
    pruned = prune(life)
    assert pruned.containers == (other,)
    assert [(one.code, one.object) for one in pruned.failures] == [("volume_in_use", lender)]
    assert borrower in pruned.failures[0].message
    life.containers.stop(ask(), borrower, grace=0)
    # The newest first, or the lender could not go.
    assert prune(life) == PruneStatus(containers=tuple(sorted((borrower, lender))))


def test_one_that_was_started_meanwhile_stays(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(life, "stopped"), made(life, "stopped")
    delete = Containers.delete

    def started(self: Containers, *given: Any, **more: Any) -> Any:
        monkeypatch.undo()
        life.containers.start(ask(), first)
        return delete(self, *given, **more)

    monkeypatch.setattr(Containers, "delete", started)
    assert prune(life) == PruneStatus(containers=(second,))
    assert [one.state for one in life.containers.list()] == ["running"]


@pytest.mark.parametrize("error", [Died(), Interrupted("cannot: the agent stops")])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_dies_in_the_middle(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int
) -> None:
    """Asked again, it goes on, says of all what came of them, and takes no more than those."""
    gone, id = [made(life, "stopped") for _ in range(2)], str(uuid4())
    delete, done = Containers.delete, 0

    def dies(self: Containers, *given: Any, **more: Any) -> Any:
        nonlocal done
        if done == after:
            raise error
        done += 1
        return delete(self, *given, **more)

    monkeypatch.setattr(Containers, "delete", dies)
    if after < 2:
        with pytest.raises(type(error)):
            prune(life, id=id)
    else:
        prune(life, id=id)
    monkeypatch.undo()
    again = life.next_life()
    late = made(again, "stopped")
    assert prune(again, id=id) == PruneStatus(containers=tuple(sorted(gone)))
    assert names(again) == [late]
    with again.journal.transaction(durable=False) as tx:
        assert list(tx.recalled("prune ")) == []
    again.pulls.stop(0.0)


def test_what_was_never_asked_again_is_forgotten(life: Lifecycle) -> None:
    with life.journal.transaction(durable=False) as tx:
        tx.remember("prune of-old", "[]")
    prune(life)
    with life.journal.transaction(durable=False) as tx:
        assert list(tx.recalled("prune ")) == []
