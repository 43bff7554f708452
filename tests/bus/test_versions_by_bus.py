"""update, rollback, rebuild and versions through a real RabbitMQ."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest

from bus.kit import Agents, background, spec, until
from fakes.service import PLAN, VERSIONS, FakeService
from longshore.bus.client import ComputeClient
from longshore.errors import DeadlineExceeded, InvalidRequest, StartFailed, UpdateTakenBack
from longshore.model.transfer import Auth, Credential, PullPolicy

PATCH = {"limits": {"memory": 2**40}, "env": {"A": None, "B": ""}, "mounts": []}
SECRET = "pa55w0rd-d0-n0t-sh0w"


def test_they_travel(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    one = nodes.create(node, spec())
    id = str(uuid4())
    updated = nodes.update(node, one.id, PATCH, request_id=id, generation=7)
    assert (updated.version, updated.pending_version) == (2, None)
    assert nodes.update(node, one.id, PATCH, request_id=id, generation=7) == updated
    assert nodes.update(node, one.id, {}, apply="restart", wait="accepted").pending_version == 3
    nodes.rollback(node, one.id)
    nodes.rollback(node, one.id, 2, apply="restart")
    nodes.rebuild(node, one.id, "web:1")
    auth = Auth(Credential(token="t"))
    nodes.rebuild(node, one.id, "web:2", PullPolicy.ALWAYS, auth)
    assert [given for given in service.given if given[0] != "show_image"] == [
        ("update", one.id, PATCH, "now"),
        ("update", one.id, PATCH, "now"),
        ("update", one.id, {}, "restart"),
        ("rollback", one.id, None, "now"),
        ("rollback", one.id, 2, "restart"),
        ("rebuild", one.id, "web:1", PullPolicy.IF_NOT_PRESENT, Auth()),
        ("rebuild", one.id, "web:2", PullPolicy.ALWAYS, auth),
    ]
    assert service.done["update"] == 2
    asked = service.requests[1:4]
    assert [(one.id == id, one.generation, one.wait) for one in asked] == [
        (True, 7, None),
        (True, 7, None),
        (False, None, "accepted"),
    ]


def test_versions(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    assert tuple(nodes.versions(node, "web")) == VERSIONS
    assert tuple(nodes.compare_versions(node, "web", 1, 3)) == PLAN.changes
    assert service.given == [("versions", "web"), ("compare_versions", "web", 1, 3)]
    with pytest.raises(InvalidRequest) as refused:
        nodes.compare_versions(node, "web", 0, 3)
    assert refused.value.field == "before"


def test_it_is_asked_again_while_it_is_on_trial(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    one = nodes.create(node, spec())
    service.fail("update", *[DeadlineExceeded("on trial", details={"on_trial": True})] * 2)
    assert nodes.update(node, one.id, PATCH).version == 2
    assert (service.calls["update"], service.done["update"]) == (3, 1)
    assert len({request.id for request in service.requests[1:]}) == 1


def test_one_that_is_taken_back(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    one = nodes.create(node, spec())
    details = {"version": 2, "previous": 1, "why": StartFailed("it ended at once").to_dict()}
    service.fail("update", UpdateTakenBack("cannot update", object="web", details=details))
    with pytest.raises(UpdateTakenBack) as caught:
        nodes.update(node, one.id, PATCH)
    assert caught.value.details == details
    assert service.calls["update"] == 1


def test_trials_hold_up_nothing(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    """More than there are places for starts."""
    agents()
    one = nodes.create(node, spec())
    gate = service.hold("update")
    trials = [background(lambda: nodes.update(node, one.id, PATCH)) for _ in range(8)]
    until(lambda: len([given for given in service.given if given[0] == "update"]) == 8)
    assert nodes.start(node, one.id).state == "running"
    assert nodes.stop(node, one.id).id == one.id
    gate.set()
    assert {each.result(30).version for each in trials} == set(range(2, 10))


def test_the_agent_stops_with_one_on_trial(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agent = agents()
    one = nodes.create(node, spec())
    service.hold("update")
    waiting = background(lambda: nodes.update(node, one.id, PATCH, deadline=5))
    until(lambda: service.given)
    assert agent.stop()
    assert service.left == 1
    assert waiting.exception(30) is not None


def test_a_secret_of_a_patch_is_in_no_log(
    agents: Agents,
    nodes: ComputeClient,
    node: str,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    patch = {"secrets": [{"name": "a", "value": SECRET}]}
    with caplog.at_level(logging.DEBUG):
        agents()
        one = nodes.create(node, spec())
        nodes.update(node, one.id, patch)
        service.fail("update", ZeroDivisionError("unexpected"))
        with pytest.raises(Exception, match="the agent failed"):
            nodes.update(node, one.id, patch)
    assert service.given[0] == ("update", one.id, patch, "now")
    assert "ZeroDivisionError: unexpected" in caplog.text
    assert SECRET not in caplog.text
