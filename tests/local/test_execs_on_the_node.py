"""Commands and attaching over the local API: both streams, and what ends them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from fakes.lifecycle import until
from fakes.node import FakeNode
from longshore.errors import (
    CommandNotFound,
    Conflict,
    Interrupted,
    InvalidRequest,
)
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer
from longshore.model.execs import Command


def test_a_command_and_all_that_is_said_of_it(client: LocalClient, node: FakeNode) -> None:
    id = str(uuid4())
    with client.exec(
        "web", ["echo", "a", "b"], env={"A": "1"}, workdir="/tmp", user="1:2", tty=True,
        size=(3, 4), request_id=id,
    ) as stream:  # fmt: skip
        assert stream.pid == 4711
        assert [(one.stream, one.data) for one in stream] == [("stdout", b"a b\n")]
        assert stream.exit_code == 0
    command = Command(("echo", "a", "b"), {"A": "1"}, "/tmp", "1:2", tty=True, rows=3, columns=4)
    assert node.given == [("exec", id, command)]
    assert node.execs.open == []


def test_input_size_signal_and_its_end(client: LocalClient, node: FakeNode) -> None:
    with client.exec("web", ["cat"], stdin=True) as stream:
        stream.write(b"x" * 200_000)
        got = b""
        for output in stream:
            got += output.data
            if len(got) == 200_000:
                session = node.execs.open[0]
                stream.resize(5, 6)
                stream.end_input()
    assert (got, stream.exit_code) == (b"x" * 200_000, 0)
    assert session.sizes == [(5, 6)]
    with client.exec("web", ["sleep", "9"]) as stream:
        stream.signal("SIGINT")
        assert list(stream) == []
        assert stream.exit_code == 130


def test_who_leaves_has_it_killed(client: LocalClient, node: FakeNode) -> None:
    stream = client.exec("web", ["sleep", "9"])
    session = node.execs.open[0]
    stream.close()
    until(lambda: node.execs.open == [])
    assert session.signals == ["SIGKILL"]
    assert list(stream) == []
    assert stream.exit_code is None


def test_bounded(client: LocalClient, node: FakeNode) -> None:
    came = client.execute("web", ["echo", "hello"], output_max=2)
    assert (came.exit_code, came.stdout, came.truncated) == (0, "he", True)
    late = client.execute("web", ["sleep", "9"], timeout=0.2)
    assert (late.exit_code, late.timed_out) == (137, True)
    until(lambda: node.execs.open == [])


def test_what_is_refused(client: LocalClient, node: FakeNode) -> None:
    with pytest.raises(CommandNotFound):
        client.exec("web", ["nothing"])
    wrongs: list[dict[str, Any]] = [
        {"command": []},
        {"command": ["a\0b"]},
        {"command": ["a"], "env": {"A=B": ""}},
        {"command": ["a"], "workdir": "tmp"},
        {"command": ["a"], "request_id": "none"},
        {"command": ["a"], "size": (-1, 0)},
    ]
    for wrong in wrongs:
        with pytest.raises(InvalidRequest):
            client.exec("web", **wrong)
    with client.exec("web", ["sleep", "9"]) as stream:
        stream.write(b"x")
        with pytest.raises(Conflict):
            list(stream)
    until(lambda: node.execs.open == [])


def test_a_server_that_stops_ends_them(
    client: LocalClient, node: FakeNode, server: LocalServer
) -> None:
    stream = client.exec("web", ["sleep", "9"])
    server.stop()
    with pytest.raises(Interrupted, match="in web: the agent stops, and ends it"):
        list(stream)
    until(lambda: node.execs.open == [])
