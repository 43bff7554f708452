"""Commands in a container, in memory and real: what lifecycle and its probes rely on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from contract.test_neighbours import _prepared
from fakes.execs import FakeExecs
from fakes.host import FakeHost
from longshore.errors import CommandNotFound, Conflict, NotFound
from longshore.lifecycle.create import CREATE, RUN
from longshore.lifecycle.pipeline import run, unwind
from longshore.lifecycle.ports import Host
from longshore.lifecycle.ports.execs import Execs
from longshore.model.execs import Command, Session
from longshore.model.host import TaskStatus
from longshore.model.layout import Layout
from longshore.model.names import Names

NOBODY = Names("00000000-0000-4000-8000-000000000000")


@pytest.fixture(params=["fake", "real"])
def there(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[tuple[Execs, Names]]:
    """A container that runs."""
    names = Names(str(uuid.uuid4()))
    execs: Execs
    if request.param == "real":
        host: Host = request.getfixturevalue("real_host")
        execs = request.getfixturevalue("real_execs")
    else:
        fake = FakeHost()
        host = fake.host(Layout(tmp_path / "state", tmp_path / "run"))
        execs = FakeExecs(lambda id: fake.tasks.get(Names(id)).status is TaskStatus.RUNNING)
    assert run(CREATE, _prepared(host, names)) is None
    yield execs, names
    assert unwind(RUN, host, names) == ()
    assert unwind(CREATE, host, names) == ()


def ran(there: tuple[Execs, Names], *words: str, most: int = 1000, timeout: float = 20.0) -> Any:
    execs, names = there
    return execs.run(names, Command(words), timeout=timeout, output_max=most)


def read(session: Session) -> str:
    """To its end."""
    text, end = "", time.monotonic() + 20
    while session.exit_code is None:
        assert time.monotonic() < end, text
        output = session.read(1)
        text += output.data.decode() if output else ""
    return text


def test_what_comes_of_a_command(there: tuple[Execs, Names]) -> None:
    came = ran(there, "echo", "hello")
    assert (came.exit_code, came.stdout, came.stderr) == (0, "hello\n", "")
    assert not came.truncated
    assert not came.timed_out
    assert ran(there, "true").exit_code == 0
    assert ran(there, "false").exit_code == 1
    cut = ran(there, "echo", "hello", most=4)
    assert (cut.stdout, cut.truncated) == ("hell", True)
    late = ran(there, "sleep", "1000", timeout=0.5)
    assert (late.exit_code, late.timed_out) == (137, True)
    with pytest.raises(CommandNotFound):
        ran(there, "no-such-command")
    with pytest.raises(NotFound):
        ran((there[0], NOBODY), "true")


def test_a_session(there: tuple[Execs, Names]) -> None:
    execs, names = there
    session = execs.begin(names, Command(("cat",), stdin=True))
    assert session.pid > 0
    session.write(b"one\n")
    session.end_input()
    assert read(session) == "one\n"
    assert session.exit_code == 0
    session.close()
    quiet = execs.begin(names, Command(("sleep", "1000")))
    assert quiet.exit_code is None
    with pytest.raises(Conflict):
        quiet.write(b"x")
    quiet.signal("TERM")
    read(quiet)
    assert quiet.exit_code == 143
    quiet.close()
    quiet.close()
