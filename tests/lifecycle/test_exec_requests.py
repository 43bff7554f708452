"""Commands in containers: which are refused, and that each is run once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from fakes.lifecycle import RULES, Died, Lifecycle, a_spec, ask
from longshore.errors import (
    CommandNotFound,
    Conflict,
    ContainerNotFound,
    HostBusy,
    IllegalTransition,
    InvalidRequest,
    PolicyForbids,
    RequestConflict,
)
from longshore.model.execs import Command
from longshore.model.spec import ContainerSpec
from longshore.model.status import ExecStatus, LogChunk

ECHO = Command(("echo", "hello"))


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def running(life: Lifecycle, **changes: object) -> ContainerSpec:
    spec = a_spec(**changes)
    life.containers.create(ask(), spec)
    return spec


def execute(
    life: Lifecycle, ref: str, command: Command = ECHO, *, id: str | None = None, most: int = 100
) -> ExecStatus:
    return life.commands.execute(id or str(uuid4()), ref, command, timeout=5.0, output_max=most)


def follow(*data: bytes) -> Generator[LogChunk, None, None]:
    """What is written to stdout behind its first seven bytes, and to stderr behind three."""
    yield LogChunk("stdout", b"", offset=7)
    yield LogChunk("stderr", b"", offset=3)
    at = 7
    for one in data:
        yield LogChunk("stdout", one, offset=at)
        at += len(one)


def test_a_command_is_run_once(life: Lifecycle) -> None:
    spec, id = running(life), str(uuid4())
    first = execute(life, spec.name, id=id)
    assert first.stdout == "hello\n"
    assert execute(life, spec.name, id=id) == first
    assert len(life.execs.ran) == 1
    with pytest.raises(RequestConflict):
        execute(life, spec.name, Command(("true",)), id=id)
    with pytest.raises(RequestConflict):
        execute(life, spec.name, id=id, most=99)
    again = life.next_life()
    assert execute(again, spec.name, id=id) == first
    again.containers.delete(ask(), spec.id, force=True)
    assert execute(again, spec.name, id=id) == first, "also of one that is gone"
    assert len(life.execs.ran) == 1


def test_a_failure_is_an_answer(life: Lifecycle) -> None:
    spec, id = running(life), str(uuid4())
    for _ in range(2):
        with pytest.raises(CommandNotFound) as raised:
            execute(life, spec.name, Command(("nothing",)), id=id)
        assert raised.value.object == spec.id
    assert len(life.execs.ran) == 1


def test_an_agent_that_died_in_the_middle(life: Lifecycle) -> None:
    spec, id = running(life), str(uuid4())
    life.execs.outcomes["job"] = deque([Died()])
    with pytest.raises(Died):
        execute(life, spec.name, Command(("job",)), id=id)
    again = life.next_life()
    with pytest.raises(Conflict) as raised:
        execute(again, spec.name, Command(("job",)), id=id)
    assert "what came of it is not known" in str(raised.value)
    assert len(life.execs.ran) == 1
    assert execute(again, spec.name).exit_code == 0
    again.containers.stop(ask(), spec.id, grace=0)
    again.containers.delete(ask(), spec.id)


def test_asked_twice_at_once_it_runs_once(life: Lifecycle) -> None:
    spec, id = running(life), str(uuid4())
    life.execs.held = threading.Event()
    life.execs.outcomes["job"] = deque([ExecStatus(exit_code=7)])
    codes: list[int] = []

    def run() -> None:
        codes.append(execute(life, spec.name, Command(("job",)), id=id).exit_code)

    callers = [threading.Thread(target=run) for _ in range(3)]
    for caller in callers:
        caller.start()
    life.execs.held.set()
    for caller in callers:
        caller.join(20)
    assert codes == [7, 7, 7]
    assert len(life.execs.ran) == 1


def test_where_no_command_can_run(life: Lifecycle) -> None:
    with pytest.raises(ContainerNotFound):
        execute(life, "nobody")
    spec = running(life)
    record = life.journal.get(spec.id)
    assert record is not None
    with life.journal.transaction(durable=False) as tx:
        tx.put(record.but(paused=True))
    with pytest.raises(HostBusy):
        execute(life, spec.name)
    life.containers.stop(ask(), spec.id, grace=0)
    for begin in (
        lambda: execute(life, spec.name),
        lambda: life.commands.begin(str(uuid4()), spec.name, ECHO),
    ):
        with pytest.raises(IllegalTransition) as raised:
            begin()
        assert "it is stopped" in str(raised.value)
    assert life.execs.ran == []


def test_a_privileged_command_needs_the_nodes_leave(life: Lifecycle) -> None:
    spec, command = running(life), Command(("true",), privileged=True)
    with pytest.raises(PolicyForbids) as raised:
        execute(life, spec.name, command)
    assert raised.value.details == {"rule": "policy.allow_privileged"}
    life.rules.replace(replace(RULES, allow_privileged=True))
    assert execute(life, spec.name, command).exit_code == 0


def test_a_session_is_begun_once(life: Lifecycle) -> None:
    spec, id = running(life), str(uuid4())
    session = life.commands.begin(id, spec.name, Command(("cat",), stdin=True))
    with pytest.raises(Conflict):
        life.commands.begin(id, spec.name, Command(("cat",), stdin=True))
    session.close()
    assert life.execs.open == []


def attached(life: Lifecycle, spec: ContainerSpec, *data: bytes, stdin: bool = True):  # type: ignore[no-untyped-def]
    return life.commands.attach(spec.name, lambda id: follow(*data), stdin=stdin)


def outputs(session) -> Sequence[bytes]:  # type: ignore[no-untyped-def]
    found = []
    while session.exit_code is None:
        if output := session.read(0):
            found.append(output.data)
    return found


def test_attaching(life: Lifecycle) -> None:
    spec = running(life, stdin=True, tty=True)
    session = attached(life, spec, b"a", b"b")
    console = life.consoles.there[spec.id]
    session.write(b"in")
    session.resize(3, 4)
    assert (bytes(console.written), console.sizes) == (b"in", [(3, 4)])
    with pytest.raises(InvalidRequest):
        session.signal("SIGNONE")
    session.signal("TERM")
    life.containers.stop(ask(), spec.id, grace=0)
    assert session.position == {"stdout": 7, "stderr": 3}
    assert outputs(session) == [b"a", b"b"]
    assert session.position == {"stdout": 9, "stderr": 3}
    assert session.exit_code == 143
    session.close()


def test_attaching_to_one_that_is_removed_when_it_ends(life: Lifecycle) -> None:
    spec = running(life, stdin=True, auto_remove=True)
    session = attached(life, spec)
    life.fake.tasks.end(spec.id, 5)
    life.settle_until(lambda: life.journal.get(spec.id) is None)
    assert outputs(session) == []
    assert session.exit_code == 5


def test_what_cannot_be_attached_to(life: Lifecycle) -> None:
    with pytest.raises(Conflict) as raised:
        attached(life, running(life))
    assert raised.value.field == "stdin"
    attached(life, running(life), stdin=False).close()
    gone = running(life)
    life.containers.delete(ask(), gone.id, force=True)
    with pytest.raises(ContainerNotFound):
        attached(life, gone)
