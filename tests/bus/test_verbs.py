"""Every verb through a real RabbitMQ: arguments, answers and errors arrive as they were sent."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bus.kit import Agents, background, spec, until
from fakes.service import (
    DETAIL,
    DONE,
    FIT,
    FLAVORS,
    IMAGE,
    MOVING,
    PRUNED,
    UNFIT,
    FakeService,
)
from longshore import bus, errors
from longshore.bus import wire
from longshore.bus.client import ComputeClient
from longshore.bus.verbs import Containers
from longshore.errors import (
    ContainerNotFound,
    DeadlineExceeded,
    HostBusy,
    InvalidRequest,
    InvalidSpec,
    LongshoreError,
    NodeUnreachable,
    PortInUse,
)
from longshore.lifecycle.lanes import LANES
from longshore.model.commit import Commit
from longshore.model.spec import ContainerSpec
from longshore.model.spec import parse as parse_spec
from longshore.model.transfer import Auth, Credential, PullPolicy

#: Every class of the package that has verbs; the server that knows one too few answers none of its.
ENDPOINTS = [
    kind
    for found in pkgutil.iter_modules(bus.__path__, f"{bus.__name__}.")
    if found.name.endswith("verbs")
    for kind in vars(importlib.import_module(found.name)).values()
    if isinstance(kind, type) and kind.__module__ == found.name and hasattr(kind, "target")
]


def test_every_verb_has_a_message_a_method_and_a_lane() -> None:
    public = [
        name
        for endpoint in ENDPOINTS
        for name in vars(endpoint)
        if not name.startswith("_") and name != "target"
    ]
    assert sorted(public) == sorted(wire.MESSAGES)
    assert sorted(verb for verbs in LANES.values() for verb in verbs) == sorted(wire.MESSAGES)
    assert set(public) <= set(dir(ComputeClient))


def test_verbs(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    web = spec()
    created = nodes.create(node, web, generation=4)
    assert (created.id, created.state, created.spec) == (
        web["id"],
        "running",
        parse_spec(web).model_dump(mode="json"),
    )
    ref = created.id
    assert nodes.start(node, ref, wait="accepted").state == "running"
    assert nodes.stop(node, ref, grace=1.5, wait="stopped").state == "stopped after 1.5"
    assert nodes.stop(node, ref).state == "stopped after None"
    assert nodes.restart(node, ref, grace=2).state == "restarted after 2.0"
    assert nodes.kill(node, ref).state == "killed by SIGKILL"
    assert nodes.kill(node, ref, signal="HUP", wait="killed").state == "killed by HUP"
    assert nodes.pause(node, ref).state == "paused"
    assert nodes.unpause(node, ref).state == "running"
    assert nodes.rename(node, ref, "other").state == "renamed to other"
    assert nodes.show(node, ref).id == ref
    assert [one.id for one in nodes.list(node)] == [ref]
    assert nodes.delete(node, ref, force=True).state == "absent, forced True"
    assert nodes.load_image(node, "/srv/web.tar")[0].name == "/srv/web.tar"
    assert nodes.list_images(node) == [IMAGE]
    assert nodes.node_status(node).name == "n1"
    assert nodes.list_flavors(node) == list(FLAVORS)
    service.absent = {"absent:1"}
    assert nodes.fits(node, spec(image="absent:1")) == UNFIT
    hiding = parse_spec(spec(secrets=[{"name": "key", "value": "v"}]))
    assert nodes.fits(node, hiding, deadline=30) == FIT
    assert service.given[-1] == ("fits", hiding)
    with pytest.raises(InvalidSpec):
        nodes.fits(node, spec(colour="red"))
    others = {
        verb
        for one in ENDPOINTS
        if one is not Containers
        for verb in vars(one)
        if verb in wire.MESSAGES
    }
    assert set(service.calls) | others == set(wire.MESSAGES)
    first, second = service.requests[:2]
    assert (first.generation, first.wait, first.origin) == (4, None, "bus test")
    assert (second.generation, second.wait) == (None, "accepted")
    assert len({one.id for one in service.requests}) == len(service.requests)


BOB, TOKEN = Credential("bob", "hünter 2"), Credential(token="t.o-k")


def test_verbs_that_concern_images(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    always, present = PullPolicy.ALWAYS, PullPolicy.IF_NOT_PRESENT
    change = Commit("me", "why", ["CMD sh", "ENV A=b"], pause=False)
    assert nodes.show_image(node, "web") == DETAIL
    assert nodes.pull_image(node, "web", present, Auth(name="ours")) == IMAGE
    assert nodes.pull_image(node, "web", auth=Auth(TOKEN)) == IMAGE
    assert nodes.prefetch_image(node, "glance://web", "never", Auth(BOB)) == MOVING
    assert nodes.push_image(node, "web", "r.example/web") == DONE.model_copy(
        update={"direction": "push"}
    )
    assert nodes.tag_image(node, "web", "web:2") == IMAGE
    assert nodes.remove_image(node, "web") == IMAGE
    assert nodes.prune_images(node, all=True) == PRUNED
    nodes.save_images(node, ["web", "db:1"], "/srv/web.tar")
    assert nodes.commit(node, "web", "web:3", change) == IMAGE
    assert nodes.commit(node, "web", "web:4") == IMAGE
    assert service.given == [
        ("show_image", "web"),
        ("pull_image", "web", present, Auth(name="ours")),
        ("pull_image", "web", always, Auth(TOKEN)),
        ("prefetch_image", "glance://web", PullPolicy.NEVER, Auth(BOB)),
        ("push_image", "web", "r.example/web", Auth()),
        ("tag_image", "web", "web:2"),
        ("remove_image", "web"),
        ("prune_images", True),
        ("save_images", ("web", "db:1"), Path("/srv/web.tar")),
        ("commit", "web", "web:3", replace(change, changes=("CMD sh", "ENV A=b"))),
        ("commit", "web", "web:4", Commit()),
    ]
    assert service.transfers == 0


def test_a_credential_comes_beside_the_spec(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    for credential in (BOB, TOKEN, None):
        status = nodes.create(node, spec(), credential=credential)
        assert "credential" not in status.spec
    assert service.credentials == [BOB, TOKEN, None]
    with pytest.raises(InvalidRequest, match="the name of another") as caught:
        nodes.create(node, spec(image_credential="ours"), credential=BOB)
    assert (type(caught.value), caught.value.field) == (InvalidRequest, "credential")


def test_an_agent_of_an_older_release_is_asked_what_it_knows(
    agents: Agents, nodes: ComputeClient, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents()
    monkeypatch.setattr(wire, "_compatible", lambda version: version == "1.0")
    assert nodes.create(node, spec()).state == "running"
    for refused in (
        lambda: nodes.create(node, spec(), credential=BOB),
        lambda: nodes.show_image(node, "web"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            refused()
        assert caught.value.field == "version"


def test_a_pull_goes_on_when_its_callers_deadline_passes(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    gate = service.hold("pull_image")
    with pytest.raises(DeadlineExceeded):
        nodes.pull_image(node, "web", deadline=1.0)
    assert service.transfers == 1
    gate.set()
    until(lambda: service.transfers == 0)


def test_an_agent_that_stops_leaves_its_pulls(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agent = agents()
    gate = service.hold("pull_image")
    asked = background(lambda: nodes.pull_image(node, "web"))
    service.wait_for("pull_image", 1)
    assert agent.stop(10.0)
    assert (service.transfers, asked.done()) == (0, False)
    gate.set()
    agents()
    assert asked.result(20) == IMAGE
    assert service.calls["pull_image"] == 2


def test_a_spec_may_be_typed_and_not_started(
    agents: Agents, nodes: ComputeClient, node: str
) -> None:
    agents()
    typed: ContainerSpec = parse_spec({**spec(), "env": {"A": "b"}, "limits": {"cpus": 0.5}})
    status = nodes.create(node, typed, start=False, wait="created")
    assert (status.state, parse_spec(status.spec)) == ("created", typed)


def test_the_same_request_is_carried_out_once(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    web, request_id = spec(), str(uuid4())
    answers = [nodes.create(node, web, request_id=request_id) for _ in range(5)]
    assert answers == [answers[0]] * 5
    assert (service.calls["create"], service.done["create"]) == (5, 1)
    assert {one.id for one in service.requests} == {request_id}


def test_an_expected_error_arrives_as_itself(
    agents: Agents,
    nodes: ComputeClient,
    node: str,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    agents()
    error = PortInUse(
        "cannot publish port 80: taken",
        field="ports[0].host_port",
        object="80/tcp",
        hint="choose another",
        details={"owner": {"pid": 7}, "list": [1, None, "ü"]},
    )
    service.fail("create", error)
    with caplog.at_level(logging.INFO), pytest.raises(PortInUse) as caught:
        nodes.create(node, spec())
    assert type(caught.value) is PortInUse
    assert caught.value.to_dict() == error.to_dict()
    assert str(caught.value) == "cannot publish port 80: taken"
    assert service.calls["create"] == 1
    assert [record for record in caplog.records if record.exc_info] == []


def test_every_error_class_crosses(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    final = [one for one in errors.BY_CODE.values() if not one.retry]
    assert len(final) > 15
    for kind in final:
        service.fail("show", kind("cannot show: a test", object="x"))
        with pytest.raises(kind) as caught:
            nodes.show(node, "x")
        assert (type(caught.value), caught.value.object) == (kind, "x")


def test_an_unexpected_error_is_logged_and_crosses_in_one_line(
    agents: Agents,
    nodes: ComputeClient,
    node: str,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
) -> None:
    agents()
    service.fail("list", ZeroDivisionError("secret\nsecret"))
    with pytest.raises(LongshoreError) as caught:
        nodes.list(node)
    assert (type(caught.value), caught.value.code) == (LongshoreError, "internal")
    assert str(caught.value) == "cannot list: the agent failed: ZeroDivisionError"
    traces = [one for one in caplog.records if one.exc_info]
    assert [one.name for one in traces] == ["longshore.bus.endpoint"]
    assert nodes.list(node) == []


def test_what_passes_by_itself_is_asked_again(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    service.fail("create", HostBusy("cannot create: a test"), HostBusy("cannot create: a test"))
    assert nodes.create(node, spec()).state == "running"
    assert (service.calls["create"], service.done["create"]) == (3, 1)
    assert len({one.id for one in service.requests}) == 1


def test_what_does_not_pass_is_raised_at_the_deadline(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    service.containers["web"] = nodes.create(node, spec())
    service.fail("stop", *[HostBusy(f"cannot stop: {n}", object="web") for n in range(100)])
    with pytest.raises(HostBusy, match="cannot stop") as caught:
        nodes.stop(node, "web", deadline=1.0)
    assert caught.value.object == "web"
    assert 1 < service.calls["stop"] < 20


def test_not_found_and_invalid(agents: Agents, nodes: ComputeClient, node: str) -> None:
    agents()
    with pytest.raises(ContainerNotFound):
        nodes.show(node, "nobody")
    with pytest.raises(InvalidSpec) as caught:
        nodes.create(node, {"id": "x", "name": "/", "image": "a", "colour": "red"})
    assert {one["field"] for one in caught.value.faults} == {"id", "name", "colour"}
    with pytest.raises(InvalidRequest) as refused:
        nodes.create(node, spec(), request_id="mine")
    assert refused.value.field == "request_id"


@pytest.mark.parametrize("name", ["", "a b", "#", "*.x", "n" * 200, "x\n", None, 5])
def test_a_name_that_is_no_node(nodes: ComputeClient, name: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        nodes.node_status(name)
    assert caught.value.field == "node"


def test_what_is_not_json_is_not_sent(nodes: ComputeClient, node: str) -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        nodes.create(node, {"id": {1, 2}})
    with pytest.raises(InvalidRequest, match="not JSON"):
        nodes.stop(node, "web", grace=float("nan"))


def test_a_node_without_agent_is_unreachable_at_once(nodes: ComputeClient) -> None:
    with pytest.raises(NodeUnreachable) as caught:
        nodes.create("nobody", spec(), deadline=600)
    assert caught.value.object == "nobody"
    assert caught.value.details["request_id"]


def test_two_agents_do_not_take_each_others_requests(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    other = FakeService()
    agents()
    agents(f"{node}.2", serving=other)
    for _ in range(3):
        nodes.create(f"{node}.2", spec())
    nodes.create(node, spec())
    assert (service.calls["create"], other.calls["create"]) == (1, 3)
