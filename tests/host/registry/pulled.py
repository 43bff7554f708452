"""A pull from a registry that goes wrong into a containerd, of which all that it keeps is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench.lab.bad_images import manifest_of
from bench.lab.bad_registry import BadRegistry
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import Layout, digest_of
from bench.lab.token_server import PASSWORD, USER
from host.registry.reading import Ticks, Watching, registries, settings_of
from longshore.errors import LongshoreError
from longshore.host.containerd import leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.registry.patience import Time
from longshore.model.host import Image
from longshore.model.transfer import Auth, Credential
from longshore.pb.containerd import images_pb2, snapshots_pb2

SNAPSHOTTER = "overlayfs"
#: How often a registry is asked before it is given up.
TRIES = 5
OURS = Auth(Credential(USER, PASSWORD))


@dataclass
class Node:
    """A containerd with images. `before`: what `kept` said last."""

    containerd: PrivateContainerd
    client: Client
    images: Images
    before: Sequence[str] = ()

    def kept(self) -> list[str]:
        """Blobs and unfinished writes as they lie on the disk; leases, images and snapshots."""
        store = self.containerd.home / "root" / "io.containerd.content.v1.content"
        files = [
            path.name for kind in ("blobs/sha256", "ingest") for path in store.glob(f"{kind}/*")
        ]
        client = self.client
        listed = client.call(client.images.List, images_pb2.ListImagesRequest(), "list images")
        request = snapshots_pb2.ListSnapshotsRequest(snapshotter=SNAPSHOTTER)
        parts = client.stream(client.snapshots.List, request, "list snapshots")
        return [
            *sorted(files),
            *sorted(leases.names(client)),
            *sorted(image.name for image in listed.images),
            *sorted(info.name for part in parts for info in part.info),
        ]


@dataclass
class Clock(Ticks):
    """Chance is asked once for each pause before another try."""

    pauses: int = 0

    def time(self) -> Time:
        return replace(super().time(), random=self._chance)

    def _chance(self) -> float:
        self.pauses += 1
        return 1.0


@dataclass
class Pull:
    """Pulls `bad`'s image. `ticks`: what it slept."""

    node: Node
    ca: Path
    folder: Path
    bad: BadRegistry
    auth: Auth = field(default_factory=Auth)
    stall: float = 20.0
    lines: Sequence[str] = ()
    ticks: Clock = field(default_factory=Clock)
    version: str = ":latest"
    host: str = ""

    def __call__(self) -> Image:
        host = self.host or self.bad.host
        settings = settings_of(host, self.ca, *self.lines)
        source = registries(self.folder, settings, self.ticks, stall=self.stall)
        name = f"{host}/lab/app{self.version}"
        try:
            found = source.resolve(name, self.auth)
            return self.node.images.store(found, Watching(), [name])
        finally:
            source.stop()

    def refused(self, code: str) -> LongshoreError:
        with pytest.raises(LongshoreError) as caught:
            self()
        shown = caught.value.to_dict()
        assert shown["code"] == code, shown
        assert caught.value.message.startswith("cannot "), shown
        assert "\n" not in caught.value.message
        assert PASSWORD not in str(shown)
        return caught.value

    def done(self) -> None:
        """It is here, whole, and then removed again."""
        image = self()
        assert image.digest == digest_of(self.bad.documents["latest"][1])
        self.node.images.get(image.name)
        self.node.images.remove(image.name)
        self.node.images.collect(())


@dataclass(frozen=True)
class Parts:
    """Digests of a good image of two layers."""

    manifest: str
    config: str
    first: str
    layer: str

    @classmethod
    def of(cls, layout: Layout) -> Parts:
        manifest = manifest_of(layout)
        first, layer = manifest["layers"]
        return cls(layout.manifests[-1]["digest"], manifest["config"]["digest"],
                   first["digest"], layer["digest"])  # fmt: skip


HTML = b"<!DOCTYPE html><html><body>Please log in to the WiFi</body></html>"
