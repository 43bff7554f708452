"""update, rollback, rebuild and versions over a real socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from bus.kit import background, until
from fakes.node import FakeNode
from fakes.service import PLAN, VERSIONS
from longshore.errors import (
    AgentBusy,
    DeadlineExceeded,
    Interrupted,
    InvalidRequest,
    StartFailed,
    UpdateTakenBack,
)
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer
from longshore.model.transfer import Auth, Credential, PullPolicy

SPEC = {"id": "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": "web", "image": "busybox:1"}
PATCH = {"limits": {"memory": 2**40}, "env": {"A": None, "B": ""}, "mounts": []}
ON_TRIAL = DeadlineExceeded("cannot say yet", details={"on_trial": True})


@pytest.fixture
def web(client: LocalClient) -> str:
    client.create(SPEC)
    return "web"


def test_they_travel(client: LocalClient, node: FakeNode, web: str) -> None:
    id = str(uuid4())
    updated = client.update(web, PATCH, request_id=id, generation=7, wait="updated")
    assert (updated.version, updated.pending_version) == (2, None)
    assert client.update(web, PATCH, request_id=id, generation=7) == updated
    assert client.update(web, {}, apply="restart", wait="accepted").pending_version == 3
    client.rollback(web)
    client.rollback(web, 2, apply="restart")
    client.rebuild(web, "web:1")
    auth = Auth(Credential(token="t"))
    client.rebuild(web, "web:2", PullPolicy.ALWAYS, auth)
    assert [given for given in node.given if given[0] != "show_image"] == [
        ("update", web, PATCH, "now"),
        ("update", web, PATCH, "now"),
        ("update", web, {}, "restart"),
        ("rollback", web, None, "now"),
        ("rollback", web, 2, "restart"),
        ("rebuild", web, "web:1", PullPolicy.IF_NOT_PRESENT, Auth()),
        ("rebuild", web, "web:2", PullPolicy.ALWAYS, auth),
    ]
    assert node.done["update"] == 2
    asked = [(one.id == id, one.generation, one.wait) for one in node.requests[1:4]]
    assert asked == [(True, 7, None), (True, 7, None), (False, None, "accepted")]


def test_versions(client: LocalClient, node: FakeNode) -> None:
    assert tuple(client.versions("web")) == VERSIONS
    assert tuple(client.compare_versions("web", 1, 3)) == PLAN.changes
    assert node.given == [("versions", "web"), ("compare_versions", "web", 1, 3)]


def test_what_is_refused(client: LocalClient, node: FakeNode) -> None:
    refused: list[tuple[str, Callable[[], object]]] = [
        ("apply", lambda: client.update("web", {}, apply="soon")),
        ("patch", lambda: client.update("web", {"env": {"A": {1, 2}}})),
        ("wait", lambda: client.update("web", {}, wait="running")),
        ("ref", lambda: client.update("", {})),
        ("version", lambda: client.rollback("web", 0)),
        ("image", lambda: client.rebuild("web", "Web", wait="accepted")),
        ("policy", lambda: client.rebuild("web", "web", "sometimes", wait="accepted")),
        ("before", lambda: client.compare_versions("web", 0, 1)),
        ("ref", lambda: client.versions("")),
    ]
    for field, call in refused:
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert caught.value.field == field
    assert node.given == []


def test_a_patch_that_is_none(client: LocalClient, server: LocalServer) -> None:
    from longshore.pb.longshore.v1 import agent_pb2

    for text in ("[1]", "{", "1"):
        intent = agent_pb2.Intent(request_id=str(uuid4()))
        request = agent_pb2.UpdateRequest(intent=intent, ref="web", patch_json=text)
        with pytest.raises(InvalidRequest) as refused:
            client._calls.ask("Update", "update", request, time.monotonic() + 20)
        assert refused.value.field == "patch"


@pytest.mark.parametrize("verb", ["update", "rollback"])
def test_it_is_asked_again_while_it_is_on_trial(
    client: LocalClient, node: FakeNode, web: str, verb: str
) -> None:
    """And when the agent stops meanwhile: always under the same request id."""
    node.fail(verb, ON_TRIAL, Interrupted("cannot wait: the agent stops"), ON_TRIAL)
    done = client.update(web, PATCH) if verb == "update" else client.rollback(web)
    assert done.version == 2
    assert (node.calls[verb], node.done[verb]) == (4, 1)
    assert len({request.id for request in node.requests[1:]}) == 1


def test_silence_is_not_waited_for(client: LocalClient, node: FakeNode, web: str) -> None:
    node.fail("update", DeadlineExceeded("cannot say what came of it"))
    with pytest.raises(DeadlineExceeded):
        client.update(web, PATCH)
    assert node.calls["update"] == 1


def test_one_that_is_taken_back(client: LocalClient, node: FakeNode, web: str) -> None:
    details = {"version": 2, "previous": 1, "why": StartFailed("it ended at once").to_dict()}
    node.fail("update", UpdateTakenBack("cannot update", object="web", details=details))
    with pytest.raises(UpdateTakenBack) as caught:
        client.update(web, PATCH)
    assert caught.value.details == details


def test_trials_use_up_no_place_of_starts(client: LocalClient, node: FakeNode, web: str) -> None:
    """Eight are on trial, which are all that there may be; two may start at a time."""
    gate = node.hold("update")
    trials = [background(lambda: client.update(web, PATCH)) for _ in range(8)]
    until(lambda: len([given for given in node.given if given[0] == "update"]) == 8)
    assert client.start(web).state == "running"
    assert client.stop(web).state == "stopped"
    with (
        LocalClient(client._calls._socket, timeout=0.2) as other,
        pytest.raises(AgentBusy) as busy,
    ):
        other.rebuild(web, "web:1", wait="accepted")
    assert busy.value.details["lane"] == "change"
    gate.set()
    assert {each.result(20).version for each in trials} == set(range(2, 10))


def test_rebuilds_that_pull_wait_beside_the_others(
    client: LocalClient, node: FakeNode, web: str
) -> None:
    gate = node.hold("rebuild")
    pulls = [background(lambda: client.rebuild(web, "web:2", PullPolicy.ALWAYS)) for _ in range(8)]
    until(lambda: len([given for given in node.given if given[0] == "rebuild"]) == 8)
    assert client.update(web, PATCH).version == 2
    gate.set()
    assert {each.result(20).version for each in pulls} == set(range(3, 11))


def test_a_caller_who_leaves_ends_the_waiting(
    client: LocalClient, server: LocalServer, node: FakeNode, web: str
) -> None:
    node.hold("update")
    waiting = background(lambda: client.update(web, PATCH))
    until(lambda: node.given)
    client.close()
    until(lambda: node.left == 1)
    assert waiting.exception(20) is not None


def test_the_agent_stops_with_one_on_trial(
    client: LocalClient, server: LocalServer, node: FakeNode, web: str
) -> None:
    node.hold("update")
    waiting = background(lambda: client.update(web, PATCH))
    until(lambda: node.given)
    server.stop()
    assert node.left == 1
    assert waiting.exception(60) is not None
