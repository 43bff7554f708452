"""List, wait, prune and plan on real containers, by both doors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from bus.kit import background
from e2e.lab import Lab, code_of, until
from longshore.bus.client import ComputeClient
from longshore.errors import DeadlineExceeded
from longshore.model.filters import Filter
from longshore.model.status import ContainerStatus

#: Ends with 7 as soon as somebody asks it to.
ON_TERM = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"]


@pytest.fixture(autouse=True)
def emptied(lab: Lab, clean: None) -> Iterator[None]:
    yield
    lab.delete_all()


@pytest.fixture
def node(lab: Lab) -> str:
    return lab.client.node_status().name


def made(lab: Lab, *, start: bool = True, **changes: Any) -> ContainerStatus:
    return lab.client.create(lab.spec(command=ON_TERM, **changes), start=start)


def ids(found: Any) -> list[str]:
    return [one.id for one in found]


@pytest.fixture
def waits() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_list_by_both_doors(lab: Lab, nodes: ComputeClient, node: str) -> None:
    web = made(lab, labels={"tier": "web"})
    db = made(lab, labels={"tier": "db"})
    new = made(lab, start=False, name="new", labels={"tier": "web"})
    lab.client.stop(db.id, grace=5)
    for wanted, expected in (
        (Filter(), [web, db, new]),
        (Filter(sort="-created"), [new, db, web]),
        (Filter(labels=("tier=web",)), [web, new]),
        (Filter(states=("running", "created")), [web, new]),
        (Filter(names=("^new$",)), [new]),
        (Filter(ids=(db.id[:8],)), [db]),
        (Filter(images=("busybox",), limit=2), [web, db]),
        (Filter(images=(web.image_digest or "",), after=web.id), [db, new]),
        (Filter(images=("web:1",)), []),
        (Filter(health=("none",), states=("stopped",)), [db]),
    ):
        for answer in (lab.client.list(wanted), nodes.list(node, wanted)):
            assert ids(answer) == ids(expected), wanted
    gone = Filter(after="6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001")
    assert code_of(lambda: lab.client.list(gone)) == "container_not_found"
    assert code_of(lambda: nodes.list(node, gone)) == "container_not_found"


def test_wait_by_both_doors(
    lab: Lab, nodes: ComputeClient, node: str, waits: ThreadPoolExecutor
) -> None:
    one = made(lab)
    assert lab.client.wait(one.id, "running").state == "running"
    ends = [
        waits.submit(lab.client.wait, one.id),
        waits.submit(lab.client.wait, one.id, "next-exit"),
        waits.submit(partial(nodes.wait, timeout=60), node, one.id),
        waits.submit(partial(nodes.wait, timeout=60), node, one.id, "next-exit"),
    ]
    gone = [
        waits.submit(lab.client.wait, one.id, "removed"),
        waits.submit(partial(nodes.wait, timeout=60), node, one.id, "removed"),
    ]
    with pytest.raises(DeadlineExceeded):
        lab.client.wait(one.id, timeout=0.3)
    assert not [each for each in (*ends, *gone) if each.done()]
    lab.client.stop(one.id, grace=30)
    assert [each.result(30).exit_code for each in ends] == [7] * 4
    assert not [each for each in gone if each.done()]
    lab.client.delete(one.id)
    assert [each.result(30).state for each in gone] == ["absent"] * 2
    assert code_of(lambda: nodes.wait(node, one.id)) == "container_not_found"


def test_wait_for_one_that_removes_itself(lab: Lab) -> None:
    """Its exit code is known, though it is gone before anybody can ask."""
    one = made(lab, auto_remove=True)
    waiting = [
        background(partial(lab.client.wait, one.id, condition))
        for condition in ("not-running", "next-exit", "removed")
    ]
    with pytest.raises(DeadlineExceeded):
        lab.client.wait(one.id, "removed", timeout=0.5)
    lab.client.stop(one.id, grace=30, wait="accepted")
    assert [each.result(30).exit_code for each in waiting] == [7] * 3


def test_wait_survives_the_agent(lab: Lab) -> None:
    one = made(lab)
    waiting = [
        background(partial(lab.client.wait, one.id, condition))
        for condition in ("not-running", "next-exit")
    ]
    with pytest.raises(DeadlineExceeded):
        lab.client.wait(one.id, timeout=0.5)
    lab.agent.kill()
    lab.agent.start()
    lab.client.stop(one.id, grace=30)
    assert [each.result(60).exit_code for each in waiting] == [7, 7]


def test_prune_by_both_doors(lab: Lab, nodes: ComputeClient, node: str) -> None:
    stays = made(lab, labels={"batch": ""})
    ended, new = made(lab, labels={"batch": ""}), made(lab, start=False)
    lab.client.stop(ended.id, grace=30)
    assert nodes.prune_containers(node, age=3600).containers == ()
    assert nodes.prune_containers(node, ["batch"]).containers == (ended.name,)
    assert lab.client.prune_containers().containers == (new.name,)
    assert ids(lab.client.list()) == [stays.id]


def test_plan_by_both_doors(lab: Lab, nodes: ComputeClient, node: str) -> None:
    one = made(lab, limits={"memory": 2**26}, env={"A": "1"}, ports=[{"container_port": 80}])
    before = lab.client.show(one.id)
    patch = {
        "limits": {"memory": 2**27, "pids": 50},
        "env": {"A": None, "B": "2"},
        "ports": [],
        "user": "1000",
    }
    plan = lab.client.plan(one.id, patch)
    assert nodes.plan(node, one.id, patch) == plan
    assert {change.field: change.when for change in plan.changes} == {
        "env[A]": "restart",
        "env[B]": "restart",
        "limits.memory": "live",
        "limits.pids": "live",
        "ports": "restart",
        "user": "recreate",
    }
    assert (plan.when, plan.error) == ("recreate", None)
    for refused in ({"limits": {"memory": 2**52}}, {"security": {"privileged": True}}):
        for answer in (lab.client.plan(one.id, refused), nodes.plan(node, one.id, refused)):
            assert answer.error is not None
    assert code_of(lambda: lab.client.plan(one.id, {"colour": 1})) == "invalid_spec"
    assert code_of(lambda: nodes.plan(node, one.id, {"colour": 1})) == "invalid_spec"
    assert until(lambda: lab.client.show(one.id)) == before, "nothing was changed"
