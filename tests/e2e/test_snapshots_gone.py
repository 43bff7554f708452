"""An image whose snapshots somebody removed: its content is here, so nobody need be asked."""

from __future__ import annotations

import pytest

from bench.lab.image import busybox_archive
from e2e.lab import Lab, until
from e2e.pulling import stored

pytestmark = pytest.mark.usefixtures("clean")

IMAGE = "gone/web:1"


def test_a_create_unpacks_it_again(lab: Lab) -> None:
    before = stored(lab)
    # A layer of its own: containerd lets nobody remove a snapshot that had a child once, if that
    # went by garbage collection (metadata/gc.go leaves it in its parent's list).
    archive = busybox_archive(lab.agent.archives / "gone.tar", IMAGE, files={"/gone": b"not yet"})
    with archive.open("rb") as file:
        lab.client.load_image(file)
    loaded = stored(lab)
    (snapshot,) = (line for line in set(loaded) - set(before) if line.startswith("snapshot "))
    lab.containerd.ctr("snapshots", "rm", snapshot.split()[1], namespace=lab.namespace)
    for _ in range(2):
        id = lab.client.create(lab.spec(image=IMAGE)).id
        assert lab.client.show(id).state == "running"
        lab.client.delete(id, force=True)
        assert stored(lab) == loaded
    lab.client.remove_image(IMAGE)
    lab.client.prune_images()
    until(lambda: stored(lab) == before)
