"""Named volumes: who makes them, who has them, and what a crash or an operator leaves of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched, until
from longshore.errors import (
    DeadlineExceeded,
    Exhausted,
    HostBusy,
    HostFailed,
    RequestConflict,
    VolumeExists,
    VolumeInUse,
    VolumeNotFound,
)
from longshore.host.named import NamedVolumes
from longshore.lifecycle.volumes import Volumes
from longshore.model.spec import ContainerSpec


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    life.pulls.stop(0.0)


def with_volume(name: str = "data", **changes: Any) -> ContainerSpec:
    return a_spec(mounts=[{"type": "volume", "name": name, "target": "/data"}], **changes)


def new() -> str:
    return str(uuid4())


def create(life: Lifecycle, spec: ContainerSpec) -> str:
    return life.containers.create(ask(), spec).id


def delete(life: Lifecycle, ref: str) -> None:
    life.containers.delete(ask(), ref, force=True)


def test_made_by_a_verb_and_removed_by_one(life: Lifecycle) -> None:
    volumes = life.volumes
    made = volumes.create("data", {"tier": "db"}, request_id=new())
    assert (made.name, made.labels, made.used_by) == ("data", {"tier": "db"}, ())
    assert made.path == str(life.host.layout.named_volume("data"))
    assert volumes.create("data", {"tier": "db"}, request_id=new()) == volumes.show("data") == made
    with pytest.raises(VolumeExists, match="other labels") as error:
        volumes.create("data", {}, request_id=new())
    assert (error.value.field, error.value.object) == ("labels", "data")
    volumes.create("a", {}, request_id=new())
    assert [one.name for one in volumes.list()] == ["a", "data"]
    assert life.fake.named.there == {"a", "data"}
    assert volumes.remove("data", request_id=new()) == made
    assert life.fake.named == type(life.fake.named)(there={"a"})
    for call in (volumes.show, partial(volumes.remove, request_id=new())):
        with pytest.raises(VolumeNotFound) as missing:
            call("data")
        assert missing.value.object == "data"


def test_made_by_the_first_container_and_kept_after_the_last(life: Lifecycle) -> None:
    first, second = with_volume(), with_volume()
    for spec in (first, second):
        create(life, spec)
    assert life.fake.named.filled == {"data": "/data"}
    status = life.volumes.show("data")
    assert status.used_by == tuple(sorted([first.name, second.name]))
    assert [(one.type, one.source) for one in life.containers.show(first.id).mounts] == [
        ("volume", "data")
    ]
    with pytest.raises(VolumeInUse) as error:
        life.volumes.remove("data", request_id=new())
    assert error.value.details == {"containers": list(status.used_by)}
    life.containers.stop(ask(), first.id, grace=0)
    delete(life, second.id)
    with pytest.raises(VolumeInUse, match=first.name):
        life.volumes.remove("data", request_id=new())
    delete(life, first.id)
    assert life.fake.named.there == {"data"}
    assert life.volumes.remove("data", request_id=new()).used_by == ()
    assert life.fake.named.there == set()


def test_a_failed_create_has_it_no_more(life: Lifecycle) -> None:
    def fail(context: object) -> None:
        raise HostFailed("cannot: the test says so")

    with patched("start", do=fail), pytest.raises(HostFailed):
        create(life, with_volume())
    assert life.volumes.show("data").used_by == ()


def test_not_to_be_filled(life: Lifecycle) -> None:
    spec = a_spec(
        mounts=[{"type": "volume", "name": "data", "target": "/data", "copy_image": False}]
    )
    create(life, spec)
    assert life.fake.named.filled == {"data": None}


def test_lost_it_is_told_and_made_again(life: Lifecycle) -> None:
    id = create(life, with_volume())
    life.volumes.create("other", {}, request_id=new())
    assert life.sweep.run().findings == ()
    life.fake.named.there.clear()
    assert life.sweep.run().findings == tuple(
        f"volume {name} has lost its folder; its next use makes it again, empty"
        for name in ("data", "other")
    )
    life.containers.stop(ask(), id, grace=0)
    life.containers.start(ask(), id)
    assert life.fake.named.there == {"data"}
    life.volumes.create("other", {}, request_id=new())
    assert life.sweep.run().findings == ()


def test_one_that_was_never_made_is_no_loss(life: Lifecycle) -> None:
    def fail(context: object) -> None:
        raise HostFailed("cannot: the test says so")

    with patched("rootfs", do=fail), pytest.raises(HostFailed):
        create(life, with_volume())
    assert life.fake.named.there == set()
    assert life.sweep.run().findings == ()


def test_a_folder_that_the_journal_does_not_know_is_left_alone(life: Lifecycle) -> None:
    life.fake.named.make("mine")
    said = "the folder of volume mine, unknown to the journal, was left alone"
    assert life.sweep.run().findings == (said,)
    assert life.fake.named.there == {"mine"}


@pytest.mark.parametrize("when", ["put_aside", "clear"])
@pytest.mark.parametrize("after", [False, True])
def test_dies_while_it_is_removed(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, when: str, after: bool
) -> None:
    life.volumes.create("data", {}, request_id=new())
    named = life.fake.named
    real = getattr(named, when)

    def die(name: str) -> None:
        if after:
            real(name)
        raise Died

    monkeypatch.setattr(named, when, die)
    with pytest.raises(Died):
        life.volumes.remove("data", request_id=new())
    monkeypatch.undo()
    again = life.next_life()
    assert (named.there, named.put) == (set(), set())
    assert again.volumes.list() == []
    again.volumes.create("data", {}, request_id=new())
    assert again.sweep.run().findings == ()
    assert named.there == {"data"}, "what came later is another one"
    again.pulls.stop(0.0)


def test_while_it_is_removed_its_name_is_taken(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.volumes.create("data", {}, request_id=new())

    def fail(name: str) -> None:
        raise HostFailed("cannot: the test says so")

    monkeypatch.setattr(life.fake.named, "put_aside", fail)
    with pytest.raises(HostFailed):
        life.volumes.remove("data", request_id=new())
    with pytest.raises(HostBusy, match="being removed"):
        life.volumes.create("data", {}, request_id=new())
    with pytest.raises(HostBusy, match="being removed"):
        create(life, with_volume())
    said = "could not remove volume data yet: cannot: the test says so"
    assert life.sweep.run().findings == (said,)
    monkeypatch.undo()
    life.sweep.run()
    assert life.fake.named.there == set()
    create(life, with_volume())


def test_content_that_cannot_be_removed_is_told(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.volumes.create("data", {}, request_id=new())

    def fail(name: str) -> None:
        raise HostFailed("cannot: immutable")

    monkeypatch.setattr(life.fake.named, "clear", fail)
    with pytest.raises(HostFailed, match="immutable"):
        life.volumes.remove("data", request_id=new())
    assert life.volumes.list() == []
    said = "could not remove volume data yet: cannot: immutable"
    assert life.sweep.run().findings == (said,)
    monkeypatch.undo()
    assert life.sweep.run().findings == ("removed what was left of volume data",)
    assert life.sweep.run().findings == ()


# Requests that come twice, and those who look meanwhile.
def test_a_repetition_does_not_touch_what_came_later(life: Lifecycle) -> None:
    volumes, made, removed = life.volumes, new(), new()
    first = volumes.create("data", {"a": "b"}, request_id=made)
    assert volumes.remove("data", request_id=removed) == first
    # The answer was lost; meanwhile somebody else has made one of that name.
    later = volumes.create("data", {}, request_id=new())
    assert volumes.remove("data", request_id=removed) == first
    assert volumes.create("data", {"a": "b"}, request_id=made) == first
    assert volumes.list() == [later]
    assert life.fake.named.there == {"data"}
    for call in (
        partial(volumes.remove, "data", request_id=made),
        partial(volumes.remove, "other", request_id=removed),
        partial(volumes.create, "data", {}, request_id=made),
        partial(life.containers.stop, ask(id=made), create(life, a_spec())),
    ):
        with pytest.raises(RequestConflict):
            call()
    volumes.remove("data", request_id=new())
    volumes.create("data", {"a": "b"}, request_id=made)
    assert (volumes.list(), life.fake.named.there) == ([], set())


def test_until_all_is_gone_it_is_one_removal(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = life.volumes.create("data", {"a": "b"}, request_id=new())

    def slow(name: str) -> bool:
        raise DeadlineExceeded("cannot: there is a lot in it")

    first = new()
    monkeypatch.setattr(life.fake.named, "clear", slow)
    for id in (first, first, new()):
        with pytest.raises(DeadlineExceeded):
            life.volumes.remove("data", request_id=id)
    monkeypatch.undo()
    for id in (new(), first):
        assert life.volumes.remove("data", request_id=id) == made
        assert life.fake.named.put == set()
    with pytest.raises(VolumeNotFound):
        life.volumes.remove("data", request_id=new())


def test_two_remove_it_at_once(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    made = life.volumes.create("data", {}, request_id=new())
    real, told = life.fake.named.clear, list[bool]()
    findings: list[str] = []

    def clear(name: str) -> bool:
        with pytest.raises(HostBusy) as busy:
            life.volumes.remove("data", request_id=new())
        told.append(busy.value.retry)
        findings.extend(life.volumes.look())
        # Its name is free already.
        life.volumes.create("data", {"later": ""}, request_id=new())
        return real(name)

    monkeypatch.setattr(life.fake.named, "clear", clear)
    assert life.volumes.remove("data", request_id=new()) == made
    assert (told, findings) == ([True], [])
    assert life.volumes.show("data").labels == {"later": ""}


def test_one_that_cannot_be_made_is_not_there(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str) -> None:
        raise Exhausted("cannot make it: the disk is full")

    request = new()
    monkeypatch.setattr(life.fake.named, "make", full)
    with pytest.raises(Exhausted):
        life.volumes.create("data", {}, request_id=request)
    assert life.volumes.list() == []
    monkeypatch.undo()
    assert life.volumes.create("data", {}, request_id=request).name == "data"


def test_who_looks_meanwhile_finds_nothing_wrong(life: Lifecycle) -> None:
    """Real folders: they are made and removed as fast as it goes, while somebody looks."""
    host = replace(life.host, named=NamedVolumes(life.host.layout, lambda names: []))
    volumes = Volumes(host, life.journal, lambda: 1.0)
    findings: list[str] = []
    over = threading.Event()
    passes = 0

    def look() -> None:
        nonlocal passes
        while not over.is_set():
            findings.extend(volumes.look())
            passes += 1

    with ThreadPoolExecutor(3) as pool:
        looking = pool.submit(look)
        for _ in pool.map(partial(_come_and_go, volumes), ("a", "b")):
            pass
        over.set()
        looking.result()
    assert passes > 1
    assert (findings, volumes.list(), host.named.list(), host.named.aside()) == (
        [],
        [],
        set(),
        set(),
    )
    with life.journal.transaction(durable=False) as tx:
        assert tx.recalled("volume ") == []


def _come_and_go(volumes: Volumes, name: str) -> None:
    for _ in range(100):
        volumes.create(name, {}, request_id=new())
        until(partial(_removed, volumes, name))


def _removed(volumes: Volumes, name: str) -> bool:
    """Who looks may be at it: then it is asked again, as clients do."""
    try:
        volumes.remove(name, request_id=new())
    except HostBusy:
        return False
    return True
