"""Snapshots that are gone while the content is here: made again without asking any source."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bench.lab.containerd import PrivateContainerd
from host.containerd.imagekit import Recorder, random_layer, settled, source_of, stock
from host.containerd.stepwise import SNAPSHOTTER
from longshore.errors import ImageNotFound, Interrupted
from longshore.host.containerd import leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.snapshots import Rootfs
from longshore.model.host import Image
from longshore.model.names import Names


@pytest.fixture
def bare(images: Images, client: Client, containerd: PrivateContainerd) -> Image:
    """Its name and its content are here, and neither of its two snapshots."""
    image = images.store(source_of(random_layer(), random_layer()), Recorder(), [])
    lines = containerd.ctr("snapshots", "ls").splitlines()
    (below,) = (line.split()[1] for line in lines if line.startswith(image.chain_id))
    containerd.ctr("snapshots", "rm", image.chain_id)
    leases.collect(client)  # the one below goes with it: nothing else refers to it
    left = containerd.ctr("snapshots", "ls")
    assert image.chain_id not in left
    assert below not in left
    return image


def test_from_the_content_that_is_here(
    images: Images, client: Client, containerd: PrivateContainerd, bare: Image
) -> None:
    rootfs, names = Rootfs(client, SNAPSHOTTER), Names(str(uuid4()))
    with pytest.raises(ImageNotFound):
        rootfs.prepare(names, bare)
    images.unpack(bare)
    leases.collect(client)  # no lease of ours holds them any more: the image does
    rootfs.prepare(names, bare)
    rootfs.remove(names)
    rootfs.release(names)
    assert leases.names(client) == []
    before = stock(containerd)
    images.unpack(bare)
    assert stock(containerd) == before
    images.remove(bare.name)
    images.collect([])
    assert bare.chain_id not in containerd.ctr("snapshots", "ls")


def test_when_the_content_is_gone_too(
    images: Images, client: Client, containerd: PrivateContainerd, bare: Image
) -> None:
    images.remove(bare.name)
    images.collect([])
    before = settled(images, containerd)
    with pytest.raises(ImageNotFound, match="not on this node any more") as caught:
        images.unpack(bare)
    assert caught.value.hint == "pull it with `--policy always`, or load it again"
    assert stock(containerd) == before


def test_the_agent_stops(
    client: Client, containerd: PrivateContainerd, images: Images, bare: Image
) -> None:
    before = stock(containerd)
    stopping = Images(client, SNAPSHOTTER, spool=containerd.folder)
    stopping.stop()
    with pytest.raises(Interrupted):
        stopping.unpack(bare)
    assert stock(containerd) == before
    images.remove(bare.name)
    images.collect([])
