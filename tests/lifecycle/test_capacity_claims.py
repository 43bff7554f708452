"""What limits promise: never more than there is, given back at the end, and not before."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from mmap import PAGESIZE
from pathlib import Path

import pytest

from fakes.host import FakeCgroups, FakeHost
from fakes.lifecycle import Lifecycle, a_spec, ask, patched
from longshore.errors import (
    ContainerExists,
    Exhausted,
    HostUnavailable,
    InvalidSpec,
    LongshoreError,
    PolicyForbids,
    StartFailed,
)
from longshore.lifecycle.fitting import Fitting
from longshore.lifecycle.node import resources
from longshore.lifecycle.pipeline import Context
from longshore.model.addressing import NetworkConfig
from longshore.model.capacity import ADDRESSES, AUTOMATIC_PORTS, SECRETS, USER_RANGES, Stock
from longshore.model.current import Current
from longshore.model.flavors import Flavors
from longshore.model.host import AppliedLimits
from longshore.model.injected import SECRET_MAX
from longshore.model.limits import Flavor, Limits
from longshore.model.spec import ContainerSpec
from longshore.model.status import FitsStatus

MIB = 2**20
SCARCE = (
    Stock("cpus", "cores", 2, reserved=0.5, ratio=2.0),
    Stock("memory", "bytes", 1000 * MIB, reserved=200 * MIB),
    Stock("pids", "count", 100),
    Stock("disk", "bytes", 500 * MIB),
)


class Obedient(FakeCgroups):
    """The kernel has whatever was asked for."""

    def read(self, pid: int, limits: Limits, *, asked_only: bool = False) -> AppliedLimits:
        return AppliedLimits(cpus=limits.cpus, memory=limits.memory, pids=limits.pids)


def a_life(folder: Path, flavors: Flavors | None = None) -> Lifecycle:
    fake = FakeHost(cgroups=Obedient())
    return Lifecycle(folder, fake, stock=SCARCE, flavors=Current(flavors or Flavors()))


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return a_life(tmp_path)


def held(life: Lifecycle) -> dict[str, float]:
    return {one.name: life.journal.promised(one.name) for one in SCARCE}


NOTHING = dict.fromkeys(("cpus", "memory", "pids", "disk"), 0.0)


def fits(life: Lifecycle, spec: ContainerSpec) -> FitsStatus:
    return Fitting(life.journal, life.admission, lambda: 1.0).fits(spec)


def test_from_the_intent_to_the_end(life: Lifecycle) -> None:
    limits = {"cpus": 0.5, "memory": 64 * MIB, "pids": 10, "disk": 32 * MIB}
    spec = a_spec(limits=limits)
    assert life.containers.create(ask(wait="accepted"), spec).state == "creating"
    assert held(life) == limits
    life.settle_hints()
    life.containers.stop(ask(), spec.id, grace=0)
    assert held(life) == limits, "it may be started again"
    life = life.next_life()
    assert held(life) == limits
    life.containers.delete(ask(), spec.id)
    assert held(life) == NOTHING


def test_a_create_that_fails_gives_it_back_once_all_is_undone(life: Lifecycle) -> None:
    def refuse(context: Context) -> None:
        raise StartFailed("cannot start: no")

    def stuck(*_: object) -> None:
        raise HostUnavailable("cannot remove: stuck")

    spec = a_spec(limits={"memory": 64 * MIB})
    with patched("start", do=refuse), patched("rootfs", undo=stuck), pytest.raises(StartFailed):
        life.containers.create(ask(), spec)
    assert held(life)["memory"] == 64 * MIB, "what is left may still be using it"
    life.sweep_and_settle()
    assert held(life) == NOTHING


def test_a_refusal_claims_nothing(life: Lifecycle) -> None:
    with pytest.raises(Exhausted) as caught:
        life.containers.create(
            ask(), a_spec(name="web", limits={"cpus": 3.5, "memory": 900 * MIB, "pids": 1})
        )
    assert str(caught.value) == (
        "cannot create container web: not enough cpus: asked 3.5 cores, 2 cores free (and 1 more)"
    )
    assert [one["resource"] for one in caught.value.details["missing"]] == ["cpus", "memory"]
    assert held(life) == NOTHING
    assert life.journal.ids() == set()
    # Its name is free too.
    life.containers.create(ask(), a_spec(name="web", limits={"memory": 800 * MIB}))


def test_secrets_have_their_room_for_as_long_as_they_may_be_needed(tmp_path: Path) -> None:
    """A stopped container holds none, and its next start must not find others' in its place."""
    life = Lifecycle(tmp_path, stock=(Stock(SECRETS, "bytes", 10 * PAGESIZE),))
    small = {"name": "small", "value": "x"}
    large = {"name": "large", "value": "x" * (2 * PAGESIZE + 1)}
    spec = a_spec(secrets=[small, large])
    life.containers.create(ask(), spec)
    life.containers.stop(ask(), spec.id)
    assert life.journal.promised(SECRETS) == 4 * PAGESIZE
    (row,) = resources(life.stock, life.journal.list(), life.journal.promised)
    assert (row.name, row.claimed, row.free) == (SECRETS, 4 * PAGESIZE, 6 * PAGESIZE)
    with pytest.raises(Exhausted) as caught:
        life.containers.create(ask(), a_spec(secrets=[large, {**large, "name": "more"}, small]))
    assert caught.value.field == "secrets"
    assert caught.value.details["missing"] == [
        {"resource": SECRETS, "unit": "bytes", "asked": 7 * PAGESIZE, "free": 6 * PAGESIZE}
    ]
    # What a reference will have come to by then, nobody knows.
    answer = fits(life, a_spec(secrets=[{"name": "own", "reference": "own"}]))
    assert [one.asked for one in answer.missing] == [SECRET_MAX]
    life.containers.delete(ask(), spec.id)
    assert life.journal.promised(SECRETS) == 0


def test_a_container_without_limits_claims_nothing_unless_there_is_a_default(
    life: Lifecycle,
) -> None:
    life.containers.create(ask(), a_spec())
    assert held(life) == NOTHING
    small = Flavor(name="small", limits=Limits(cpus=0.25, pids=5))
    life.flavors.replace(Flavors({"small": small}, default="small"))
    made = life.containers.create(ask(), a_spec(limits={"pids": 7}))
    assert held(life) == {**NOTHING, "cpus": 0.25, "pids": 7}
    assert made.spec["limits"]["cpus"] == 0.25
    assert made.spec["flavor"]["name"] == "small"


def test_the_same_request_is_answered_though_the_flavors_have_changed(tmp_path: Path) -> None:
    small = Flavor(name="small", limits=Limits(memory=64 * MIB))
    life = a_life(tmp_path, Flavors({"small": small}))
    spec, request = a_spec(flavor={"name": "small"}), ask()
    first = life.containers.create(request, spec)
    life.flavors.replace(Flavors())
    assert life.containers.create(request, spec) == first
    with pytest.raises(InvalidSpec, match="no flavor small"):
        life.containers.create(ask(), a_spec(flavor={"name": "small"}))


def test_what_a_flavor_adds_is_subject_to_policy(life: Lifecycle) -> None:
    life.flavors.replace(
        Flavors({"huge": Flavor(name="huge", limits=Limits(cpus=64)), "bare": Flavor(
            name="bare", limits=Limits()
        )})
    )  # fmt: skip
    with pytest.raises(Exhausted) as caught:
        life.containers.create(ask(), a_spec(flavor={"name": "huge"}))
    assert caught.value.field == "limits.cpus"
    life.containers.create(ask(), a_spec(flavor={"name": "bare"}))


def test_a_node_that_shrinks_keeps_what_it_has_and_takes_no_more(tmp_path: Path) -> None:
    life = a_life(tmp_path)
    spec = a_spec(limits={"memory": 800 * MIB})
    life.containers.create(ask(), spec)
    life.journal.close()
    shrunk = Lifecycle(tmp_path, life.fake, stock=(Stock("memory", "bytes", 500 * MIB),))
    shrunk.sweep_and_settle()
    assert shrunk.containers.show(spec.id).state == "running"
    answer = fits(shrunk, a_spec(limits={"memory": 6 * MIB}))
    assert [one.free for one in answer.missing] == [0]
    assert fits(shrunk, a_spec()).fits


def test_fits_answers_as_create_would_and_makes_nothing(life: Lifecycle) -> None:
    spec = a_spec(limits={"memory": 500 * MIB}, ports=[{"container_port": 80}])
    before = life.fake.left()
    assert fits(life, spec) == FitsStatus(fits=True)
    assert fits(life, spec) == FitsStatus(fits=True)
    assert held(life) == NOTHING
    assert (life.journal.ids(), life.fake.left()) == (set(), before)
    made = life.containers.create(ask(), spec)
    assert made.nics[0].address == "10.89.0.2", "fits has passed no address"
    again = fits(life, spec)
    assert (again.fits, again.error and again.error.code) == (False, ContainerExists.code)
    other = fits(life, a_spec(limits={"memory": 400 * MIB, "disk": 501 * MIB}))
    assert other.error is not None
    assert (other.error.code, other.error.field) == (Exhausted.code, "limits.memory")
    assert {one.resource: (one.asked, one.free) for one in other.missing} == {
        "memory": (400 * MIB, 300 * MIB),
        "disk": (501 * MIB, 500 * MIB),
    }
    assert held(life) == {**NOTHING, "memory": 500 * MIB}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"security": {"privileged": True}}, PolicyForbids),
        ({"flavor": {"name": "none"}}, InvalidSpec),
        ({"limits": {"cpus": 64}}, Exhausted),
        ({"nics": [{"network": "other"}]}, InvalidSpec),
    ],
)
def test_fits_tells_what_a_create_would_raise(
    life: Lifecycle, changes: dict[str, object], error: type[LongshoreError]
) -> None:
    spec = a_spec(**changes)
    with pytest.raises(error) as caught:
        life.containers.create(ask(), spec)
    answer = fits(life, spec)
    assert answer.error is not None
    assert answer.error.to_dict() == caught.value.to_dict()


def test_addresses_and_ports_run_out_too(tmp_path: Path) -> None:
    life = Lifecycle(tmp_path, ports=range(40000, 40001))
    life.containers.create(ask(), a_spec(ports=[{"container_port": 80}]))
    answer = fits(life, a_spec(ports=[{"container_port": 80}]))
    assert answer.error is not None
    assert (answer.error.code, answer.error.field) == (Exhausted.code, "ports")
    assert [(one.resource, one.asked, one.free) for one in answer.missing] == [
        ("automatic ports", 1, 0)
    ]
    tiny = NetworkConfig(subnet=IPv4Network("10.89.0.0/29"), gateway=IPv4Address("10.89.0.1"))
    life.admission = replace(life.admission, networks={"default": tiny})
    with life.journal.transaction(durable=False) as tx:
        for last in range(2, 7):
            tx.claim("address of default", f"10.89.0.{last}", "another")
    full = fits(life, a_spec())
    assert full.error is not None
    assert (full.error.code, full.error.field) == (Exhausted.code, "nics")
    assert [one.resource for one in full.missing] == ["addresses"]


def test_fits_cannot_be_told_while_a_neighbour_is_away(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str) -> None:
        raise HostUnavailable("cannot reach containerd")

    monkeypatch.setattr(life.fake.images, "get", away)
    with pytest.raises(HostUnavailable):
        fits(life, a_spec())


def test_never_more_than_there_is_whoever_asks_at_once(life: Lifecycle) -> None:
    """Eight threads create and delete at random; a ninth looks all the time."""
    chance = random.Random(1)
    sizes = [
        [
            {
                "cpus": chance.choice([0.1, 0.3, 0.7]),
                "memory": chance.randint(50, 400) * MIB,
                "pids": chance.randint(1, 40),
                "disk": chance.randint(1, 200) * MIB,
            }
            for _ in range(12)
        ]
        for _ in range(8)
    ]
    capacity = {one.name: one.capacity for one in SCARCE}
    over: list[dict[str, float]] = []
    done = threading.Event()
    taken, refused = [], []

    def look() -> None:
        while not done.is_set():
            now = held(life)
            if any(now[name] > capacity[name] + 1e-6 for name in now):
                over.append(now)

    def work(number: int) -> None:
        mine: list[str] = []
        for limits in sizes[number]:
            spec = a_spec(limits=limits)
            try:
                life.containers.create(ask(wait="accepted"), spec)
            except Exhausted as error:
                refused.append(error)
                if mine:
                    life.containers.delete(ask(), mine.pop(), force=True)
            else:
                mine.append(spec.id)
                taken.append(limits)
        for id in mine:
            life.containers.delete(ask(), id, force=True)

    watcher = threading.Thread(target=look)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    done.set()
    watcher.join()
    assert over == []
    assert len(taken) + len(refused) == 8 * 12
    assert taken
    assert refused
    assert held(life) == NOTHING
    # Each of them was short of what it says.
    for error in refused:
        assert all(one["asked"] > one["free"] for one in error.details["missing"])


def test_the_node_shows_what_it_has_and_what_is_claimed(life: Lifecycle) -> None:
    spec = a_spec(limits={"cpus": 0.5, "pids": 10}, ports=[{"container_port": 80}])
    life.containers.create(ask(), spec)
    life.containers.create(ask(), a_spec(nics=[], security={"user_namespace": True}))
    stock = [
        *SCARCE,
        Stock(ADDRESSES, "count", 254),
        Stock(AUTOMATIC_PORTS, "count", 10),
        Stock(USER_RANGES, "count", 4094),
    ]
    rows = {one.name: one for one in resources(stock, life.journal.list(), life.journal.promised)}
    singly = ["addresses", "automatic ports", "user id ranges"]
    assert list(rows) == ["cpus", "memory", "pids", "disk", *singly]
    cpus = rows["cpus"]
    assert (cpus.total, cpus.reserved, cpus.ratio) == (2, 0.5, 2)
    assert (cpus.capacity, cpus.claimed, cpus.free) == (3, 0.5, 2.5)
    assert [one.claimed for one in rows.values()] == [0.5, 0, 10, 0, 1, 1, 1]
    assert rows["addresses"].free == 253
