"""Copies: of which containers, seen how, and each request for one carried out once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.tars import member, packed
from fakes.copies import FakeCopies
from fakes.lifecycle import Lifecycle, a_spec, ask, until
from longshore.errors import (
    Conflict,
    ContainerNotFound,
    Exhausted,
    IllegalTransition,
    PathNotFound,
    RequestConflict,
)
from longshore.lifecycle.copying import Copying
from longshore.model.copying import Files, Unpacking
from longshore.model.host import User
from longshore.model.state import State
from longshore.model.status import PathStatus

_TAR = packed(member("f", b"x"))


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


@pytest.fixture
def copies() -> FakeCopies:
    return FakeCopies({"/file": b"tar"})


@pytest.fixture
def verbs(life: Lifecycle, copies: FakeCopies) -> Copying:
    return copying(life, copies)


def copying(life: Lifecycle, copies: FakeCopies) -> Copying:
    return Copying(life.host, life.journal, life.converge, copies, lambda: 1.0)


def tar(life: Lifecycle, data: bytes = _TAR) -> Path:
    path = life.folder / f"tar-{uuid.uuid4()}"
    path.write_bytes(data)
    return path


def put(verbs: Copying, id: str, file: Path, *, request: str | None = None) -> int:
    request = request or str(uuid.uuid4())
    return verbs.copy_in(request, id, "/tmp", file, archive=False, replace=False)


def test_running_or_not(life: Lifecycle, verbs: Copying, copies: FakeCopies) -> None:
    id = life.containers.create(ask(), a_spec(user="app"), start=False).id
    for runs in (False, True, False):
        status, pieces = verbs.copy_out(id, "/file")
        assert (status.name, b"".join(pieces), copies.seen[-1].runs) == ("file", b"tar", runs)
        put(verbs, id, tar(life))
        files, path, data, how = copies.written[-1]
        assert (files.runs, path, data, how) == (runs, "/tmp", _TAR, Unpacking(User(), False))
        assert "/file" in [one.path for one in verbs.diff(id)]
        (life.containers.stop if runs else life.containers.start)(ask(), id)
    with pytest.raises(PathNotFound):
        verbs.copy_out(id, "/nowhere")


@pytest.mark.parametrize(
    "state", [State.CREATING, State.STARTING, State.DELETING, State.FAILED], ids=str
)
def test_states_without_files(life: Lifecycle, verbs: Copying, state: State) -> None:
    id = life.containers.create(ask(), a_spec()).id
    with life.journal.transaction(durable=True) as tx:
        record = tx.get(id)
        assert record is not None
        tx.put(record.but(state=state))
    calls = (lambda: verbs.copy_out(id, "/file"), lambda: put(verbs, id, tar(life)))
    for call in (*calls, lambda: verbs.diff(id)):
        with pytest.raises(IllegalTransition, match=f"it is {state}") as refused:
            call()
        assert refused.value.details["state"] == state
    with pytest.raises(ContainerNotFound):
        verbs.copy_out("nobody", "/file")


def test_one_that_ends_in_this_moment(life: Lifecycle, verbs: Copying, copies: FakeCopies) -> None:
    """Is looked at once more, as it is now."""
    id = life.containers.create(ask(), a_spec()).id
    read = copies.read

    def ending(
        files: Files, path: str, *, follow_link: bool
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        if files.runs:
            life.fake.tasks.end(id, 0)
            raise Conflict("cannot: it has ended")
        return read(files, path, follow_link=follow_link)

    copies.read = ending  # type: ignore[method-assign]
    status, _ = verbs.copy_out(id, "/file")
    assert (status.name, [one.runs for one in copies.seen]) == ("file", [False])
    copies.failures.append(Conflict("cannot: of another kind"))
    with pytest.raises(Conflict, match="another kind"):
        verbs.copy_out(id, "/file")


def test_a_request_is_carried_out_once(life: Lifecycle, verbs: Copying, copies: FakeCopies) -> None:
    """In this life of the agent and in the next; one that failed is tried again."""
    id, request = life.containers.create(ask(), a_spec()).id, str(uuid.uuid4())
    copies.failures.append(Exhausted("cannot: full"))
    with pytest.raises(Exhausted):
        put(verbs, id, tar(life), request=request)
    assert put(verbs, id, tar(life), request=request) == 1
    again = life.next_life()
    for one in (copying(again, copies), copying(again, FakeCopies())):
        assert put(one, id, tar(life), request=request) == 1
    assert len(copies.written) == 1
    with pytest.raises(RequestConflict):
        put(copying(again, copies), id, tar(life, packed(member("other"))), request=request)
    with pytest.raises(RequestConflict):
        again.containers.stop(ask(id=request), id)


def test_asked_twice_at_once(life: Lifecycle, verbs: Copying, copies: FakeCopies) -> None:
    id, request = life.containers.create(ask(), a_spec()).id, str(uuid.uuid4())
    gate, write = threading.Event(), copies.write

    def waiting(files: Files, path: str, tar: Path, how: Unpacking) -> int:
        gate.wait(10)
        return write(files, path, tar, how)

    copies.write = waiting  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(put, verbs, id, tar(life), request=request) for _ in range(2)]
        gate.set()
        assert [one.result(10) for one in both] == [1, 1]
    assert len(copies.written) == 1


def test_nobody_starts_what_is_copied_into(
    life: Lifecycle, verbs: Copying, copies: FakeCopies
) -> None:
    """A start waits for the end of it; a stop of one that runs does not."""
    gate, held, write = threading.Event(), threading.Event(), copies.write

    def waiting(files: Files, path: str, tar: Path, how: Unpacking) -> int:
        held.set()
        gate.wait(10)
        return write(files, path, tar, how)

    copies.write = waiting  # type: ignore[method-assign]
    id = life.containers.create(ask(), a_spec(), start=False).id
    with ThreadPoolExecutor(3) as pool:
        copied = pool.submit(put, verbs, id, tar(life))
        held.wait(10)
        started = pool.submit(life.containers.start, ask(), id)
        until(lambda: life.containers.show(id).state == "starting")
        assert (started.done(), life.fake.tasks.there) == (False, {})
        gate.set()
        assert (copied.result(10), started.result(10).state) == (1, "running")
        gate.clear()
        held.clear()
        copied = pool.submit(put, verbs, id, tar(life))
        held.wait(10)
        assert life.containers.stop(ask(), id).state == "stopped"
        assert not copied.done()
        gate.set()
        copied.result(10)
