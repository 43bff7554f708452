"""The verbs for images: who uses what is seen, and kept."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from fakes.images import IMAGE, an_image
from fakes.lifecycle import Lifecycle, a_spec, ask, until
from longshore.errors import (
    HostBusy,
    HostUnavailable,
    ImageInUse,
    ImageNotFound,
    InvalidRequest,
)
from longshore.model.commit import Commit
from longshore.model.host import Image
from longshore.model.reference import canonical
from longshore.model.transfer import Auth, PullPolicy
from longshore.model.usage import used_key

WEB = "docker.io/library/web:latest"


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def test_who_uses_an_image_and_when(life: Lifecycle) -> None:
    (before,) = life.images.list()
    assert (before.used_by, before.used_at) == ((), None)
    specs = [a_spec(), a_spec()]
    for spec in specs:
        life.containers.create(ask(), spec)
    life.images.tag("busybox", "localhost/mine:1")
    for status in (*life.images.list(), life.images.show("busybox")):
        assert status.used_by == tuple(spec.name for spec in specs)
        assert status.used_at is not None
    assert set(life.images.show("busybox").names) == {IMAGE.name, "localhost/mine:1"}
    for spec in specs:
        life.containers.delete(ask(), spec.id, force=True)
    assert {one.used_by for one in life.images.list()} == {()}


def test_a_failed_create_uses_nothing(life: Lifecycle) -> None:
    with pytest.raises(ImageNotFound):
        life.containers.create(ask(), a_spec(image="moon"))
    life.fake.images.tag("busybox", "moon")
    assert life.images.remove("moon").used_by == ()


def test_the_last_name_of_what_is_used_stays(life: Lifecycle) -> None:
    specs = [a_spec() for _ in range(7)]
    for spec in specs:
        life.containers.create(ask(), spec)
    life.images.tag("busybox", "localhost/mine:1")
    assert life.images.remove("localhost/mine:1").name == "localhost/mine:1"
    with pytest.raises(ImageInUse, match=f"{specs[4].name} and 2 more use it") as caught:
        life.images.remove("busybox")
    assert caught.value.details == {"containers": [spec.name for spec in specs]}
    for spec in specs:
        life.containers.delete(ask(), spec.id, force=True)
    assert life.images.remove("busybox").digest == IMAGE.digest
    with pytest.raises(ImageNotFound):
        life.images.remove("busybox")
    with life.journal.transaction(durable=False) as tx:
        assert tx.recall(used_key(IMAGE.digest)) is None


def test_a_name_that_a_create_waits_for_stays(life: Lifecycle) -> None:
    spec = a_spec(pull="always")
    life.containers.create(ask(wait="accepted"), spec)
    life.images.tag("busybox", "localhost/mine:1")
    with pytest.raises(ImageInUse, match=f"container {spec.name} uses it"):
        life.images.remove("busybox")


def test_what_a_create_just_looks_at_is_not_removed(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the record nothing says that it is needed, but that it is held."""
    seen, go_on, get = threading.Event(), threading.Event(), life.fake.images.get

    def slow(name: str) -> Image:
        image = get(name)
        if threading.current_thread() is not threading.main_thread():
            seen.set()
            go_on.wait(10)
        return image

    monkeypatch.setattr(life.fake.images, "get", slow)
    with ThreadPoolExecutor(1) as door:
        made = door.submit(life.containers.create, ask(), a_spec())
        assert seen.wait(10)
        with pytest.raises(HostBusy):
            life.shelf.remove(IMAGE.name, 0.0)
        assert life.images.prune(all=True).images == ()
        go_on.set()
        assert made.result(10).state == "running"


def test_a_create_that_comes_while_it_is_removed_pulls_it(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.fake.sources.there[IMAGE.name] = IMAGE
    removing, go_on, remove = threading.Event(), threading.Event(), life.fake.images.remove

    def slow(name: str) -> None:
        removing.set()
        go_on.wait(10)
        remove(name)

    monkeypatch.setattr(life.fake.images, "remove", slow)
    with ThreadPoolExecutor(2) as door:
        removed = door.submit(life.images.remove, "busybox")
        assert removing.wait(10)
        made = door.submit(life.containers.create, ask(), a_spec())
        go_on.set()
        assert removed.result(10).name == IMAGE.name
        assert made.result(10).state == "running"
    assert life.fake.images.stored == [IMAGE.digest]


def test_prune(life: Lifecycle) -> None:
    life.fake.images.content["sha256:lost"] = 77
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.sources.have("web")
    life.images.tag("busybox", "localhost/mine:1")
    _pulled(life, "web")
    status = life.images.prune()
    assert (status.images, status.bytes) == ((), 77)
    status = life.images.prune(all=True)
    assert (status.images, status.bytes) == ((WEB,), 1000)
    life.containers.delete(ask(), spec.id, force=True)
    assert life.images.prune(all=True).images == (IMAGE.name, "localhost/mine:1")
    assert (life.fake.images.there, life.fake.images.content) == ({}, {})


def test_prune_spares_what_is_being_pulled(life: Lifecycle) -> None:
    life.fake.sources.there[IMAGE.name] = IMAGE
    life.fake.sources.answer.clear()
    interest = life.pulls.join("busybox", PullPolicy.ALWAYS, Auth())
    assert life.images.prune(all=True).images == ()
    life.fake.sources.answer.set()
    until(lambda: interest.done)
    assert life.images.prune(all=True).images == (IMAGE.name,)


def test_a_pull_begins_before_or_after_a_collection(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins now has no key yet by which it is spared."""
    life.fake.sources.have("web")
    collect, bringing, asked = life.fake.images.collect, life.holds.bringing, threading.Event()

    def asking() -> AbstractContextManager[None]:
        asked.set()
        return bringing()

    def slow_collect(busy: Collection[str]) -> int:
        interest = life.pulls.join("web", PullPolicy.ALWAYS, Auth())
        assert asked.wait(10)
        assert interest.status().state == "waiting"
        return collect(busy)

    monkeypatch.setattr(life.holds, "bringing", asking)
    monkeypatch.setattr(life.fake.images, "collect", slow_collect)
    life.images.prune()
    until(lambda: len(life.fake.images.stored) == 1)


@pytest.mark.parametrize("verb", ["load", "commit"])
def test_prune_while_an_image_is_made(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    """That may take minutes, and has a lease of its own."""
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.images.content["sha256:lost"] = 77
    pruned: list[int] = []

    def slow(*arguments: object) -> Image:
        pruned.append(life.images.prune().bytes)
        raise HostUnavailable("cannot reach it: the test says so")

    monkeypatch.setattr(life.fake.images, verb, slow)
    make: dict[str, Callable[[], object]] = {
        "load": lambda: life.images.load(tmp_path / "a.tar"),
        "commit": lambda: life.images.commit(spec.id, "mine", Commit()),
    }
    with pytest.raises(HostUnavailable):
        make[verb]()
    assert pruned == [77]


def test_a_load_that_moves_a_name_leaves_the_other_image_one(
    life: Lifecycle, tmp_path: Path
) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.images.archived = [an_image("busybox", "newer"), an_image("web")]
    assert [one.used_by for one in life.images.load(_archive(tmp_path))] == [(), ()]
    (kept,) = [one for one in life.images.list() if one.digest == IMAGE.digest]
    assert kept.name == f"docker.io/library/busybox@{IMAGE.digest}"
    assert kept.used_by == (spec.name,)
    assert kept.name not in life.images.prune(all=True).images
    assert IMAGE.digest in life.fake.images.content


def test_a_load_that_fails_leaves_no_second_names(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    life.fake.sources.have("web")
    _pulled(life, "web")
    life.fake.images.archived = [an_image("busybox", "newer"), an_image("web", "newer")]
    before = life.images.list()

    def full(image: Image) -> Image:
        assert len(life.images.list()) == len(before) + 2
        raise HostUnavailable("cannot reach it: the test says so")

    monkeypatch.setattr(life.fake.images, "add", full)
    with pytest.raises(HostUnavailable):
        life.images.load(_archive(tmp_path))
    assert life.images.list() == before


def test_what_a_create_by_digest_waits_for_stays(life: Lifecycle) -> None:
    """It is here by its tag; between the pull and the container's lease only the record says so."""
    name = f"busybox@{IMAGE.digest}"
    life.fake.sources.there[canonical(name)] = IMAGE
    spec = a_spec(image=name, pull="always")
    life.containers.create(ask(wait="accepted"), spec)
    (status,) = life.images.list()
    assert (status.name, status.used_by) == (IMAGE.name, (spec.name,))
    assert life.images.prune(all=True).images == ()
    with pytest.raises(ImageInUse):
        life.images.remove("busybox")


def test_by_its_digest_an_image_is_removed_as_it_is_seen(life: Lifecycle) -> None:
    name = f"busybox@{IMAGE.digest}"
    life.images.tag("busybox", "busybox:2")
    with pytest.raises(InvalidRequest, match=r"busybox:2, .*busybox:latest"):
        life.images.remove(name)
    life.images.remove("busybox:2")
    with life.holds.hold(IMAGE.name), pytest.raises(HostBusy):
        life.shelf.remove(canonical(name), 0.0)
    pieces = life.images.save([name])
    next(pieces)
    with pytest.raises(HostBusy):
        life.shelf.remove(IMAGE.name, 0.0)
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert life.images.remove(name).name == IMAGE.name
    with pytest.raises(ImageNotFound):
        life.images.remove(name)


def test_what_is_pulled_by_its_digest_is_not_pruned(life: Lifecycle) -> None:
    name = f"busybox@{IMAGE.digest}"
    life.fake.sources.there[canonical(name)] = IMAGE
    life.fake.sources.answer.clear()
    interest = life.pulls.join(name, PullPolicy.ALWAYS, Auth())
    pruned = life.images.prune(all=True)
    life.fake.sources.answer.set()
    until(lambda: interest.done)
    assert pruned.images == ()


def test_an_image_whose_content_is_lost(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.images.add(an_image("web"))
    life.fake.images.lost |= {IMAGE.digest, an_image("web").digest}
    shown = {one.name: (one.size, one.used_by) for one in life.images.list()}
    assert shown == {IMAGE.name: (0, (spec.name,)), WEB: (0, ())}
    with pytest.raises(ImageInUse):
        life.images.remove("busybox")
    assert life.images.prune(all=True).images == (WEB,)
    life.containers.delete(ask(), spec.id, force=True)
    assert life.images.remove("busybox").digest == IMAGE.digest
    assert life.images.list() == []


def test_what_was_removed_is_not_taken_for_here(life: Lifecycle) -> None:
    specs = [a_spec(), a_spec(image=f"busybox@{IMAGE.digest}")]
    assert all(life.admission.is_ready(spec) for spec in specs)
    life.images.remove("busybox")
    assert not any(life.admission.is_ready(spec) for spec in specs)


def test_when_it_was_used_is_forgotten_with_the_image(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    with life.journal.transaction(durable=False) as tx:
        tx.remember(used_key("sha256:gone"), "1.0")
    life.sweep.run()
    with life.journal.transaction(durable=False) as tx:
        assert tx.recalled("image used ") == [used_key(IMAGE.digest)]


def test_a_moved_tag_leaves_the_other_image_a_name(life: Lifecycle) -> None:
    web = life.fake.sources.have("web")
    _pulled(life, "web")
    assert life.images.tag("busybox", "web").digest == IMAGE.digest
    assert life.images.show(f"web@{web.digest}").digest == web.digest
    before = life.images.list()
    life.images.tag("busybox", "web")
    assert life.images.list() == before


TAGS = [("new", "glance://x"), ("new", f"web@{IMAGE.digest}"), ("new", "No Name")]


@pytest.mark.parametrize(("field", "new"), TAGS)
def test_names_that_nobody_gives(life: Lifecycle, field: str, new: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        life.images.tag("busybox", new)
    assert caught.value.field == field
    spec = a_spec()
    life.containers.create(ask(), spec)
    with pytest.raises(InvalidRequest):
        life.images.commit(spec.id, new, Commit())


NOT_THERE: list[Callable[[Lifecycle], object]] = [
    lambda life: life.images.show("moon"),
    lambda life: life.images.remove("moon"),
    lambda life: life.images.tag("moon", "sun"),
    lambda life: life.images.save(["busybox", "moon"]),
    lambda life: next(life.images.push("moon", "r.local/moon", Auth())),
]


@pytest.mark.parametrize("call", NOT_THERE)
def test_images_that_are_not_there(life: Lifecycle, call: Callable[[Lifecycle], object]) -> None:
    with pytest.raises(ImageNotFound):
        call(life)


def _archive(folder: Path) -> Path:
    path = folder / "a.tar"
    tarfile.open(path, "w").close()
    return path


def _pulled(life: Lifecycle, name: str) -> None:
    interest = life.pulls.join(name, PullPolicy.ALWAYS, Auth())
    until(lambda: interest.done)
    interest.image()
