"""What a node can promise, and what is said of what it lacks."""

from __future__ import annotations

import pytest

from longshore.model.capacity import PROMISED, Lack, Stock, amounts, exhausted, lacks
from longshore.model.limits import Limits

GIB = 2**30


@pytest.mark.parametrize(
    ("stock", "capacity"),
    [
        (Stock("cpus", "cores", 2), 2),
        (Stock("cpus", "cores", 4, reserved=1, ratio=2.5), 7.5),
        (Stock("memory", "bytes", GIB, reserved=2 * GIB, ratio=4.0), 0),
    ],
)
def test_capacity_is_what_is_left_times_the_ratio(stock: Stock, capacity: float) -> None:
    assert stock.capacity == capacity


def test_every_promised_thing_is_a_limit() -> None:
    assert set(PROMISED) <= set(Limits.model_fields)
    full = {"cpus": 0.5, "memory": GIB, "pids": 10, "disk": GIB}
    assert amounts(Limits.model_validate(full)) == full
    assert amounts(Limits()) == {}
    assert amounts(Limits(disk=GIB), beside={"disk": 5}) == {"disk": GIB + 5}
    assert amounts(Limits(), beside={"disk": 5, "logs": 3}) == {"disk": 5, "logs": 3}
    lacking = list(lacks({"logs": 5}, [Stock("logs", "bytes", 4)], lambda _: 0.0))
    assert exhausted("web", lacking).field is None


def test_tenths_of_a_core_fill_a_core() -> None:
    stock, held = [Stock("cpus", "cores", 1)], 0.0
    for _ in range(10):
        assert list(lacks({"cpus": 0.1}, stock, {"cpus": held}.__getitem__)) == []
        held += 0.1
    assert list(lacks({"cpus": 0.01}, stock, {"cpus": held}.__getitem__)) == [
        Lack("cpus", "cores", 0.01, 0.0)
    ]


def test_what_nobody_asks_for_is_not_looked_at() -> None:
    stock = [Stock("memory", "bytes", 0), Stock("cpus", "cores", 1)]
    assert list(lacks({"cpus": 1.0}, stock, lambda _: 0.0)) == []


def test_a_node_that_shrank_has_nothing_free_and_says_so() -> None:
    stock = Stock("memory", "bytes", GIB)
    assert stock.free(3 * GIB) == -2 * GIB
    assert list(lacks({"memory": 1.0}, [stock], lambda _: 3 * GIB)) == [
        Lack("memory", "bytes", 1.0, 0.0)
    ]


def test_no_container_gets_more_than_the_whole_node() -> None:
    stock = Stock("memory", "bytes", GIB, ratio=4.0)
    assert list(lacks({"memory": GIB}, [stock], lambda _: GIB)) == []
    lacking = list(lacks({"memory": 2**50}, [stock], lambda _: 0.0))
    assert lacking == [Lack("memory", "bytes", 2**50, GIB)]
    assert "not enough memory: asked 1 PiB, 1 GiB free" in str(exhausted("web", lacking))


def test_all_that_is_missing_is_told_at_once() -> None:
    missing = [
        Lack("memory", "bytes", 2 * GIB, GIB / 2),
        Lack("cpus", "cores", 2.0, 1.5),
        Lack("pids", "count", 2000.0, 96.0),
    ]
    error = exhausted("web", missing)
    assert str(error) == (
        "cannot create container web: not enough memory: asked 2 GiB, 512 MiB free (and 2 more)"
    )
    assert (error.field, error.object, error.retry) == ("limits.memory", "web", False)
    assert error.details["resource"] == "memory"
    assert (error.details["asked"], error.details["free"]) == (2 * GIB, GIB / 2)
    assert error.details["missing"][1] == {
        "resource": "cpus",
        "unit": "cores",
        "asked": 2.0,
        "free": 1.5,
    }
    assert [one["why"] for one in error.details["faults"]] == [
        "not enough memory: asked 2 GiB, 512 MiB free",
        "not enough cpus: asked 2 cores, 1.5 cores free",
        "not enough pids: asked 2,000, 96 free",
    ]
