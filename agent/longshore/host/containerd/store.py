"""The one path by which an image comes into containerd, whoever brings it.

Blobs are fetched in parallel, each verified, and each layer is unpacked as soon as it and all
below it are here; a lease holds everything. Only then is it given a name (`images.py`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from longshore.errors import BadImage, Exhausted
from longshore.host.containerd import content, unpack
from longshore.host.containerd.client import Client
from longshore.host.containerd.ingest import Blob, Course
from longshore.host.containerd.joint import Joint, Turns
from longshore.model import documents
from longshore.model.documents import Descriptor, Resolved
from longshore.model.platform import Platform
from longshore.model.transfer import Content, Reader

_GC_CONTENT = "containerd.io/gc.ref.content"
_GC_SNAPSHOT = "containerd.io/gc.ref.snapshot"
#: Seconds between two looks at whether it is still wanted.
_LOOK = 0.25


@dataclass(frozen=True)
class InMemory:
    """A `Content` of documents made here; the layers that they name are in containerd already."""

    candidates: Sequence[Descriptor]
    blobs: Mapping[str, bytes]
    parallel: int = 1

    def read(self, descriptor: Descriptor) -> bytes:
        try:
            return self.blobs[descriptor.digest]
        except KeyError as error:
            raise BadImage(
                f"cannot read {descriptor.digest}: it is missing", object=descriptor.digest
            ) from error

    @contextmanager
    def open(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Reader]:
        yield io.BytesIO(self.read(descriptor)[offset:])


class Store:
    """Args:
    timeout: seconds that one blob may take.
    room: bytes that are free where containerd keeps content; None: not looked at beforehand.
    """

    def __init__(
        self,
        client: Client,
        snapshotter: str,
        node: Platform,
        *,
        timeout: float,
        room: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._snapshotter = snapshotter
        self._node = node
        self._timeout = timeout
        self._room = room
        self._turns = Turns()

    def bring(self, source: Content, lease: str, joint: Joint) -> Resolved:
        """Stores the image that is for this node, and unpacks it, under the lease.

        Raises:
            BadImage: it is not for this platform, or not what it says.
            Exhausted, HostFailed and its children: from containerd.
            LongshoreError: from the source and from the watch behind `joint`.
        """
        read: dict[str, bytes] = {}

        def reading(descriptor: Descriptor) -> bytes:
            joint.check()
            data = read[descriptor.digest] = source.read(descriptor)
            return data

        image = documents.resolve(source.candidates, reading, self._node)
        layers = {layer.digest: layer for layer in image.layers}
        joint.planned(image.target.digest, {one.digest: one.size for one in layers.values()})
        self._check_room(layers)
        made = InMemory(image.documents, read)
        for descriptor, labels in references(image, self._snapshotter):
            self._store(made, descriptor, labels, lease, joint.check)
        chain = documents.chain_ids(image.diff_ids)
        done = unpack.unpacked(self._client, self._snapshotter, chain, lease)
        # What is unpacked already can wait: nothing waits for it.
        order = {one.digest: one for one in (*image.layers[done:], *image.layers)}
        with ThreadPoolExecutor(max(1, source.parallel), "fetch") as threads, _all(threads, joint):
            coming = {
                digest: threads.submit(self._fetch, source, layer, lease, joint)
                for digest, layer in order.items()
            }
            for i in range(done, len(chain)):
                layer = image.layers[i]
                _wait(coming[layer.digest], joint)
                self._unpack(layer, image.diff_ids[i], chain[: i + 1], lease, joint)
                joint.finished(layer.digest)
            for layer in image.layers[:done]:
                _wait(coming[layer.digest], joint)
                joint.finished(layer.digest)
        return image

    def _check_room(self, layers: Mapping[str, Descriptor]) -> None:
        """Better nothing at all than a full disk: containers write to it too."""
        if self._room is None:
            return
        here = content.sizes(self._client)
        coming = sum(max(0, one.size - here.get(one.digest, 0)) for one in layers.values())
        free = self._room()
        if coming > free:
            raise Exhausted(
                f"cannot store the image: {coming} bytes are to come, and {free} are free",
                hint="remove images that nobody needs: `longshore image prune --all`",
                details={"needed": coming, "free": free},
            )

    def _fetch(self, source: Content, layer: Descriptor, lease: str, joint: Joint) -> None:
        with joint.part():
            told = partial(joint.fetched, layer.digest)
            self._store(source, layer, {}, lease, joint.check, told)
            told(layer.size)

    def _store(
        self,
        source: Content,
        descriptor: Descriptor,
        labels: Mapping[str, str],
        lease: str,
        check: Callable[[], None],
        wrote: Callable[[int], None] = lambda offset: None,
    ) -> None:
        check()
        blob = Blob(descriptor.digest, descriptor.size, labels)
        course = Course(self._timeout, check, wrote)
        with self._turns.of(blob.digest, check):
            content.write(self._client, blob, partial(source.open, descriptor), lease, course)

    def _unpack(
        self, layer: Descriptor, diff_id: str, chain: Sequence[str], lease: str, joint: Joint
    ) -> None:
        name, parent = chain[-1], chain[-2] if len(chain) > 1 else ""
        with self._turns.of(name, joint.check):
            if unpack.is_there(self._client, self._snapshotter, name, lease):
                return
            joint.unpacking(layer.digest)
            unpack.unpack(
                self._client, self._snapshotter, layer, diff_id, parent, name, lease, joint.check
            )


def references(image: Resolved, snapshotter: str) -> list[tuple[Descriptor, Mapping[str, str]]]:
    """The documents of an image, the innermost first, each with its labels for the garbage
    collector: what it refers to lives as long as it does."""
    found: list[tuple[Descriptor, Mapping[str, str]]] = [
        (image.config, {f"{_GC_SNAPSHOT}.{snapshotter}": image.chain_id})
    ]
    layers = {f"{_GC_CONTENT}.l.{i}": layer.digest for i, layer in enumerate(image.layers)}
    found.append((image.manifest, {f"{_GC_CONTENT}.config": image.config.digest, **layers}))
    inner = image.manifest
    for index in reversed(image.indexes):
        found.append((index, {f"{_GC_CONTENT}.m.{inner.digest[7:19]}": inner.digest}))
        inner = index
    return found


@contextmanager
def _all(threads: ThreadPoolExecutor, joint: Joint) -> Iterator[None]:
    """When the body or a thread fails, none is left at work, and none that waits is begun."""
    try:
        with joint.part():
            yield
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        raise


def _wait(coming: Future[None], joint: Joint) -> None:
    while not wait([coming], timeout=_LOOK).done:
        joint.check()
    coming.result()
