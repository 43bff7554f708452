"""From a source into a real containerd: what comes, in which order, and what is left when it fails.

kill -9 is played by Interrupted, which leaves all as it is.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import digest_of
from host.containerd.imagekit import (
    Failing,
    Layered,
    Recorder,
    Source,
    raising,
    random_layer,
    settled,
    source_of,
    stock,
)
from host.containerd.stepwise import SNAPSHOTTER, until
from longshore.errors import (
    BadImage,
    Exhausted,
    HostBusy,
    ImageSourceUnavailable,
    Interrupted,
    LongshoreError,
    PullCancelled,
)
from longshore.host.containerd import content, ingest, leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.content import CHUNK
from longshore.host.containerd.images import Images
from longshore.host.containerd.ingest import Blob, Course
from longshore.model.documents import Descriptor, children
from longshore.model.fields import parse
from longshore.model.transfer import Reader

BIG = 8 * CHUNK


def forget(images: Images, *names: str) -> None:
    for name in names:
        images.remove(name)
    images.collect([])


def test_an_image_with_all_that_is_told_of_it(
    images: Images, containerd: PrivateContainerd
) -> None:
    before = settled(images, containerd)
    source, watch = source_of(random_layer(BIG), random_layer(), random_layer()), Recorder()
    layers = {one.digest: one.size for one in layers_of(source)}
    image = images.store(source, watch, ["docker.io/library/brought:1", "example.org/x:2"])
    assert (image.name, image.digest, image.key) == (source.name, source.key, "")
    assert images.get("example.org/x:2").digest == image.digest
    assert (watch.digest, watch.blobs) == (source.key, layers)
    for digest, size in layers.items():
        assert watch.done[digest] == sorted(watch.done[digest])
        assert watch.done[digest][-1] == size
    assert len(watch.done[layers_of(source)[0].digest]) > 8
    assert [one for one in watch.events if one[0] == "finished"] == [
        ("finished", digest) for digest in layers
    ]
    # The manifest, which leads to the rest, and the config.
    assert len(source.content.reads) == 2
    forget(images, image.name, "example.org/x:2")
    assert stock(containerd) == before


def test_what_is_here_is_neither_fetched_nor_read(
    images: Images, containerd: PrivateContainerd
) -> None:
    base = random_layer()
    first, second = source_of(base), source_of(base, random_layer())
    second.content.name = "docker.io/library/brought:2"
    images.store(first, Recorder(), [])
    watch = Recorder()
    images.store(second, watch, [])
    assert [digest for digest, _ in second.content.opened] == [layers_of(second)[1].digest]
    assert [what for what, _ in watch.events] == ["unpacking", "finished", "finished"]
    assert watch.done[digest_of(base)] == [len(base)]
    forget(images, first.name, second.name)


def test_an_interrupted_one_goes_on_where_it_was(
    images: Images, client: Client, containerd: PrivateContainerd
) -> None:
    before = settled(images, containerd)
    layers = random_layer(BIG), random_layer(BIG)
    cut = 3 * CHUNK

    def stop(layered: Layered, layer: Descriptor, offset: int) -> Reader | None:
        wait = threading.Barrier(2, timeout=10)
        barrier = barriers.setdefault("one", wait)

        def end() -> None:
            barrier.wait()
            raise Interrupted("cannot go on: the agent stops")

        return Failing(layered.blob(layer)[:cut], end)

    barriers: dict[str, threading.Barrier] = {}
    source = source_of(*layers, act=stop)
    with pytest.raises(Interrupted):
        images.store(source, Recorder(), [])
    (lease,) = leases.names(client)
    assert source.key in lease
    assert containerd.ctr("content", "active").count("longshore-sha256:") == 2
    assert source.name not in [image.name for image in images.list()]

    # The next life, and the collector before it.
    again = Images(client, SNAPSHOTTER, spool=containerd.folder)
    again.collect([source.key])
    resumed = source_of(*layers)
    watch = Recorder()
    image = again.store(resumed, watch, [])
    assert {offset for _, offset in resumed.content.opened} == {cut}
    assert all(done[0] == cut for done in watch.done.values())
    assert leases.names(client) == []
    assert image.size == sum(map(len, resumed.content.layout.blobs.values()))
    forget(again, image.name)
    assert stock(containerd) == before


def test_what_nobody_goes_on_with_is_collected(
    images: Images, client: Client, containerd: PrivateContainerd
) -> None:
    before = settled(images, containerd)
    broken = raising(Interrupted("cannot go on: the agent stops"))
    source = source_of(
        random_layer(), random_layer(BIG), parallel=1,
        act=lambda layered, layer, offset: (
            Failing(layered.blob(layer)[:CHUNK], broken)
            if layer.size > BIG else None
        ),
    )  # fmt: skip
    with pytest.raises(Interrupted):
        images.store(source, Recorder(), [])
    assert len(leases.names(client)) == 1
    assert images.collect([]) > CHUNK
    assert stock(containerd) == before


def test_left_bytes_that_are_wrong_are_fetched_again(
    images: Images, client: Client, containerd: PrivateContainerd
) -> None:
    """Whatever the disk did to them."""
    before = settled(images, containerd)
    layer = random_layer(BIG)
    blob = Blob(digest_of(layer), len(layer))
    leases.take(client, f"pull-{source_of(layer).key}#1")
    wrong = raising(Interrupted("cannot go on: the agent stops"))
    with pytest.raises(Interrupted):
        content.write(
            client,
            blob,
            lambda offset: opened(Failing(b"?" * 2 * CHUNK, wrong)),
            f"pull-{source_of(layer).key}#1",
            Course(10.0),
        )
    source, watch = source_of(layer), Recorder()
    image = images.store(source, watch, [])
    assert source.content.opened == [(blob.digest, 2 * CHUNK), (blob.digest, 0)]
    assert watch.done[blob.digest][-1] == blob.size
    forget(images, image.name)
    assert stock(containerd) == before


def more(layered: Layered, layer: Descriptor, offset: int) -> Reader:
    return io.BytesIO(layered.blob(layer)[offset:] + b"more")


def less(layered: Layered, layer: Descriptor, offset: int) -> Reader:
    return io.BytesIO(layered.blob(layer)[offset:-1])


def other(layered: Layered, layer: Descriptor, offset: int) -> Reader:
    return io.BytesIO(b"x" * layer.size)


def fails(error: Exception) -> Callable[[Layered, Descriptor, int], Reader]:
    return lambda layered, layer, offset: Failing(layered.blob(layer)[:CHUNK], raising(error))


GONE = ImageSourceUnavailable("cannot fetch it: the registry does not answer")

FAILURES = {
    "more bytes than announced": (more, BadImage, "it goes on after that"),
    "fewer bytes": (less, BadImage, "it ends after"),
    "other bytes": (other, BadImage, "do not have this digest"),
    "a broken connection": (fails(GONE), ImageSourceUnavailable, "does not answer"),
    "a broken disk": (fails(OSError(5, "Input/output error")), BadImage, "cannot be read"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("parallel", [1, 3])
def test_a_failure_leaves_nothing(
    images: Images, containerd: PrivateContainerd, failure: str, parallel: int
) -> None:
    before = settled(images, containerd)
    act, kind, text = FAILURES[failure]
    layers = [random_layer(BIG + i) for i in range(3)]
    bad = digest_of(layers[1])
    source = source_of(
        *layers,
        parallel=parallel,
        act=lambda layered, layer, offset: (
            act(layered, layer, offset) if layer.digest == bad else None
        ),
    )
    with pytest.raises(kind, match=text) as caught:
        images.store(source, Recorder(), [])
    assert getattr(caught.value, "__notes__", []) == []
    assert stock(containerd) == before


@pytest.mark.parametrize("error", [PullCancelled("cannot go on: nobody waits"), KeyError("bug")])
@pytest.mark.parametrize("after", [0, 5, 12, 20])
def test_the_watch_ends_it_anywhere(
    images: Images, containerd: PrivateContainerd, error: Exception, after: int
) -> None:
    before = settled(images, containerd)
    asked = iter(range(1000))

    def fail() -> None:
        if next(asked) >= after:
            raise error

    with pytest.raises(type(error)) as caught:
        images.store(source_of(random_layer(BIG), random_layer(BIG)), Recorder(fail), [])
    assert caught.value is error
    assert stock(containerd) == before


def test_the_first_failure_ends_the_other_blobs(
    images: Images, containerd: PrivateContainerd
) -> None:
    """One fails while the other would never end: by itself it only looks at its watch."""
    before = settled(images, containerd)
    waits = threading.Event()
    bad, endless = random_layer(10), random_layer(BIG)

    def act(layered: Layered, layer: Descriptor, offset: int) -> Reader:
        if layer.digest == digest_of(bad):
            assert waits.wait(10)
            return Failing(b"", raising(GONE))

        def forever() -> None:
            waits.set()
            assert layered.watch is not None
            watch = layered.watch
            until(lambda: ended(watch.check))
            watch.check()

        return Failing(layered.blob(layer)[:CHUNK], forever)

    with pytest.raises(ImageSourceUnavailable) as caught:
        images.store(source_of(bad, endless, act=act), Recorder(), [])
    assert caught.value is GONE
    assert stock(containerd) == before


def test_a_layer_is_unpacked_while_the_next_is_fetched(images: Images) -> None:
    """The second layer ends only once the first is unpacked."""
    unpacked = threading.Event()
    layers = random_layer(), random_layer(2 * CHUNK)

    class Telling(Recorder):
        def finished(self, blob: str) -> None:
            super().finished(blob)
            unpacked.set()

    def act(layered: Layered, layer: Descriptor, offset: int) -> Reader | None:
        if layer.digest == digest_of(layers[0]):
            return None
        return Failing(layered.blob(layer), lambda: unpacked.wait(20) or raising(GONE)())

    image = images.store(source_of(*layers, act=act), Telling(), [])
    forget(images, image.name)


def test_two_at_once_fetch_what_they_share_once(
    images: Images, containerd: PrivateContainerd
) -> None:
    before = settled(images, containerd)
    shared, both = random_layer(BIG), threading.Barrier(2, timeout=10)
    sources = [source_of(shared, random_layer()) for _ in range(2)]
    for i, source in enumerate(sources):
        source.content.name = f"docker.io/library/shared:{i}"

    class Meeting(Recorder):
        def planned(self, digest: str, blobs: object) -> None:
            both.wait()

    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda one=source: found.append(images.store(one, Meeting(), []).name)
        )
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [source.name for source in sources]
    opened = [digest for source in sources for digest, _ in source.content.opened]
    assert opened.count(digest_of(shared)) == 1
    forget(images, *found)
    assert stock(containerd) == before


def test_one_fails_and_the_other_goes_on_with_what_they_share(
    images: Images, containerd: PrivateContainerd
) -> None:
    before = settled(images, containerd)
    shared = random_layer(BIG)
    entered, waiting = threading.Event(), threading.Event()

    def act(layered: Layered, layer: Descriptor, offset: int) -> Reader | None:
        if layer.digest != digest_of(shared) or entered.is_set():
            return None
        entered.set()
        return Failing(layered.blob(layer)[:CHUNK], lambda: waiting.wait(10) and raising(GONE)())

    first, second = source_of(shared, random_layer(), act=act), source_of(shared, act=act)
    failed: list[LongshoreError] = []

    def fail() -> None:
        try:
            images.store(first, Recorder(), [])
        except LongshoreError as error:
            failed.append(error)

    thread = threading.Thread(target=fail)
    thread.start()
    assert entered.wait(10)
    # It is asked while it waits for its turn: then the other one may fail.
    image = images.store(second, Recorder(waiting.set), [])
    thread.join(30)
    assert failed == [GONE]
    forget(images, image.name)
    assert stock(containerd) == before


def test_a_key_that_is_no_digest(images: Images) -> None:
    first = images.store(source_of(random_layer(), key="glance:1:sha512:00"), Recorder(), [])
    assert first.key == images.get(first.name).key == "glance:1:sha512:00"
    assert images.tag(first.name, "keyed:2").key == first.key
    # The same name for what has none: nothing of the former is left.
    assert images.store(source_of(random_layer()), Recorder(), []).key == ""
    huge = images.store(source_of(random_layer(), key="k" * 5000), Recorder(), [])
    assert huge.key == "", "no label of containerd holds it"
    forget(images, first.name, "keyed:2")


def test_the_same_layer_twice(images: Images) -> None:
    layer = random_layer()
    source, watch = source_of(layer, layer), Recorder()
    image = images.store(source, watch, [])
    assert len(source.content.opened) == 1
    assert [event for event, _ in watch.events].count("finished") == 2
    assert image.size == sum(map(len, source.content.layout.blobs.values()))
    forget(images, image.name)


def test_no_room_is_said_before_anything_is_fetched(
    images: Images, client: Client, containerd: PrivateContainerd
) -> None:
    before = settled(images, containerd)
    source = source_of(random_layer(BIG), random_layer())
    small = Images(client, SNAPSHOTTER, spool=containerd.folder, room=lambda: BIG)
    with pytest.raises(Exhausted) as caught:
        small.store(source, Recorder(), [])
    assert caught.value.details["free"] == BIG < caught.value.details["needed"]
    assert (source.content.opened, stock(containerd)) == ([], before)


def test_somebody_else_s_write_is_left_alone(client: Client) -> None:
    """An agent of another node's configuration, say, in the same namespace."""
    layer = random_layer(BIG)
    blob = Blob(digest_of(layer), len(layer))
    leases.take(client, "other")
    with ingest.opened(client, blob, "other", Course(30.0), "store it") as session:
        assert session.begin() == 0
        session.send(0, layer[:CHUNK])
        with pytest.raises(HostBusy, match="locked"):
            content.write(
                client, blob, lambda offset: opened(io.BytesIO(layer)), "other", Course(30.0)
            )
        session.send(CHUNK, layer[CHUNK:])
        session.commit()
    assert content.size(client, blob.digest) == len(layer)
    leases.give_back(client, "other", collect=60.0)
    assert content.size(client, blob.digest) is None


class opened:  # noqa: N801 - used as the function that it stands for
    """The context manager of a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __enter__(self) -> Reader:
        return self._reader

    def __exit__(self, *_: object) -> None: ...


def ended(check: Callable[[], None]) -> bool:
    try:
        check()
    except LongshoreError:
        return True
    return False


def layers_of(source: Source) -> list[Descriptor]:
    """In the manifest's order."""
    (target,) = source.content.candidates
    return list(children(parse(source.content.blob(target), "manifest"))[1:])
