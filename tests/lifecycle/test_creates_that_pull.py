"""Creates of images that are not here: waited for at the door, postponed in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fakes.images import IMAGE
from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched, until
from lifecycle.pulling import WEB, pulling, web
from longshore.errors import (
    ImageNotFound,
    ImageSourceDenied,
    ImageSourceUnavailable,
    Interrupted,
    Superseded,
)
from longshore.lifecycle.workers import Workers
from longshore.model.host import Image
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec
from longshore.model.status import ContainerStatus
from longshore.model.usage import used_key


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    life.fake.sources.have("web", labels={"a": "image", "b": "image"}, volumes=("/data",))
    yield life
    life.fake.sources.go.set()
    life.fake.sources.answer.set()


@pytest.fixture
def door() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(30) as pool:
        yield pool


def create(
    door: ThreadPoolExecutor, life: Lifecycle, spec: ContainerSpec, **more: Any
) -> Future[ContainerStatus]:
    return door.submit(life.containers.create, ask(), spec, **more)


def last_used(life: Lifecycle, digest: str) -> str | None:
    with life.journal.transaction(durable=False) as tx:
        return tx.recall(used_key(digest))


def test_a_create_pulls_its_image(life: Lifecycle, door: ThreadPoolExecutor) -> None:
    life.fake.sources.go.clear()
    spec = web(labels={"b": "spec"})
    made = create(door, life, spec)
    pulling(life)
    until(lambda: life.containers.show(spec.id).reason == "waiting for image web")
    assert (life.containers.show(spec.id).state, life.containers.show(spec.id).image_digest) == (
        *("creating", None),
    )
    life.fake.sources.go.set()
    status = made.result(10)
    image = life.fake.images.get("web")
    assert (status.state, status.reason) == ("running", "it runs")
    assert status.image_digest == image.digest
    assert status.labels == {"a": "image", "b": "spec"}
    assert [step.name for step in status.steps][:4] == ["image", "rootfs", "disk", "data"]
    assert life.fake.data.filled == {spec.id: ("/data",)}
    assert last_used(life, image.digest) is not None
    assert life.fake.rootfs.leases == set()
    life.containers.delete(ask(), spec.id, force=True)
    assert life.fake.left() == {}


def test_twenty_creates_make_one_pull(life: Lifecycle, door: ThreadPoolExecutor) -> None:
    life.fake.sources.go.clear()
    made = [create(door, life, web(nics=[])) for _ in range(20)]
    pulling(life, 20)
    life.fake.sources.go.set()
    assert [one.result(10).state for one in made] == ["running"] * 20
    assert len(life.fake.images.stored) == len(life.fake.sources.asked) == 1


def test_what_is_here_asks_nobody_and_costs_one_look(life: Lifecycle) -> None:
    before = life.fake.images.calls
    status = life.containers.create(ask(), a_spec())
    assert (status.state, life.fake.sources.asked) == ("running", [])
    assert life.fake.images.calls == before + 1
    assert last_used(life, IMAGE.digest) is not None


def test_an_image_by_its_digest(life: Lifecycle) -> None:
    status = life.containers.create(ask(), a_spec(image=f"busybox@{IMAGE.digest}"))
    assert (status.state, status.image_digest) == ("running", IMAGE.digest)
    assert life.fake.sources.asked == []


def test_always_asks_and_brings_only_what_changed(life: Lifecycle) -> None:
    for _ in range(2):
        life.containers.create(ask(), web(pull="always"))
    assert (len(life.fake.sources.asked), len(life.fake.images.stored)) == (2, 1)


def test_an_image_whose_snapshots_are_gone_is_unpacked_again(life: Lifecycle) -> None:
    life.fake.rootfs.unpacked.clear()
    status = life.containers.create(ask(), a_spec())
    assert (status.state, life.fake.sources.asked, life.fake.images.stored) == ("running", [], [])


def test_an_image_whose_layers_are_gone_is_brought_again(life: Lifecycle) -> None:
    life.containers.create(ask(), web())
    life.fake.rootfs.unpacked.clear()
    life.fake.images.content.clear()
    with pytest.raises(ImageNotFound):
        life.containers.create(ask(), web())
    assert life.containers.create(ask(), web(pull="always")).state == "running"
    assert len(life.fake.images.stored) == 2


def test_layers_that_go_before_they_are_held_are_unpacked_and_not_pulled(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = life.fake.images.hold
    held: list[Image] = []

    def late(names: Names, image: Image) -> None:
        if not held:
            life.fake.rootfs.unpacked.discard(image.chain_id)
        held.append(image)
        hold(names, image)

    monkeypatch.setattr(life.fake.images, "hold", late)
    assert life.containers.create(ask(), web()).state == "running"
    assert (len(held), len(life.fake.images.stored)) == (2, 1)


def test_a_delete_ends_a_pull_at_once(life: Lifecycle, door: ThreadPoolExecutor) -> None:
    life.fake.sources.go.clear()
    spec = web()
    made = create(door, life, spec)
    pulling(life)
    assert life.containers.delete(ask(), spec.id).state == "absent"
    with pytest.raises(Superseded):
        made.result(10)
    until(lambda: life.fake.sources.moving == 0)
    assert (life.fake.left(), life.journal.list(), life.pulls.transfers()) == ({}, [], [])
    assert WEB not in life.fake.images.there


def test_a_delete_does_not_end_what_others_wait_for(
    life: Lifecycle, door: ThreadPoolExecutor
) -> None:
    life.fake.sources.go.clear()
    spec, other = web(), web()
    made, others = create(door, life, spec), create(door, life, other)
    pulling(life, 2)
    life.containers.delete(ask(), spec.id)
    pulling(life, 1)
    life.fake.sources.go.set()
    assert others.result(10).state == "running"
    assert isinstance(made.exception(10), Superseded)


def test_a_pull_that_fails_fails_the_create(life: Lifecycle) -> None:
    spec, request = web(image="moon", ports=[{"container_port": 1, "host_port": 99}]), ask()
    with pytest.raises(ImageNotFound):
        life.containers.create(request, spec)
    shown = life.containers.show(spec.id)
    assert shown.state == "failed"
    assert shown.error is not None
    assert shown.error.code == "image_not_found"
    assert life.fake.left() == {}
    with pytest.raises(ImageNotFound):
        life.containers.create(request, spec)
    assert len(life.fake.sources.asked) == 1


def test_a_source_that_is_away_may_be_asked_again(life: Lifecycle) -> None:
    spec, request = web(), ask()
    life.fake.sources.failures[WEB] = ImageSourceUnavailable("cannot reach it")
    with pytest.raises(ImageSourceUnavailable):
        life.containers.create(request, spec)
    life.fake.sources.failures.clear()
    assert life.containers.create(request, spec).state == "running"


def test_in_the_background_nobody_waits(life: Lifecycle) -> None:
    """One worker, a pull that stands still, and all the others are served."""
    life.fake.sources.go.clear()
    workers = Workers(1)
    stuck, fine = web(), a_spec()
    life.containers.create(ask(wait="accepted"), stuck)
    life.containers.create(ask(wait="accepted"), fine)
    workers.start(life.converge.visit)
    try:
        workers.soon(stuck.id)
        workers.soon(fine.id)
        until(lambda: life.containers.show(fine.id).state == "running")
        shown = life.containers.show(stuck.id)
        assert (shown.state, shown.reason) == ("creating", "waiting for image web")
        assert shown.error is None
    finally:
        assert workers.stop(10)
    life.fake.sources.go.set()
    life.settle_until(lambda: life.containers.show(stuck.id).state == "running")
    assert len(life.fake.images.stored) == 1


def test_a_postponed_create_keeps_what_it_claimed_and_is_not_answered(life: Lifecycle) -> None:
    life.fake.sources.go.clear()
    spec, request = web(ports=[{"container_port": 80, "host_port": 8080}]), ask(wait="accepted")
    life.containers.create(request, spec)
    for _ in range(3):
        life.sweep_and_settle()
    assert [one.waiters for one in life.pulls.transfers()] == [1]
    shown = life.containers.show(spec.id)
    assert (len(shown.nics), len(shown.ports)) == (1, 1)
    asked = life.journal.requested(request.id)
    assert asked is not None
    assert asked.outcome is None
    life.fake.sources.go.set()
    life.settle_until(lambda: life.containers.show(spec.id).state == "running")
    assert life.containers.create(ask(id=request.id), spec).ports == shown.ports


def test_a_failure_in_the_background_fails_the_create_once(life: Lifecycle) -> None:
    spec, request = web(image="moon"), ask(wait="accepted")
    life.containers.create(request, spec)
    life.settle_until(lambda: life.containers.show(spec.id).state == "failed")
    for _ in range(3):
        life.sweep_and_settle()
    assert len(life.fake.sources.asked) == 1
    with pytest.raises(ImageNotFound):
        life.containers.create(ask(id=request.id), spec)


def test_a_delete_of_a_postponed_create_ends_its_pull(life: Lifecycle) -> None:
    life.fake.sources.go.clear()
    spec = web()
    life.containers.create(ask(wait="accepted"), spec)
    life.settle_hints()
    pulling(life)
    life.containers.delete(ask(), spec.id)
    until(lambda: life.fake.sources.moving == 0)
    assert (life.pulls.transfers(), life.journal.list()) == ([], [])


def test_the_agents_end_leaves_it_to_the_next_life(
    life: Lifecycle, door: ThreadPoolExecutor
) -> None:
    life.fake.sources.go.clear()
    spec, request = web(ports=[{"container_port": 80, "host_port": 8080}]), ask()
    made = door.submit(life.containers.create, request, spec)
    pulling(life)
    claimed = life.containers.show(spec.id).ports
    assert life.pulls.stop(10)
    with pytest.raises(Interrupted):
        made.result(10)
    assert life.containers.show(spec.id).state == "creating"
    life = life.next_life()
    pulling(life)
    assert life.containers.show(spec.id).state == "creating"
    # Whoever asks again waits for the same pull.
    again = door.submit(life.containers.create, request, spec)
    pulling(life, 2)
    life.fake.sources.go.set()
    assert again.result(10).state == "running"
    assert again.result(10).ports == claimed
    assert life.fake.tasks.created == [spec.id]
    assert life.fake.images.stored == [life.fake.images.get("web").digest]


def test_what_was_pulled_is_known_though_the_agent_dies(life: Lifecycle) -> None:
    """The name moves meanwhile: the container is what it was begun as."""
    spec = web(command=[])
    image = life.fake.sources.there[WEB]

    def dies(context: Any) -> None:
        context.host.tasks.start(context.names)
        raise Died

    with patched("start", do=dies), pytest.raises(Died):
        life.containers.create(ask(), spec)
    life.fake.sources.have("web", "2")
    life = life.next_life()
    status = life.containers.show(spec.id)
    assert (status.state, status.image_digest) == ("running", image.digest)
    assert status.command == ("sh",)


OFFLINE: list[tuple[dict[str, Any], Callable[[Lifecycle], None]]] = [
    ({"image": "busybox"}, lambda life: None),
    ({"image": "busybox", "pull": "never"}, lambda life: None),
    ({"image": "glance://bb"}, lambda life: None),
    ({"image": "glance://bb", "pull": "never"}, lambda life: None),
    # Its operator has taken Glance out of the configuration.
    ({"image": "glance://bb"}, lambda life: setattr(life.fake.sources, "has_glance", False)),
]


@pytest.mark.parametrize(("asked", "before"), OFFLINE)
def test_what_is_here_starts_with_nobody_there(
    life: Lifecycle, asked: dict[str, Any], before: Callable[[Lifecycle], None]
) -> None:
    life.fake.images.tag("busybox", "glance://bb")
    away = ImageSourceUnavailable("cannot reach it")
    life.fake.sources.failures = {"glance://bb": away, IMAGE.name: away}
    before(life)
    assert life.containers.create(ask(), a_spec(**asked)).state == "running"


READY = [
    ({"image": "busybox"}, True),
    ({"image": "docker.io/library/busybox:latest"}, True),
    ({"image": "busybox", "pull": "never"}, True),
    ({"image": "busybox", "pull": "always"}, False),
    ({"image": "web"}, False),
    ({"image": "web", "pull": "never"}, True),
    ({"image": "glance://web"}, False),
]


@pytest.mark.parametrize(("asked", "ready"), READY)
def test_who_will_have_to_wait(life: Lifecycle, asked: dict[str, Any], ready: bool) -> None:
    for _ in range(2):
        assert life.admission.is_ready(a_spec(**asked)) is ready
    assert life.fake.sources.asked == []
    # Looked at once, and then known.
    if ready and asked.get("pull") != "never":
        assert life.fake.images.calls == 1


def test_what_went_away_is_not_said_to_be_here_for_long(life: Lifecycle) -> None:
    spec = a_spec()
    assert life.admission.is_ready(spec)
    life.images.remove("busybox")
    with pytest.raises(ImageNotFound):
        life.containers.create(ask(), spec)
    assert not life.admission.is_ready(spec)


def test_a_denied_pull_says_so(life: Lifecycle) -> None:
    life.fake.sources.failures[WEB] = ImageSourceDenied("cannot pull web: denied", object=WEB)
    with pytest.raises(ImageSourceDenied):
        life.containers.create(ask(), web())


def test_waiting_threads_end(life: Lifecycle) -> None:
    life.containers.create(ask(), web())
    assert life.pulls.stop(10)
    assert [one for one in threading.enumerate() if one.name.startswith("pull-")] == []
