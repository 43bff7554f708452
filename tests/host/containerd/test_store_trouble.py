"""A disk that is full and a containerd that hangs: each a containerd of its own, small and short of
patience."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import layout_of, tar_of
from host.containerd.imagekit import (
    Failing,
    Layered,
    Recorder,
    Source,
    raising,
    random_layer,
    source_of,
    stock,
    written,
)
from host.containerd.stepwise import SNAPSHOTTER, until
from longshore.errors import DeadlineExceeded, Exhausted, LongshoreError, PullCancelled
from longshore.host.containerd import introspect, leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.content import CHUNK
from longshore.host.containerd.images import Images
from longshore.model.documents import Descriptor
from longshore.model.transfer import Reader

MIB = 1024 * 1024
DISK = 48 * MIB


@pytest.fixture(scope="module")
def small() -> Iterator[PrivateContainerd]:
    """On a file system of its own."""
    with tempfile.TemporaryDirectory(prefix="lsh-full-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "full", name], check=True)
        try:
            folder = Path(name) / "node"
            folder.mkdir()
            with PrivateContainerd(folder) as containerd:
                yield containerd
        finally:
            subprocess.run(["umount", name], check=True)


@pytest.fixture
def client(small: PrivateContainerd) -> Iterator[Client]:
    one = Client(small.socket, "longshore", timeout=0.5)
    introspect.ensure_namespace(one)
    yield one
    one.close()


@pytest.fixture
def images(client: Client, small: PrivateContainerd) -> Images:
    return Images(client, SNAPSHOTTER, spool=small.folder)


def too_large() -> Source:
    return source_of(random_layer(DISK // 3), random_layer(DISK), parallel=2)


def too_large_unpacked() -> Source:
    """It comes as a few kilobytes."""
    source = source_of(random_layer())
    layers = [random_layer(), tar_of({"zeros": bytes(2 * DISK)})]
    source.content.layout = layout_of("brought:1", layers)
    return source


@pytest.mark.parametrize("make", [too_large, too_large_unpacked])
def test_a_full_disk(images: Images, small: PrivateContainerd, make: Callable[[], Source]) -> None:
    before = stock(small)
    with pytest.raises(Exhausted, match="no space left on device"):
        images.store(make(), Recorder(), [])
    assert stock(small) == before
    image = images.store(source_of(random_layer()), Recorder(), [])
    images.remove(image.name)
    images.collect([])
    assert stock(small) == before


def test_a_full_spool(client: Client, small: PrivateContainerd, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(2 * DISK)))
    with pytest.raises(Exhausted, match="No space left on device"):
        Images(client, SNAPSHOTTER, spool=small.folder).load(tmp_path / "a.tar.gz")
    layout = layout_of("small:1", [random_layer()])
    path = written(layout, tmp_path / "b.tar")
    images = Images(client, SNAPSHOTTER, spool=small.folder)
    images.load(path)
    images.remove("small:1")
    images.collect([])


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_containerd_that_hangs(
    images: Images, client: Client, small: PrivateContainerd, cancelled: bool
) -> None:
    """Whoever does not want it any more need not wait for it; who does, is told in the end."""
    before = stock(small)
    watch = Recorder()

    def hang(layered: Layered, layer: Descriptor, offset: int) -> Reader | None:
        def stop() -> None:
            os.kill(small.pid, signal.SIGSTOP)
            if cancelled:
                watch.fail = raising(PullCancelled("cannot go on: nobody waits"))

        class Stopping(Failing):
            def read(self, size: int | None = -1, /) -> bytes:
                stop()
                return super().read(size)

        return Stopping(layered.blob(layer), lambda: None)

    kind: type[LongshoreError] = PullCancelled if cancelled else DeadlineExceeded
    try:
        with pytest.raises(kind) as caught:
            images.store(source_of(random_layer(8 * CHUNK), act=hang), watch, [])
    finally:
        os.kill(small.pid, signal.SIGCONT)
    # It could not be cleared up then; who collects, or tries again, does so.
    assert any(note.startswith("and then: cannot ") for note in caught.value.__notes__)
    assert images.collect([]) >= 0
    assert (leases.names(client), stock(small)) == ([], before)


def test_a_containerd_that_dies(images: Images, client: Client, small: PrivateContainerd) -> None:
    """What it had comes back with it, and the next attempt goes on there."""
    before = stock(small)
    layer = random_layer(8 * CHUNK)

    def die(layered: Layered, _: Descriptor, offset: int) -> Reader | None:
        return Failing(layered.blob(_)[: 4 * CHUNK], small.kill)

    with pytest.raises(LongshoreError):
        images.store(source_of(layer, act=die), Recorder(), [])
    small.start()
    until(lambda: answers(client))
    source = source_of(layer)
    image = images.store(source, Recorder(), [])
    assert [0 < offset <= 4 * CHUNK for _, offset in source.content.opened] == [True]
    images.remove(image.name)
    images.collect([])
    assert stock(small) == before


def answers(client: Client) -> bool:
    try:
        return bool(introspect.version(client))
    except LongshoreError:
        return False
