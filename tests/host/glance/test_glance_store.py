"""Images of Glance in the real containerd: whole, or nothing of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.openstack import PrivateOpenStack
from host.containerd.stepwise import SNAPSHOTTER
from host.glance.kit import NOBODY, failure, falsify
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.joint import Unwatched
from longshore.host.glance.source import Glance
from longshore.model.reference import GLANCE


@pytest.fixture(scope="module")
def client(containerd: PrivateContainerd) -> Iterator[Client]:
    one = Client(containerd.socket, "longshore")
    introspect.ensure_namespace(one)
    yield one
    one.close()


@pytest.fixture
def images(client: Client, spool: Path) -> Images:
    return Images(client, SNAPSHOTTER, spool=spool)


def test_it_is_stored_by_its_id_and_with_its_key(
    glance: Glance, images: Images, web: str, spool: Path
) -> None:
    source = glance.resolve(f"{GLANCE}web", NOBODY)
    image = images.store(source, Unwatched(), [source.name, f"{GLANCE}web"])
    assert image.name == f"{GLANCE}{web}"
    assert image.key == source.key
    assert images.get(f"{GLANCE}web").digest == image.digest
    assert list(spool.iterdir()) == []


def test_of_a_wrong_hash_nothing_is_left(
    cloud: PrivateOpenStack,
    glance: Glance,
    images: Images,
    containerd: PrivateContainerd,
    archive: bytes,
) -> None:
    images.collect(())
    before = containerd.leftovers("longshore")
    id = cloud.upload("falsified too", archive)
    falsify(cloud.images / id, -1)
    source = glance.resolve(f"{GLANCE}{id}", NOBODY)
    error = failure(lambda: images.store(source, Unwatched(), [source.name]))
    assert error.code == "bad_image"
    assert failure(lambda: images.get(source.name)).code == "image_not_found"
    images.collect(())
    assert containerd.leftovers("longshore") == before


def test_data_that_are_no_image(
    cloud: PrivateOpenStack, glance: Glance, images: Images, containerd: PrivateContainerd
) -> None:
    images.collect(())
    before = containerd.leftovers("longshore")
    source = glance.resolve(f"{GLANCE}{cloud.upload('junk', bytes(4096))}", NOBODY)
    assert failure(lambda: images.store(source, Unwatched(), [source.name])).code == "bad_image"
    assert containerd.leftovers("longshore") == before
