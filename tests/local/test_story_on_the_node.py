"""`explain` and `watch` over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest

from fakes.node import FakeNode
from fakes.service import STORY
from longshore.errors import ContainerNotFound, InvalidRequest
from longshore.local.client import LocalClient
from longshore.model.spec import ContainerSpec, parse
from longshore.model.status import Change

WEB, DB = (
    parse({"id": f"{n}f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": name, "image": "busybox:1"})
    for n, name in ((1, "web"), (2, "db"))
)


@pytest.fixture
def two(node: FakeNode) -> FakeNode:
    def add(spec: ContainerSpec) -> None:
        node.add(spec)
        node.happens(spec.name, "state")

    add(WEB)
    add(DB)
    node.happens("web", "health")
    node.happens("db", "health")
    return node


def test_explain(client: LocalClient, node: FakeNode) -> None:
    assert client.explain("told") == STORY
    assert node.given == [("explain", "told")]
    node.fail("explain", ContainerNotFound("cannot find container x: there is none"))
    with pytest.raises(ContainerNotFound):
        client.explain("x")
    with pytest.raises(InvalidRequest):
        client.explain("")


def seen(changes: Iterator[Change], count: int) -> list[tuple[str, str]]:
    return [(one.name, one.kind) for one in islice(changes, count)]


@pytest.mark.parametrize(
    ("refs", "kinds", "found"),
    [
        ([], [], [("web", "state"), ("db", "state"), ("web", "health"), ("db", "health")]),
        (["web"], [], [("web", "state"), ("web", "health")]),
        ([DB.id[:8], "x"], [], [("db", "state"), ("db", "health")]),
        ([], ["health"], [("web", "health"), ("db", "health")]),
        (["db"], ["health", "renamed"], [("db", "health")]),
    ],
)
def test_watch_what_is_of_interest(
    client: LocalClient,
    two: FakeNode,
    refs: list[str],
    kinds: list[str],
    found: list[tuple[str, str]],
) -> None:
    with closing(client.watch(0, refs=refs, kinds=kinds)) as changes:
        assert seen(changes, len(found)) == found
        # What is missing may have been of interest to anybody.
        two.gap()
        assert seen(changes, 1) == [("", "gap")]


def test_watch_from_now_on(client: LocalClient, two: FakeNode) -> None:
    with closing(client.watch(refs=["web"])) as changes:
        two.happens("db", "renamed")
        two.happens("web", "renamed")
        assert seen(changes, 1) == [("web", "renamed")]


def test_what_is_no_kind_is_refused(client: LocalClient, two: FakeNode) -> None:
    with pytest.raises(InvalidRequest) as refused:
        next(client.watch(0, kinds=["frob"]))
    assert refused.value.field == "kinds[0]"
