"""List, wait, prune and plan through a real RabbitMQ."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bus.kit import Agents, background, spec, until
from fakes.service import PLAN, PRUNED_CONTAINERS, FakeService
from longshore.bus import wire
from longshore.bus.client import ComputeClient
from longshore.errors import Conflict, DeadlineExceeded, InvalidRequest
from longshore.model.filters import Filter


def test_list(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    one = nodes.create(node, spec())
    other = nodes.create(node, spec(name="db"))
    assert {each.id for each in nodes.list(node)} == {one.id, other.id}
    assert nodes.list(node, Filter(names=("db",), states=("running",))) == [other]
    assert nodes.list(node, Filter(sort="-name", limit=1)) == [one]
    assert nodes.list(node, Filter(sort="-name", after=one.id)) == [other]
    for wrong, field in ((Filter(states=("exited",)), "states[0]"), (Filter(limit=0), "limit")):
        with pytest.raises(InvalidRequest) as refused:
            nodes.list(node, wrong)
        assert refused.value.field == field


def test_an_older_agent_is_asked_what_it_knows() -> None:
    assert wire.version_for("list", {}) == "1.0"
    assert wire.version_for("list", {"sort": "name"}) == "1.3"
    assert wire.version_for("wait", {"ref": "a"}) == "1.3"
    assert wire.version_for("create", {"credential": {}}) == "1.1"


def test_wait(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    one = nodes.create(node, spec())
    assert nodes.wait(node, one.id) == one
    assert nodes.wait(node, one.id, "healthy", timeout=3) == one
    assert service.given == [
        ("wait", one.id, "not-running", 60.0),
        ("wait", one.id, "healthy", 3.0),
    ]
    service.fail("wait", Conflict("cannot wait: nothing is probed"))
    with pytest.raises(Conflict, match="nothing is probed"):
        nodes.wait(node, one.id)
    for given, field in ((("happy", 1.0), "condition"), (("removed", 3601.0), "timeout")):
        with pytest.raises(InvalidRequest) as refused:
            nodes.wait(node, one.id, given[0], timeout=given[1])
        assert refused.value.field == field
    late = DeadlineExceeded("cannot wait any longer", details={"condition": "removed"})
    asked = service.calls["wait"]
    service.fail("wait", late)
    with pytest.raises(DeadlineExceeded, match="cannot wait any longer"):
        nodes.wait(node, one.id, "removed", timeout=0.5)
    # The agent's word that it is over is the last one.
    assert service.calls["wait"] == asked + 1


def test_waits_hold_up_nothing(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    one = nodes.create(node, spec())
    gate = service.hold("wait")
    waits = [background(lambda: nodes.wait(node, one.id)) for _ in range(12)]
    service.wait_for("wait", 12)
    assert nodes.show(node, one.id) == one
    gate.set()
    assert [each.result(30) for each in waits] == [one] * 12


def test_the_agent_stops_with_a_wait_open(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agent = agents()
    one = nodes.create(node, spec())
    service.hold("wait")
    waiting = background(lambda: nodes.wait(node, one.id, timeout=5, deadline=5))
    service.wait_for("wait", 1)
    assert agent.stop()
    until(lambda: service.left == 1)
    assert waiting.exception(30) is not None


def test_prune(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    id = str(uuid4())
    assert nodes.prune_containers(node) == PRUNED_CONTAINERS
    assert nodes.prune_containers(node, ["a=b", "c"], 60, request_id=id) == PRUNED_CONTAINERS
    assert service.given == [
        ("prune_containers", (), 0.0),
        ("prune_containers", ("a=b", "c"), 60.0),
    ]
    first, second = service.prune_requests
    assert second[0] == id != first[0]
    assert second[1].startswith("bus ")
    with pytest.raises(InvalidRequest) as refused:
        nodes.prune_containers(node, ["=x"])
    assert refused.value.field == "labels[0]"


def test_plan(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    patch = {"limits": {"memory": 2**40}, "env": {"A": None, "B": ""}, "mounts": []}
    assert nodes.plan(node, "web", patch) == PLAN
    assert service.given == [("plan", "web", patch)]
