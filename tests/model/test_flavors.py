"""What a flavor adds to a request, and when the two contradict each other."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from longshore.errors import InvalidSpec
from longshore.model.flavors import Flavors
from longshore.model.limits import Flavor, Limits
from longshore.model.spec import ContainerSpec, parse
from longshore.model.status import FlavorStatus

GIB = 2**30
SMALL = Flavor(name="small", limits=Limits(cpus=0.5, memory=GIB, pids=100))
SWAPPING = Flavor(
    name="swapping",
    limits=Limits(memory=GIB, memory_reservation=GIB // 2, memory_swap=2 * GIB),
)
OFFER = Flavors({"swapping": SWAPPING, "small": SMALL})


def a_spec(**changes: Any) -> ContainerSpec:
    return parse({"id": str(uuid.uuid4()), "name": "web", "image": "web:1", **changes})


def test_a_flavor_fills_in_what_is_open_and_explicit_limits_win() -> None:
    asked = a_spec(flavor={"name": "small"}, limits={"cpus": 2, "shm_size": 4096})
    filled = OFFER.filled(asked)
    assert filled.limits == Limits(cpus=2, shm_size=4096, memory=GIB, pids=100)
    assert filled.flavor == asked.flavor
    assert filled.model_copy(update={"limits": asked.limits}) == asked
    # What comes of it is a spec as any other: the journal reads it again.
    assert parse(filled.model_dump(mode="json")) == filled


def test_an_inline_flavor_needs_no_name_of_the_nodes() -> None:
    inline = {"name": "mine", "limits": {"memory": 2 * GIB}}
    assert OFFER.filled(a_spec(flavor=inline)).limits == Limits(memory=2 * GIB)
    own = {"name": "small", "limits": {"pids": 7}}
    assert OFFER.filled(a_spec(flavor=own)).limits == Limits(pids=7)


def test_the_default_counts_for_a_request_without_one() -> None:
    offer = Flavors(OFFER.by_name, default="small")
    filled = offer.filled(a_spec())
    assert filled.limits == SMALL.limits
    assert filled.flavor is not None
    assert filled.flavor.name == "small"
    assert offer.filled(a_spec(flavor={"name": "swapping"})).limits == SWAPPING.limits
    without = a_spec(limits={"pids": 3})
    assert OFFER.filled(without) == without


def test_a_flavor_that_is_not_there() -> None:
    with pytest.raises(InvalidSpec) as caught:
        OFFER.filled(a_spec(flavor={"name": "huge"}))
    assert str(caught.value) == (
        "cannot create container web: flavor: this node has no flavor huge (it has small, swapping)"
    )
    assert caught.value.field == "flavor"
    assert caught.value.details["flavors"] == ["small", "swapping"]
    with pytest.raises(InvalidSpec, match="it has none"):
        Flavors().filled(a_spec(flavor={"name": "huge"}))


@pytest.mark.parametrize(
    ("asked", "reservation", "swap"),
    [
        ({"memory": 3 * GIB}, GIB // 2, 4 * GIB),
        ({"memory": GIB // 4}, GIB // 4, GIB + GIB // 4),
        ({"memory": 3 * GIB, "memory_swap": 3 * GIB}, GIB // 2, 3 * GIB),
        ({"memory": 3 * GIB, "memory_reservation": 2 * GIB}, 2 * GIB, 4 * GIB),
        ({"pids": 5}, GIB // 2, 2 * GIB),
    ],
)
def test_with_memory_asked_for_the_flavors_reservation_and_swap_adapt(
    asked: dict[str, Any], reservation: int, swap: int
) -> None:
    filled = OFFER.filled(a_spec(flavor={"name": "swapping"}, limits=asked)).limits
    assert filled.memory == asked.get("memory", GIB)
    assert (filled.memory_reservation, filled.memory_swap) == (reservation, swap)


def test_lists_take_the_place_of_the_flavors() -> None:
    nofile = {"name": "nofile", "soft": 1, "hard": 1}
    inline = {"name": "mine", "limits": {"ulimits": [nofile], "hugepages": {"2MB": 0}}}
    core = {"name": "core", "soft": 0, "hard": 0}
    filled = OFFER.filled(a_spec(flavor=inline, limits={"ulimits": [core]})).limits
    assert [one.name for one in filled.ulimits] == ["core"]
    assert filled.hugepages == {"2MB": 0}


def test_what_contradicts_the_flavor() -> None:
    asked = {"memory_reservation": 3 * GIB}
    with pytest.raises(InvalidSpec) as caught:
        OFFER.filled(a_spec(flavor={"name": "swapping"}, limits=asked))
    assert caught.value.field == "limits.memory_reservation"
    assert "must not be above memory (with flavor swapping)" in str(caught.value)
    assert caught.value.faults[0]["field"] == "limits.memory_reservation"


def test_a_status_survives_the_way_to_another_process() -> None:
    limits = Limits.model_validate_json(
        '{"ulimits": [{"name": "nofile", "soft": 1, "hard": 2}],'
        ' "io": [{"device": "/dev/vda", "read_bps": 7}], "hugepages": {"2MB": 2097152}}'
    )
    status = FlavorStatus(name="x", limits=limits)
    sent = status.to_dict()
    assert FlavorStatus.model_validate(sent) == status
    sent["limits"]["of_a_newer_release"] = 1
    assert FlavorStatus.model_validate(sent) == status
    assert [one.name for one in OFFER.statuses()] == ["small", "swapping"]
