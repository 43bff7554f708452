"""restart, kill, pause, unpause and rename over the socket."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from fakes.node import FakeNode
from longshore.errors import InvalidRequest
from longshore.local.client import LocalClient

SPEC = {"id": "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": "web", "image": "busybox:1"}


def test_a_life(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    assert client.restart("web", grace=0.5).state == "running"
    assert client.pause("web").state == "paused"
    assert client.unpause("web").state == "running"
    assert client.kill("web", signal="HUP").exit_code == 137
    assert client.kill("web").state == "stopped"
    assert client.rename("web", "other").name == "other"
    assert node.asked == [
        ("restart", "web", 0.5),
        ("kill", "web", "HUP"),
        ("kill", "web", "SIGKILL"),
    ]
    assert len({request.id for request in node.requests}) == 7


def test_a_restart_without_grace_leaves_it_to_the_spec(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    client.restart("web")
    assert node.asked == [("restart", "web", None)]


def test_the_same_request_is_done_once(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    request_id = str(uuid4())
    first = client.pause("web", request_id=request_id, generation=7, wait="paused")
    assert client.pause("web", request_id=request_id, generation=7) == first
    assert node.done["pause"] == 1
    assert [one.generation for one in node.requests[1:]] == [7, 7]


def test_what_is_refused(client: LocalClient) -> None:
    client.create(SPEC)
    refused: list[tuple[str, Callable[[], object]]] = [
        ("grace", lambda: client.restart("web", grace=-1, wait="accepted")),
        ("request_id", lambda: client.pause("web", request_id="7")),
        ("generation", lambda: client.unpause("web", generation=0)),
        ("wait", lambda: client.pause("web", wait="running")),
        ("name", lambda: client.rename("web", "../x")),
        ("ref", lambda: client.kill("")),
        ("signal", lambda: client.kill("web", signal="")),
    ]
    for field, call in refused:
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert caught.value.field == field
