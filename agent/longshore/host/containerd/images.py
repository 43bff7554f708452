"""Images of the node: names in containerd that stand for content, unpacked into snapshots."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from longshore.errors import BadImage, ImageNotFound, Interrupted, NotFound
from longshore.host.containerd import (
    archive,
    catalogue,
    commit,
    content,
    leases,
    save,
    unpack,
)
from longshore.host.containerd.catalogue import Entry
from longshore.host.containerd.client import Client
from longshore.host.containerd.joint import Joint, Unwatched
from longshore.host.containerd.store import Store
from longshore.host.containerd.stored import stored
from longshore.host.platform import this_node
from longshore.model import documents
from longshore.model.commit import Commit
from longshore.model.documents import Descriptor, Resolved
from longshore.model.host import Image, ImageConfig
from longshore.model.names import Names
from longshore.model.platform import Platform
from longshore.model.status import ImageDetail, ImageLayer
from longshore.model.transfer import Content, ImageSource, Watch

_CACHE_MAX = 1024


class Images:
    """`Images` of lifecycle's ports; one per agent.

    Args:
        spool: a folder for what archives are decompressed to.
        user_namespaces: as `Layout.user_namespaces`.
        archive_max: bytes that an archive may have, compressed and not.
        timeout: seconds that one blob may take to come or go.
        node: the platform that images must be for; None: this one.
        room: bytes that are free where containerd keeps content; None: not looked at beforehand.
    """

    def __init__(
        self,
        client: Client,
        snapshotter: str,
        *,
        spool: Path,
        user_namespaces: Path = Path("/run/longshore/userns"),
        archive_max: int = 16 * 2**30,
        timeout: float = 3600.0,
        node: Platform | None = None,
        room: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._snapshotter = snapshotter
        self._node = node or this_node()
        self._spool = spool
        self._user_namespaces = user_namespaces
        self._archive_max = archive_max
        self._timeout = timeout
        self._store = Store(client, snapshotter, self._node, timeout=timeout, room=room)
        # Content never changes, so what a digest means need be read only once.
        self._resolved: dict[str, Resolved] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends, for good, what nobody watches: loads, commits, unpacking. They raise Interrupted
        and clear up in their own threads."""
        self._stopping.set()

    def get(self, name: str) -> Image:
        """The image of that name.

        Raises:
            ImageNotFound: it is not on this node.
            BadImage: its content is not for this platform, or not there.
            InvalidRequest: it is no name.
        """
        return self._image(catalogue.get(self._client, name))

    def detail(self, name: str) -> ImageDetail:
        """All that is known of it, but not who uses it. Raises as `get`."""
        entry = catalogue.get(self._client, name)
        image = self._of(entry)
        same = catalogue.entries(self._client, entry.target.digest)
        run = image.run
        return ImageDetail(
            name=entry.name,
            digest=entry.target.digest,
            size=image.size,
            created_at=entry.at,
            names=tuple(one.name for one in same),
            platform=str(image.platform),
            layers=tuple(
                ImageLayer(
                    digest=layer.digest,
                    diff_id=diff_id,
                    media_type=layer.media_type,
                    size=layer.size,
                )
                for layer, diff_id in zip(image.layers, image.diff_ids, strict=True)
            ),
            entrypoint=run.entrypoint,
            command=run.command,
            env=run.env,
            workdir=run.workdir,
            user=run.user,
            stop_signal=run.stop_signal,
            labels=dict(run.labels),
            exposed_ports=run.exposed_ports,
            volumes=run.volumes,
            healthcheck=None if run.healthcheck is None else dict(run.healthcheck),
        )

    def list(self) -> Sequence[Image]:
        """All that can run here, by name; names that stand for anything else are left out."""
        found = []
        for entry in catalogue.entries(self._client):
            try:
                found.append(self._image(entry))
            except BadImage:
                continue
        return found

    def broken(self) -> Sequence[Image]:
        """All names that `list` leaves out, with what is known of them."""
        found = []
        for entry in catalogue.entries(self._client):
            try:
                self._of(entry)
            except BadImage:
                bare = (entry.name, entry.target.digest, "", 0, entry.at, ImageConfig())
                found.append(Image(*bare, key=entry.key))
        return found

    def load(
        self,
        archive_path: Path,
        naming: Callable[[Mapping[str, str]], AbstractContextManager[None]] = (
            lambda targets: nullcontext()
        ),
    ) -> Sequence[Image]:
        """Imports all images of an archive (OCI layout or docker-save), or none.

        Args:
            naming: gets the names, each with the digest that it is to stand for; they are set, or
                put back, inside of it.

        Raises:
            InvalidRequest: there is no such file to read.
            MessageTooLarge: it is above the limit.
            BadImage: damaged, not for this platform, or not what its digests promise.
            Exhausted, HostFailed and its children: from containerd.
            Interrupted: the agent stops.
        """
        joint = self._unwatched()
        with (
            leases.temporary(self._client) as lease,
            archive.opened(
                archive_path, spool=self._spool, limit=self._archive_max, check=joint.check
            ) as opened,
        ):
            if not opened.images:
                raise BadImage(
                    "cannot use the archive: none of its images has a name",
                    hint="save it by name, not by id",
                )
            ready = {
                name: self._store.bring(source, lease, joint)
                for name, source in opened.images.items()
            }
            targets = {name: image.target for name, image in sorted(ready.items())}
            with naming({name: target.digest for name, target in targets.items()}):
                entries = catalogue.put_all(self._client, targets)
            return [self._image(entry) for entry in entries]

    def store(self, source: ImageSource, watch: Watch, names: Sequence[str]) -> Image:
        """Fetches, verifies and unpacks the image, and then gives it the (canonical) names.

        What an agent left that died goes on where it was. If this fails all of it is removed; but
        not when the agent stops (Interrupted).

        Raises:
            BadImage: it is not for this platform, or not what it says.
            Exhausted, HostFailed and its children: from containerd.
            LongshoreError: from the source and the watch.
        """
        joint = Joint(watch)
        with leases.of_pull(self._client, source.key) as lease, joint.part():
            return self._stored(source, lease, joint, names or [source.name])

    def unpack(self, image: Image) -> None:
        """Makes the snapshots of its layers again if they are gone, from the content that is here;
        if they are there, only looks.

        Raises:
            ImageNotFound: the content is gone too.
            Interrupted: the agent stops.
        """
        if unpack.exists(self._client, self._snapshotter, image.chain_id):
            return
        with leases.temporary(self._client) as lease:
            leases.hold_content(self._client, lease, image.digest)
            try:
                here = stored(self._client, self._by_digest(image), self._timeout)
            except BadImage as error:
                raise ImageNotFound(
                    f"cannot unpack image {image.name}: its content is not on this node any more",
                    field="image",
                    object=image.name,
                    hint="pull it with `--policy always`, or load it again",
                ) from error
            # It comes from where it already is: what is missing are its snapshots.
            self._store.bring(here, lease, self._unwatched())

    def hold(self, names: Names, image: Image) -> None:
        """Takes the container's lease, and the image's layers under it.

        Raises:
            ImageNotFound: they are not there.
        """
        leases.take(self._client, names.lease)
        if not unpack.is_there(self._client, self._snapshotter, image.chain_id, names.lease):
            raise ImageNotFound(
                f"cannot use image {image.name}: its layers are not on this node",
                field="image",
                object=image.name,
            )

    def tag(self, name: str, new: str) -> Image:
        """Gives an image one more name; one that stood for another image is moved.

        Raises:
            ImageNotFound: it is not on this node, or only its name is.
            BadImage, InvalidRequest: as `get`.
        """
        new = catalogue.canonical(new)
        entry = catalogue.get(self._client, name)
        with self._held(entry):
            return self._name(new, self._of(entry), entry.key)

    def remove(self, name: str) -> None:
        """Removes one name; content without any goes with the next `collect`. Raises
        ImageNotFound."""
        catalogue.remove(self._client, name)

    def collect(self, busy: Collection[str]) -> int:
        """Removes what no name, container or transfer of `busy` keys needs; returns how many
        bytes of content became free."""
        before = content.sizes(self._client)
        leases.abandon_pulls(self._client, busy)
        leases.collect(self._client)
        after = content.sizes(self._client)
        return sum(size for digest, size in before.items() if digest not in after)

    def save(self, names: Sequence[str]) -> Iterator[bytes]:
        """An OCI layout that also `docker load` reads, as a tar, in pieces. Raises as `get`, before
        the first piece."""
        with ExitStack() as stack:
            entries = [catalogue.get(self._client, name) for name in names]
            yield from save.pieces(
                {one.name: stack.enter_context(self.open(one.name)) for one in entries}
            )

    @contextmanager
    def open(self, name: str) -> Iterator[Content]:
        """The image's blobs, to send them somewhere; they stay for as long as this is open."""
        entry = catalogue.get(self._client, name)
        with self._held(entry):
            yield stored(self._client, self._of(entry), self._timeout)

    def commit(self, names: Names, base: Image, name: str, change: Commit) -> Image:
        """A new image: the base, and what the container's file system has beyond it.

        Raises:
            ImageNotFound: the base's content is not on this node any more.
            InvalidRequest: one of the changes cannot be made.
            Interrupted: the agent stops.
        """
        before = self._by_digest(base)
        name = catalogue.canonical(name)
        joint = self._unwatched()
        with (
            commit.source(
                *(self._client, self._snapshotter, names, before, name, change),
                self._user_namespaces,
                joint.check,
            ) as (source, lease),
            joint.part(),
        ):
            return self._stored(source, lease, joint, [name])

    def _stored(self, source: ImageSource, lease: str, joint: Joint, names: Sequence[str]) -> Image:
        with source.open(joint) as blobs:
            image = self._store.bring(blobs, lease, joint)
        first, *_ = [self._name(name, image, source.key) for name in names]
        return first

    def _unwatched(self) -> Joint:
        return Joint(Unwatched(self._check_stopping))

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("cannot go on with the image: the agent stops")

    def _by_digest(self, image: Image) -> Resolved:
        """Of one that may have no name any more."""
        size = content.size(self._client, image.digest) or 0
        return self._resolve(image.name, Descriptor("", image.digest, size))

    @contextmanager
    def _held(self, entry: Entry) -> Iterator[None]:
        """Its content stays for the body, also if its name goes. Raises ImageNotFound."""
        digest = entry.target.digest
        with leases.temporary(self._client) as lease:
            leases.hold_content(self._client, lease, digest)
            # Held first, looked up then: else the collector could take it in between.
            if content.size(self._client, digest) is None:
                raise catalogue.not_found(entry.name)
            yield

    def _name(self, name: str, image: Resolved, key: str = "") -> Image:
        return self._image(catalogue.put(self._client, name, image.target, key))

    def _image(self, entry: Entry) -> Image:
        image = self._of(entry)
        return Image(
            name=entry.name,
            digest=entry.target.digest,
            chain_id=image.chain_id,
            size=image.size,
            created_at=entry.at,
            config=image.run,
            key=entry.key,
        )

    def _of(self, entry: Entry) -> Resolved:
        digest = entry.target.digest
        image = self._resolved.get(digest)
        if image is None:
            image = self._resolve(entry.name, entry.target)
            with self._lock:
                if len(self._resolved) >= _CACHE_MAX:
                    self._resolved.clear()
                self._resolved[digest] = image
        return image

    def _resolve(self, name: str, target: Descriptor) -> Resolved:
        def read(descriptor: Descriptor) -> bytes:
            return content.read(self._client, descriptor.digest, documents.DOCUMENT_MAX)

        try:
            return documents.resolve([target], read, self._node)
        except NotFound as error:
            raise BadImage(
                f"cannot use image {name}: its content is not all there",
                object=name,
                hint="load or pull it again",
            ) from error
