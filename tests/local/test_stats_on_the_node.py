"""What containers use, over a real socket."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from fakes.node import FakeNode
from fakes.usage import BUSY, IDLE, PROCESSES
from longshore.errors import (
    AgentBusy,
    Conflict,
    ContainerNotFound,
    Interrupted,
    InvalidRequest,
)
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer


def test_once(client: LocalClient, node: FakeNode) -> None:
    assert client.stats() == [BUSY, IDLE]
    assert client.stats(["busy"]) == [BUSY]
    assert client.top("busy") == PROCESSES
    assert node.given == [("stats", (), False), ("stats", ("busy",), False), ("top", "busy")]


def test_again_and_again(client: LocalClient, node: FakeNode) -> None:
    with closing(client.follow_stats(["busy"], 0.25)) as readings:
        assert list(islice(readings, 3)) == [[BUSY]] * 3
    assert node.given[:3] == [("stats", ("busy",), again) for again in (False, True, True)]


def test_it_goes_on_when_the_agent_is_back(client: LocalClient, node: FakeNode) -> None:
    readings = client.follow_stats(interval=0.25)
    with closing(readings):
        assert next(readings) == [BUSY, IDLE]
        node.fail("stats", Interrupted("cannot read the stats: the agent stops"))
        assert next(readings) == [BUSY, IDLE]
    node.fail("stats", Interrupted("cannot read the stats: the agent stops"))
    assert client.stats() == [BUSY, IDLE]


def test_the_agents_end_ends_it(node: FakeNode, server: LocalServer, socket: Path) -> None:
    with LocalClient(socket, timeout=0.5) as client:
        readings = client.follow_stats(interval=3600)
        assert next(readings) == [BUSY, IDLE]
        server.stop()
        with pytest.raises(Interrupted, match="the agent stops"):
            next(readings)
    assert node.calls["stats"] == 1


def test_what_is_refused(client: LocalClient, node: FakeNode) -> None:
    for interval in (0.2, -1.0, 3601.0, float("nan")):
        with pytest.raises(InvalidRequest) as refused:
            next(client.follow_stats(interval=interval))
        assert refused.value.field == "interval"
    with pytest.raises(InvalidRequest):
        client.stats([""])
    with pytest.raises(InvalidRequest):
        client.top("")
    assert node.given == []
    node.fail("stats", Conflict("cannot read the stats of web: it is stopped", object="web"))
    with pytest.raises(Conflict, match="it is stopped"):
        client.stats(["web"])
    node.fail("top", ContainerNotFound("cannot find container x: there is none", object="x"))
    with pytest.raises(ContainerNotFound):
        client.top("x")


def test_who_follows_takes_no_place_of_who_asks(socket: Path, client: LocalClient) -> None:
    """The fixture's server has two places for what lasts."""
    first, second = (client.follow_stats(interval=3600) for _ in range(2))
    with closing(first), closing(second):
        assert [next(first), next(second)] == [[BUSY, IDLE]] * 2
        assert client.stats() == [BUSY, IDLE]
        with LocalClient(socket, timeout=0.5) as hasty, pytest.raises(AgentBusy):
            next(hasty.follow_stats())
