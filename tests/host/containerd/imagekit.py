"""Images as a source of our own brings them, and all that containerd holds of them."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import Layout, layout_of, tar_of
from longshore.host.containerd.images import Images
from longshore.model.documents import Descriptor, descriptors
from longshore.model.transfer import Reader, Watch


def stock(containerd: PrivateContainerd) -> tuple[str, ...]:
    """All that containerd holds for us."""
    return (
        containerd.ctr("content", "ls", "-q"),
        containerd.ctr("content", "active"),
        containerd.ctr("snapshots", "ls"),
        containerd.ctr("images", "ls"),
        containerd.ctr("leases", "ls", "-q"),
    )


def settled(images: Images, containerd: PrivateContainerd) -> tuple[str, ...]:
    """The stock, once nothing is in it that waits for the collector: for the beginning of a test,
    whose end must not be in need of that."""
    images.collect([])
    return stock(containerd)


def random_layer(size: int = 1000) -> bytes:
    """A layer that nobody has seen before, mostly of bytes that do not compress."""
    return tar_of({f"data/{os.urandom(8).hex()}": os.urandom(size)})


def written(layout: Layout, path: Path) -> Path:
    path.write_bytes(tar_of(layout.members()))
    return path


Act = Callable[["Layered", Descriptor, int], Reader | None]


@dataclass
class Layered:
    """An `ImageSource` and its `Content`, out of a layout in memory.

    Attributes:
        act: asked at each `open` of a layer: another reader than the right one, or None.
        opened: digest and offset of each `open` of a layer.
        reads: of documents.
    """

    layout: Layout
    name: str = "docker.io/library/brought:1"
    parallel: int = 2
    act: Act | None = None
    opened: list[tuple[str, int]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    watch: Watch | None = None
    own_key: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key(self) -> str:
        return self.own_key or self.candidates[0].digest

    @property
    def candidates(self) -> Sequence[Descriptor]:
        return descriptors({"manifests": self.layout.manifests}, "manifests")

    def blob(self, descriptor: Descriptor) -> bytes:
        return self.layout.blobs[descriptor.digest.removeprefix("sha256:")]

    def read(self, descriptor: Descriptor) -> bytes:
        self.reads.append(descriptor.digest)
        return self.blob(descriptor)

    @contextmanager
    def open(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Reader]:
        with self.lock:
            self.opened.append((descriptor.digest, offset))
        other = None if self.act is None else self.act(self, descriptor, offset)
        yield other or io.BytesIO(self.blob(descriptor)[offset:])


@dataclass
class Source:
    """`Layered` before it is opened."""

    content: Layered

    @property
    def name(self) -> str:
        return self.content.name

    @property
    def key(self) -> str:
        return self.content.key

    @contextmanager
    def open(self, watch: Watch) -> Iterator[Layered]:
        self.content.watch = watch
        yield self.content


def source_of(*layers: bytes, act: Act | None = None, parallel: int = 2, key: str = "") -> Source:
    layout = layout_of("brought:1", layers, compress=False)
    return Source(Layered(layout, act=act, parallel=parallel, own_key=key))


class Recorder:
    """A `Watch` that keeps what it was told, and raises what a test wants it to."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        self.digest: str | None = None
        self.blobs: dict[str, int] = {}
        self.done: dict[str, list[int]] = {}
        self.events: list[tuple[str, str]] = []
        self.fail = fail

    def check(self) -> None:
        self.fail()

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None:
        self.digest, self.blobs = digest, dict(blobs)

    def fetched(self, blob: str, done: int) -> None:
        self.done.setdefault(blob, []).append(done)

    def unpacking(self, blob: str) -> None:
        self.events.append(("unpacking", blob))

    def finished(self, blob: str) -> None:
        self.events.append(("finished", blob))


class Failing(io.BytesIO):
    """Gives what it has, and then does as it is told."""

    def __init__(self, data: bytes, then: Callable[[], object]) -> None:
        super().__init__(data)
        self._then = then

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            self._then()
        return data


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail
