"""Which containers a filter lets through, in which order, and how many."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from longshore.errors import ContainerNotFound, InvalidRequest
from longshore.model.filters import Filter, Outline, name_fault, select
from longshore.model.message import decode
from longshore.model.upkeep_messages import ListContainers, PlanChange, PruneContainers, WaitFor

DIGEST = "sha256:" + "ab" * 32
HUB = "docker.io/library"
ONES = [
    Outline("a1", "web-1", "running", 3.0, f"{HUB}/web:1", DIGEST, {"tier": "web"}, "healthy"),
    Outline("a2", "web-2", "stopped", 2.0, f"{HUB}/web:2", None, {"tier": "web", "old": ""}),
    Outline("b3", "db", "running", 1.0, f"{HUB}/db:latest", "sha256:" + "0" * 64, {"tier": "db"}),
    Outline("b4", "cron", "failed", 2.0, f"{HUB}/web:1", DIGEST, {}, "starting"),
]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, "b3 a2 b4 a1"),
        ({"sort": "-created"}, "a1 b4 a2 b3"),
        ({"sort": "name"}, "b4 b3 a1 a2"),
        ({"sort": "-name"}, "a2 a1 b3 b4"),
        ({"sort": "state"}, "b4 b3 a1 a2"),
        ({"sort": "image"}, "b3 b4 a1 a2"),
        ({"labels": ["tier"]}, "b3 a2 a1"),
        ({"labels": ["tier=web"]}, "a2 a1"),
        ({"labels": ["tier=web", "old"]}, "a2"),
        ({"labels": ["old="]}, "a2"),
        ({"labels": ["tier="]}, ""),
        ({"states": ["stopped", "failed"]}, "a2 b4"),
        ({"names": ["web"]}, "a2 a1"),
        ({"names": ["^w.*1$", "^db"]}, "b3 a1"),
        ({"ids": ["a", "b4"]}, "a2 b4 a1"),
        ({"images": ["web:1"]}, "b4 a1"),
        ({"images": ["db"]}, "b3"),
        ({"images": [DIGEST]}, "b4 a1"),
        ({"images": [DIGEST[:15], "web:2"]}, "a2 b4 a1"),
        ({"images": ["web"]}, ""),
        ({"health": ["healthy"]}, "a1"),
        ({"health": ["none", "starting"]}, "b3 a2 b4"),
        ({"labels": ["tier"], "states": ["running"], "names": ["1"]}, "a1"),
        ({"limit": 2}, "b3 a2"),
        ({"limit": 9}, "b3 a2 b4 a1"),
        ({"after": "a2"}, "b4 a1"),
        ({"after": "a2", "limit": 1}, "b4"),
        ({"after": "a1"}, ""),
        ({"after": "a2", "sort": "-created"}, "b3"),
        # Its place is the same whether the filter lets it through or not.
        ({"after": "a2", "states": ["running"]}, "a1"),
    ],
)
def test_select(given: dict[str, Any], ids: str) -> None:
    wanted = decode(ListContainers, given).filter
    assert " ".join(select(ONES, wanted)) == ids


def test_pages_have_each_once() -> None:
    for sort in ("created", "-created", "name", "-state", "image"):
        pages: list[str] = []
        while more := select(ONES, Filter(sort=sort, limit=1, after=pages[-1] if pages else None)):
            pages += more
        assert pages == list(select(ONES, Filter(sort=sort)))
        assert len(pages) == len(ONES)


def test_after_one_that_is_gone() -> None:
    with pytest.raises(ContainerNotFound) as error:
        select(ONES, Filter(after="a"))
    assert (error.value.field, error.value.object) == ("after", "a")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"labels": ["=b"]}, "labels[0]"),
        ({"labels": [""]}, "labels[0]"),
        ({"labels": ["a"] * 65}, "labels"),
        ({"labels": "a"}, "labels"),
        ({"states": ["running", "absent"]}, "states[1]"),
        ({"states": ["exited"]}, "states[0]"),
        ({"names": ["("]}, "names[0]"),
        ({"names": ["a" * 600]}, "names[0]"),
        ({"ids": [""]}, "ids[0]"),
        ({"images": ["B/:"]}, "images[0]"),
        ({"health": ["ill"]}, "health[0]"),
        ({"sort": "size"}, "sort"),
        ({"sort": "--name"}, "sort"),
        ({"limit": 0}, "limit"),
        ({"limit": True}, "limit"),
        ({"after": ""}, "after"),
        ({"all": True}, "all"),
    ],
)
def test_what_is_no_filter(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(ListContainers, given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)(a|a)(a|a)(a|a)b", "a*a*a*a*b", "(?=a)b", "[", "a{2}{3}{4}{5}", "*"]
)
def test_a_pattern_that_could_be_tried_for_ever_is_refused(pattern: str) -> None:
    assert name_fault(pattern)


@pytest.mark.parametrize("pattern", ["a*a*a*b", "(a|aa|aaa|a)a*a*b", ".*.*.*b", "a{0,9}a{0,9}a?b"])
def test_the_worst_that_is_taken_is_soon_done(pattern: str) -> None:
    """A bound, not a measure: one that is tried in all ways would take years."""
    assert name_fault(pattern) is None
    began = time.monotonic()
    assert not re.search(pattern, "a" * 63)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        (WaitFor, {}, "ref"),
        (WaitFor, {"ref": "a", "condition": "happy"}, "condition"),
        (WaitFor, {"ref": "a", "timeout": 0}, "timeout"),
        (WaitFor, {"ref": "a", "timeout": 3601}, "timeout"),
        (PruneContainers, {"labels": []}, "request_id"),
        (PruneContainers, {"request_id": "x", "age": -1}, "request_id"),
        (PlanChange, {"ref": "a"}, "patch"),
        (PlanChange, {"ref": "a", "patch": [1]}, "patch"),
    ],
)
def test_other_messages(kind: Any, given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(kind, given)
    assert refused.value.field == field
