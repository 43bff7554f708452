"""What a change would take, and whether this node would take it; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import Lifecycle, a_spec, ask
from longshore.errors import ContainerNotFound, InvalidSpec
from longshore.model.capacity import Stock
from longshore.model.current import Current
from longshore.model.flavors import Flavors
from longshore.model.limits import Flavor, Limits
from longshore.model.status import PlanStatus

SMALL, LARGE = Limits(memory=2**28, cpus=0.5, pids=100), Limits(memory=2**30, cpus=2.0)
FLAVORS = Flavors(
    {
        "small": Flavor(name="small", limits=SMALL),
        "large": Flavor(name="large", limits=LARGE),
    }
)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path, flavors=Current(FLAVORS))
    yield life
    life.pulls.stop(0.0)


def plan(life: Lifecycle, ref: str, patch: dict[str, Any]) -> PlanStatus:
    """With a look at the journal: it is as before."""
    before = dump(life)
    try:
        return life.planning.plan(ref, patch)
    finally:
        assert dump(life) == before


def dump(life: Lifecycle) -> list[str]:
    return list(life.journal._database.iterdump())


def made(life: Lifecycle, **changes: Any) -> str:
    """Not started: the fake kernel knows no limits."""
    return life.containers.create(ask(), a_spec(**changes), start=False).name


def told(answer: PlanStatus) -> dict[str, tuple[Any, Any, str]]:
    assert list(answer.changes) == sorted(answer.changes, key=lambda one: one.field)
    return {one.field: (one.before, one.after, one.when) for one in answer.changes}


def test_plan(life: Lifecycle) -> None:
    name = made(life, limits={"memory": 2**24}, env={"A": "1"})
    answer = plan(life, name, {"limits": {"memory": 2**25}, "env": {"A": None}})
    assert told(answer) == {
        "env[A]": ("1", None, "restart"),
        "limits.memory": (2**24, 2**25, "live"),
    }
    assert (answer.when, answer.error) == ("restart", None)
    assert plan(life, name, {"env": {"A": "1"}}) == PlanStatus(when="nothing")
    assert plan(life, name, {"labels": {"a": "b"}}).when == "live"
    with pytest.raises(InvalidSpec, match="no such field"):
        plan(life, name, {"colour": 1})
    with pytest.raises(ContainerNotFound):
        plan(life, "nobody", {})


def test_another_flavor_is_its_limits(life: Lifecycle) -> None:
    name = made(life, flavor={"name": "small"}, limits={"cpus": 0.25})
    assert told(plan(life, name, {"flavor": {"name": "large"}})) == {
        "flavor": ({"name": "small"}, {"name": "large"}, "live"),
        "limits.memory": (2**28, 2**30, "live"),
        "limits.pids": (100, None, "restart"),
    }
    assert set(told(plan(life, name, {"flavor": None}))) == {
        *("flavor", "limits.memory", "limits.pids"),
    }
    assert told(plan(life, name, {"limits": {"memory": None}})) == {}
    assert told(plan(life, name, {"limits": {"memory": 2**27}})) == {
        "limits.memory": (2**28, 2**27, "live")
    }
    with pytest.raises(InvalidSpec, match="no flavor tiny"):
        plan(life, name, {"flavor": {"name": "tiny"}})


def test_volumes_of_another(life: Lifecycle) -> None:
    mounts = [{"type": "volume", "target": "/d"}, {"type": "volume", "name": "n", "target": "/n"}]
    lender = made(life, mounts=mounts)
    own = {"type": "tmpfs", "target": "/t", "size": 4096}
    name = made(life, volumes_from=[{"container": lender}], mounts=[own])
    assert told(plan(life, name, {"env": {"A": "1"}})).keys() == {"env[A]"}
    gone = plan(life, name, {"volumes_from": []})
    assert set(told(gone)) == {"mounts", "volumes_from"}
    (mounts_then,) = [one.after for one in gone.changes if one.field == "mounts"]
    assert [one["target"] for one in mounts_then] == ["/t"]
    read = plan(life, name, {"volumes_from": [{"container": lender, "read_only": True}]})
    # The image has one volume itself.
    lent = [f"mounts[{index}].read_only" for index in (1, 2, 3)]
    assert list(told(read)) == [*lent, "volumes_from[0].read_only"]
    assert read.when == "restart"
    added = plan(life, made(life), {"volumes_from": [{"container": lender}]})
    assert added.error is None
    with pytest.raises(ContainerNotFound):
        plan(life, name, {"volumes_from": [{"container": "nobody"}]})


@pytest.mark.parametrize(
    ("patch", "code", "field"),
    [
        ({"limits": {"memory": 2**41}}, "exhausted", "limits.memory"),
        ({"security": {"privileged": True}}, "policy_forbids", "security.privileged"),
        ({"name": "taken"}, "name_in_use", "name"),
        ({"ports": [{"container_port": 80, "host_port": 8080}]}, "port_in_use", None),
        ({"nics": [{"address": "10.89.0.77"}]}, "address_in_use", "nics[0].address"),
    ],
)
def test_why_the_node_would_not_take_it(
    tmp_path: Path, patch: dict[str, Any], code: str, field: str | None
) -> None:
    life = Lifecycle(tmp_path, stock=(Stock("memory", "bytes", 2.0**40),))
    taken = {"name": "taken", "ports": [{"container_port": 1, "host_port": 8080}]}
    made(life, **taken, nics=[{"address": "10.89.0.77"}])
    name = made(life)
    answer = plan(life, name, patch)
    assert answer.error is not None
    assert answer.error.code == code
    assert field is None or answer.error.field == field
    assert answer.changes, "what it would take is told all the same"
    life.pulls.stop(0.0)


def test_what_it_holds_itself_is_no_hindrance(life: Lifecycle) -> None:
    """Its own name, address, ports and memory are free for it."""
    life = Lifecycle(life.folder / "own", stock=(Stock("memory", "bytes", 3.0 * 2**24),))
    ports = [{"container_port": 80, "host_port": 8080}]
    name = made(life, ports=ports, limits={"memory": 2**25})
    address = life.containers.show(name).nics[0].address
    patch = {
        "limits": {"memory": 3 * 2**24},
        "ports": [{"container_port": 81, "host_port": 8080}],
        "nics": [{"address": address}],
    }
    assert plan(life, name, patch).error is None
    refused = plan(life, name, {"limits": {"memory": 3 * 2**24 + 1}})
    assert refused.error is not None
    assert refused.error.code == "exhausted"
    life.pulls.stop(0.0)


def test_of_one_in_any_state(life: Lifecycle) -> None:
    name = made(life)
    for verb in (life.containers.start, life.containers.stop):
        verb(ask(), name)
        assert plan(life, name, {"tty": True}).when == "restart"
