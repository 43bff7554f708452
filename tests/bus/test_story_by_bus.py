"""`explain` and `events` through a real RabbitMQ."""

from __future__ import annotations

from typing import Any

import pytest

from bus.kit import Agents, background
from fakes.service import STORY, FakeService
from longshore.bus.client import ComputeClient
from longshore.bus.story_verbs import _MOST
from longshore.errors import ContainerNotFound, InvalidRequest
from longshore.model.status import Change

ID = STORY.container.id


def change(seq: int, **fields: Any) -> Change:
    base = {"at": 1.0, "id": ID, "name": "told", "previous": "stopped", "state": "running"}
    return Change(**{**base, "seq": seq, "generation": 1, "reason": "asked", **fields})


def test_explain(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    assert nodes.explain(node, "told") == STORY
    assert service.given == [("explain", "told")]
    service.fail("explain", ContainerNotFound("cannot find container x: there is none"))
    with pytest.raises(ContainerNotFound):
        nodes.explain(node, "x")


def test_events(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    service.tell(change(7))
    first = nodes.events(node)
    assert (first.changes, first.last) == ((), 7)
    waits = background(lambda: nodes.events(node, first.last))
    told = change(8, kind="health")
    service.tell(told)
    found = waits.result(30)
    assert (found.changes, found.last) == ((told,), 8)
    # What is of no interest is passed over, and not asked for again.
    service.tell(change(9))
    none = nodes.events(node, 8, kinds=["health"], timeout=0.2)
    assert (none.changes, none.last) == ((), 9)
    assert nodes.events(node, 0, refs=["told"]).changes == (change(7), told, change(9))
    assert nodes.events(node, 0, refs=["other"], timeout=0).changes == ()
    gap = change(10, id="", name="", kind="gap")
    service.tell(gap)
    assert nodes.events(node, 9, refs=["other"]).changes == (gap,)


def test_one_answer_has_an_end(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents()
    service.tell(*(change(seq) for seq in range(1, _MOST + 3)))
    first = nodes.events(node, 0)
    assert (len(first.changes), first.last) == (_MOST, _MOST)
    assert [one.seq for one in nodes.events(node, first.last).changes] == [_MOST + 1, _MOST + 2]


def test_who_waits_does_not_hold_up_the_end(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    server = agents()
    waits = background(lambda: nodes.events(node, 1, timeout=60, deadline=5))
    service.wait_for("changes", 1)
    assert server.stop(20)
    assert waits.exception(30) is not None


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("timeout", {"timeout": 61}),
        ("after", {"after": -1}),
        ("kinds[0]", {"after": 1, "kinds": ["gap"]}),
        ("refs[0]", {"after": 1, "refs": [""]}),
    ],
)
def test_what_is_wrong_is_refused(
    agents: Agents, nodes: ComputeClient, node: str, field: str, given: dict[str, Any]
) -> None:
    agents()
    with pytest.raises(InvalidRequest) as refused:
        nodes.events(node, **given)
    assert refused.value.field == field
