"""List, wait, prune and plan over a real socket."""

from __future__ import annotations

import threading
import time
from typing import Any
from uuid import uuid4

import pytest

from bus.kit import background, until
from fakes.node import FakeNode
from fakes.service import PLAN, PRUNED_CONTAINERS
from longshore.errors import (
    Conflict,
    ContainerNotFound,
    DeadlineExceeded,
    Interrupted,
    InvalidRequest,
    InvalidSpec,
)
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer
from longshore.model.filters import Filter
from longshore.model.status import ContainerStatus

FULL = Filter(
    labels=("tier=web",),
    states=("running", "paused"),
    names=("^w", "b$"),
    ids=("a1",),
    images=("web:1",),
    health=("none",),
    sort="-name",
    limit=5,
)


def made(client: LocalClient, name: str = "web") -> ContainerStatus:
    return client.create({"id": str(uuid4()), "name": name, "image": "web:1"})


def test_list(client: LocalClient, node: FakeNode) -> None:
    one, other = made(client), made(client, "db")
    assert {each.id for each in client.list()} == {one.id, other.id}
    assert client.list(Filter(names=("db",))) == [other]
    assert client.list(Filter(sort="-name", limit=1)) == [one]
    assert client.list(Filter(sort="-name", after=one.id)) == [other]
    client.list(FULL)
    assert node.filters == [
        Filter(),
        Filter(names=("db",)),
        Filter(sort="-name", limit=1),
        Filter(sort="-name", after=one.id),
        FULL,
    ]
    for wrong, field in ((Filter(sort="size"), "sort"), (Filter(names=("(",)), "names[0]")):
        with pytest.raises(InvalidRequest) as refused:
            client.list(wrong)
        assert refused.value.field == field


def test_wait(client: LocalClient, node: FakeNode) -> None:
    one = made(client)
    assert client.wait(one.id) == one
    assert client.wait(one.id[:36], "healthy", timeout=7.5) == one
    waits = [given for given in node.given if given[0] == "wait"]
    assert [given[:3] for given in waits] == [
        ("wait", one.id, "not-running"),
        ("wait", one.id, "healthy"),
    ]
    assert 7.0 < waits[1][3] <= 7.5
    assert waits[0][3] > 3600
    node.fail("wait", Conflict("cannot wait: nothing is probed"))
    with pytest.raises(Conflict, match="nothing is probed"):
        client.wait(one.id)
    with pytest.raises(InvalidRequest) as refused:
        client.wait(one.id, "happy")
    assert refused.value.field == "condition"
    with pytest.raises(ContainerNotFound):
        client.wait(str(uuid4()), "removed")


def test_of_one_that_goes_at_once(client: LocalClient, node: FakeNode) -> None:
    one = made(client)
    gone = ContainerNotFound("cannot find container web: there is none")
    for condition in ("removed", "not-running", "next-exit"):
        node.fail("wait", gone)
        assert client.wait(one.id, condition).state == "absent"
    for condition in ("running", "healthy"):
        node.fail("wait", gone)
        with pytest.raises(ContainerNotFound):
            client.wait(one.id, condition)


def test_the_agent_says_that_the_time_is_over(client: LocalClient, node: FakeNode) -> None:
    one = made(client)
    late = DeadlineExceeded("cannot wait any longer", details={"condition": "removed"})
    node.fail("wait", late)
    with pytest.raises(DeadlineExceeded, match="any longer"):
        client.wait(one.id, "removed", timeout=30)
    assert node.calls["wait"] == 1
    # Without a time of the caller's it is only the end of one call.
    node.fail("wait", late, late)
    assert client.wait(one.id, "removed") == one
    assert node.calls["wait"] == 4


def test_an_agent_that_stops_is_asked_again(client: LocalClient, node: FakeNode) -> None:
    one = made(client)
    node.fail("wait", Interrupted("cannot wait: the agent stops"))
    assert client.wait(one.id, "running") == one
    assert node.calls["wait"] == 2


def test_an_exit_while_the_agent_was_away_is_seen(client: LocalClient, node: FakeNode) -> None:
    one = made(client)
    ended = one.model_copy(update={"finished_at": 5.0, "exit_code": 3})
    real = node.wait

    def away(*given: Any, **more: Any) -> ContainerStatus:
        node.containers[one.id] = ended
        return real(*given, **more)

    node.wait = away  # type: ignore[method-assign]
    node.fail("wait", Interrupted("cannot wait: the agent stops"))
    assert client.wait(one.id, "next-exit").exit_code == 3
    assert node.calls["wait"] == 1


def test_a_caller_who_leaves_ends_the_wait(
    client: LocalClient, server: LocalServer, node: FakeNode
) -> None:
    one = made(client)
    node.hold("wait")
    waiting = background(lambda: client.wait(one.id))
    node.wait_for("wait", 1)
    client.close()
    until(lambda: node.left == 1)
    assert waiting.exception(20) is not None


def test_the_agent_stops_with_a_wait_open(
    client: LocalClient, server: LocalServer, node: FakeNode
) -> None:
    one = made(client)
    node.hold("wait")
    waiting = background(lambda: client.wait(one.id))
    node.wait_for("wait", 1)
    server.stop()
    assert node.left == 1
    assert waiting.exception(60) is not None
    assert not [each for each in threading.enumerate() if each.name.startswith("local-api")]


def test_a_wait_needs_no_place_of_another_verb(client: LocalClient, node: FakeNode) -> None:
    """More than any lane of reads has; and the rest is served."""
    one = made(client)
    gate = node.hold("wait")
    waits = [background(lambda: client.wait(one.id)) for _ in range(12)]
    node.wait_for("wait", 12)
    assert client.show(one.id) == one
    gate.set()
    assert [each.result(20) for each in waits] == [one] * 12


def test_prune(client: LocalClient, node: FakeNode) -> None:
    assert client.prune_containers() == PRUNED_CONTAINERS
    id = str(uuid4())
    # An agent that goes away is asked again, and can tell that it is the same.
    node.fail("prune_containers", Interrupted("cannot: the agent stops"))
    assert client.prune_containers(["a=b", "c"], 60, request_id=id) == PRUNED_CONTAINERS
    assert node.given[0] == ("prune_containers", (), 0.0)
    assert node.given[1:] == [("prune_containers", ("a=b", "c"), 60.0)] * 2
    asked = [request for request, _ in node.prune_requests]
    assert (asked[1:], asked[0] != id) == ([id, id], True)
    assert all(origin for _, origin in node.prune_requests)
    for given, field in (((["=x"],), "labels[0]"), (((), -1.0), "age")):
        with pytest.raises(InvalidRequest) as refused:
            client.prune_containers(*given)
        assert refused.value.field == field


def test_plan(client: LocalClient, node: FakeNode) -> None:
    patch = {"limits": {"memory": 2**40}, "env": {"A": None, "B": ""}, "mounts": []}
    assert client.plan("web", patch) == PLAN
    assert node.given == [("plan", "web", patch)]
    assert client.plan("web", {}) == PLAN
    node.fail("plan", InvalidSpec("cannot accept the spec", details={"faults": []}))
    with pytest.raises(InvalidSpec):
        client.plan("web", patch)


def test_a_patch_that_is_none(client: LocalClient, server: LocalServer) -> None:
    from longshore.pb.longshore.v1 import agent_pb2

    for text in ("[1]", "{", "1"):
        request = agent_pb2.PlanRequest(ref="web", patch_json=text)
        with pytest.raises(InvalidRequest) as refused:
            client._calls.ask("Plan", "plan", request, time.monotonic() + 20)
        assert refused.value.field == "patch"
