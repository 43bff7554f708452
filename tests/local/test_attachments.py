"""Attaching over the local API, across restarts of the agent: what is written and what is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.execs import FakeProcess
from fakes.lifecycle import until
from fakes.node import FakeNode
from fakes.service import STORY
from longshore.errors import (
    Conflict,
    ContainerNotFound,
    HostUnavailable,
    Interrupted,
    LongshoreError,
)
from longshore.local.client import Attachment, LocalClient
from longshore.local.server import LocalServer


@pytest.fixture
def process(node: FakeNode) -> FakeProcess:
    return node.processes.setdefault("web", FakeProcess())


@pytest.fixture
def next_server(node: FakeNode, socket: Path, server: LocalServer) -> Iterator[LocalServer]:
    """To be started once the first is stopped."""
    following = LocalServer(node, socket, verbs=2, streams=2, grace=0.2)
    yield following
    following.stop()


@contextmanager
def reading(stream: Attachment) -> Iterator[bytearray]:
    """What it writes, while it does; to its end."""
    read = bytearray()
    failures: list[LongshoreError] = []

    def run() -> None:
        try:
            for output in stream:
                read.extend(output.data)
        except LongshoreError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield read
    finally:
        thread.join(30)
    if failures:
        raise failures[0]


def said(process: FakeProcess, data: bytes) -> None:
    """It writes that by itself."""
    with process.change:
        process.written += data
        process.change.notify_all()


def end(process: FakeProcess, code: int) -> None:
    with process.change:
        process.code = code
        process.change.notify_all()


def test_attaching(client: LocalClient, node: FakeNode, process: FakeProcess) -> None:
    with client.attach("web", stdin=True, from_start=True, size=(1, 2)) as stream:
        assert node.given[-1] == ("attach", "web", True, True, None)
        assert process.sizes == [(1, 2)]
        stream.write(b"hello")
        stream.end_input()
        assert b"".join(one.data for one in stream) == b"hello"
        assert stream.exit_code == 0
        assert not stream.cut


def test_it_goes_on_where_it_broke_off(
    client: LocalClient,
    node: FakeNode,
    process: FakeProcess,
    server: LocalServer,
    next_server: LocalServer,
) -> None:
    said(process, b"long ago,")
    with client.attach("web", size=(1, 2)) as stream, reading(stream) as read:
        said(process, b"before,")
        until(lambda: read == b"before,")
        stream.resize(3, 4)
        until(lambda: (3, 4) in process.sizes)
        server.stop()
        said(process, b"meanwhile,")
        next_server.start()
        until(lambda: read == b"before,meanwhile,")
        said(process, b"after")
        end(process, 7)
    assert read == b"before,meanwhile,after"
    assert stream.exit_code == 7
    again = {"stdout": len(b"long ago,before,"), "stderr": 0}
    assert node.given[-1] == ("attach", "web", False, False, again)
    assert process.sizes[-1] == (3, 4)


def test_nothing_was_written_before_it_broke_off(
    client: LocalClient, process: FakeProcess, server: LocalServer, next_server: LocalServer
) -> None:
    said(process, b"long ago,")
    with client.attach("web") as stream, reading(stream) as read:
        server.stop()
        said(process, b"meanwhile")
        end(process, 0)
        next_server.start()
    assert read == b"meanwhile"


def test_input_that_an_agent_that_stops_has_not_handed_on(
    client: LocalClient, process: FakeProcess, server: LocalServer, next_server: LocalServer
) -> None:
    """All of it comes once, and in order: what was handed on, what was on its way, what waited."""
    parts = [b"%07d" % number * 1000 for number in range(40)]
    with client.attach("web", stdin=True) as stream, reading(stream) as read:
        for part in parts[:10]:
            stream.write(part)
        until(lambda: len(read) == 10 * 7000)
        process.held = True
        for part in parts[10:20]:
            stream.write(part)
        server.stop()
        process.held = False
        writer = threading.Thread(target=stream.write, args=(b"".join(parts[20:]),))
        writer.start()
        next_server.start()
        writer.join(30)
        until(lambda: len(read) == 40 * 7000)
        stream.end_input()
    assert read == b"".join(parts)
    assert stream.exit_code == 0


def test_it_has_ended_and_is_removed_meanwhile(
    client: LocalClient, node: FakeNode, server: LocalServer, next_server: LocalServer
) -> None:
    with client.attach("web") as stream, reading(stream):
        server.stop()
        node.fail("attach", ContainerNotFound("cannot find container web: there is none"))
        node.containers["web"] = STORY.container.model_copy(update={"exit_code": 3})
        next_server.start()
    assert stream.exit_code == 3
    assert stream.cut


def test_what_the_next_agent_refuses(
    client: LocalClient, node: FakeNode, server: LocalServer, next_server: LocalServer
) -> None:
    with client.attach("web") as stream:
        server.stop()
        node.fail("attach", Conflict("not now"))
        next_server.start()
        with pytest.raises(Conflict, match="not now"):
            list(stream)


def test_closing_ends_the_waiting(client: LocalClient, server: LocalServer) -> None:
    with client.attach("web") as stream, reading(stream):
        server.stop()
        stream.close()
    assert stream.exit_code is None


def test_closing_the_client_ends_it(
    server: LocalServer, socket: Path, process: FakeProcess
) -> None:
    """With the agent there: nothing is attached to again."""
    other = LocalClient(socket)
    stream = other.attach("web")
    said(process, b"hello")
    assert next(iter(stream)).data == b"hello"
    other.close()
    with pytest.raises(HostUnavailable):
        list(stream)
    assert stream.exit_code is None


def test_an_agent_that_does_not_come_back(
    client: LocalClient, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore.local.attachment.RETURN", 0.3)
    with client.attach("web") as stream:
        server.stop()
        with pytest.raises(Interrupted):
            list(stream)
