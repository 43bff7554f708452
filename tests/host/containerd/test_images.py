"""Images by their names on a real containerd: looked up, named, removed, held, collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import Config, base_layer, busybox_archive, digest_of, json_of, layout_of
from host.containerd.imagekit import Recorder, random_layer, settled, source_of, stock, written
from host.containerd.stepwise import SNAPSHOTTER
from longshore.errors import BadImage, HostUnavailable, ImageNotFound, InvalidRequest
from longshore.host.containerd import catalogue, leases
from longshore.host.containerd.catalogue import Entry
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.model.documents import Descriptor
from longshore.model.host import Image, ImageConfig
from longshore.model.names import Names

ID = "6f0f8bbc-3c8d-4d4f-8a3e-000000000003"


def test_the_image_as_it_was_built(images: Images, tmp_path: Path) -> None:
    config = Config(
        command=("c",),
        entrypoint=("e",),
        env=("A=1",),
        workdir="/w",
        user="app",
        stop_signal="SIGINT",
        labels={"k": "v"},
    )
    path = busybox_archive(tmp_path / "a.tar", "example.org/x/built:1", config=config)
    (image,) = images.load(path)
    assert image.name == "example.org/x/built:1"
    assert image.config == ImageConfig(("e",), ("c",), ("A=1",), "/w", "app", "SIGINT", {"k": "v"})
    assert images.get("example.org/x/built:1") == image
    assert image in images.list()
    assert 0 < image.size < path.stat().st_size


@pytest.mark.parametrize(
    "name",
    [
        "busybox",
        "busybox:latest",
        "library/busybox",
        "docker.io/library/busybox:latest",
        "index.docker.io/busybox",
    ],
)
def test_any_way_to_write_a_name(images: Images, busybox: Image, name: str) -> None:
    assert images.get(name) == busybox
    assert busybox.name == "docker.io/library/busybox:latest"


def test_what_is_not_here(images: Images) -> None:
    with pytest.raises(ImageNotFound) as caught:
        images.get("nonesuch")
    name = "docker.io/library/nonesuch:latest"
    assert (caught.value.field, caught.value.object) == ("image", name)
    for call in (images.get, images.detail, images.remove):
        with pytest.raises(InvalidRequest, match="Upper"):
            call("Upper/Case")
        with pytest.raises(ImageNotFound):
            call("glance://nonesuch")


def test_a_digest_finds_what_came_by_a_tag(images: Images, busybox: Image) -> None:
    assert images.get(f"busybox@{busybox.digest}") == busybox
    assert images.get(f"busybox:other@{busybox.digest}") == busybox
    for other in (f"else/where@{busybox.digest}", f"busybox@{digest_of(b'other')}"):
        with pytest.raises(ImageNotFound):
            images.get(other)


def test_loading_again_changes_nothing_but_the_name_s_target(
    images: Images, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    first = images.load(busybox_archive(tmp_path / "a.tar", "moving:1"))[0]
    before = settled(images, containerd)
    assert images.load(tmp_path / "a.tar") == [first]
    assert stock(containerd) == before

    other = busybox_archive(tmp_path / "b.tar", "moving:1", files={"/etc/motd": b"two layers\n"})
    second = images.load(other)[0]
    assert second.digest != first.digest
    assert second.created_at > first.created_at, "since when the name stands for this one"
    assert images.get("moving:1") == second


def test_an_index_picks_this_platform(images: Images, tmp_path: Path) -> None:
    layout = layout_of("multi:1", [base_layer()])
    ours = layout.manifests.pop()
    name = ours.pop("annotations")
    foreign = {
        **ours,
        "digest": digest_of(b"elsewhere"),
        "platform": {"os": "linux", "architecture": "s390x"},
    }
    index = {"schemaVersion": 2, "manifests": [foreign, ours]}
    descriptor = layout.add("application/vnd.oci.image.index.v1+json", json_of(index))
    layout.manifests.append({**descriptor, "annotations": name})
    (image,) = images.load(written(layout, tmp_path / "multi.tar"))
    assert image.digest == descriptor["digest"]
    assert images.get("multi:1").config == image.config
    # Only this platform is here: what can be sent on is its manifest.
    with images.open("multi:1") as content:
        assert [one.digest for one in content.candidates] == [ours["digest"]]


def test_detail(images: Images, tmp_path: Path) -> None:
    layout = layout_of("detailed:1", [base_layer(), random_layer()])
    images.load(written(layout, tmp_path / "detailed.tar"))
    images.tag("detailed:1", "example.org/detailed:2")
    detail = images.detail("detailed:1")
    assert detail.names == ("docker.io/library/detailed:1", "example.org/detailed:2")
    assert detail.digest == layout.manifests[0]["digest"]
    assert detail.platform in ("linux/amd64", "linux/arm64")
    assert detail.layers[0].diff_id == digest_of(base_layer())
    assert {layer.media_type for layer in detail.layers} == {
        "application/vnd.oci.image.layer.v1.tar+gzip"
    }
    assert sum(layer.size for layer in detail.layers) < detail.size
    assert (detail.command[0], detail.env) == ("httpd", ("PATH=/bin",))


def test_tags_come_and_go(
    images: Images, busybox: Image, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    before = settled(images, containerd)
    made = images.tag("busybox", "localhost:5000/mine")
    assert made.name == "localhost:5000/mine:latest"
    assert (made.digest, made.config) == (busybox.digest, busybox.config)
    other = images.load(busybox_archive(tmp_path / "t.tar", "tagged:1", files={"/t": b"t"}))[0]
    assert images.tag("tagged:1", "localhost:5000/mine").digest == other.digest
    assert images.get("localhost:5000/mine").digest == other.digest
    images.remove("localhost:5000/mine")
    with pytest.raises(ImageNotFound):
        images.remove("localhost:5000/mine")
    images.remove("tagged:1")
    assert images.collect([]) > 0
    assert stock(containerd) == before
    assert images.collect([]) == 0


def test_what_a_container_holds_is_not_collected(
    images: Images, client: Client, containerd: PrivateContainerd
) -> None:
    names = Names(ID)
    image = images.store(source_of(random_layer()), Recorder(), [])
    before = settled(images, containerd)
    images.hold(names, image)
    images.hold(names, image)
    images.remove(image.name)
    images.collect([])
    snapshots = containerd.ctr("snapshots", "ls")
    assert image.chain_id in snapshots
    leases.give_back(client, names.lease)
    images.collect([])
    with pytest.raises(ImageNotFound, match="layers are not on this node"):
        images.hold(names, image)
    leases.give_back(client, names.lease)
    assert stock(containerd) != before


def test_an_image_whose_content_is_gone(
    client: Client, images: Images, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    path = written(layout_of("hollow:1", [random_layer()]), tmp_path / "hollow.tar")
    (image,) = images.load(path)
    containerd.ctr("content", "rm", image.digest)
    fresh = Images(client, SNAPSHOTTER, spool=containerd.folder)
    with pytest.raises(BadImage, match="not all there"):
        fresh.get("hollow:1")
    assert image.name not in [one.name for one in fresh.list()]
    (broken,) = [one for one in fresh.broken() if one.name == image.name]
    assert (broken.digest, broken.size, broken.created_at) == (image.digest, 0, image.created_at)
    # What it meant is remembered, and does not help.
    with pytest.raises(ImageNotFound):
        images.tag("hollow:1", "hollow:2")
    with pytest.raises(ImageNotFound), images.open("hollow:1"):
        pass
    with pytest.raises(ImageNotFound):
        images.get("hollow:2")
    assert images.load(path) == [image]
    assert fresh.get("hollow:1") == image
    assert image.name not in [one.name for one in fresh.broken()]


def test_names_are_set_all_or_none(
    images: Images, client: Client, busybox: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One moves, one is new, and the third cannot be set."""
    images.tag("busybox", "n2:1")
    layout = layout_of("n1:1", [base_layer(), random_layer()])
    for name in ("n2:1", "n3:1"):
        key = "org.opencontainers.image.ref.name"
        layout.manifests.append({**layout.manifests[0], "annotations": {key: name}})
    path, before = written(layout, tmp_path / "three.tar"), catalogue.entries(client)
    asked: list[Mapping[str, str]] = []

    @contextmanager
    def naming(targets: Mapping[str, str]) -> Iterator[None]:
        asked.append(targets)
        assert catalogue.entries(client) == before
        yield

    def put(client: Client, name: str, target: Descriptor, key: str = "") -> Entry:
        if name.endswith("/n3:1"):
            raise HostUnavailable("cannot reach it: the test says so")
        return real(client, name, target, key)

    real = catalogue.put
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "put", put)
        with pytest.raises(HostUnavailable):
            images.load(path, naming)
    after = catalogue.entries(client)
    assert [(one.name, one.target) for one in after] == [(one.name, one.target) for one in before]
    loaded = images.load(path)
    assert asked == [{image.name: image.digest for image in loaded}]
    for image in loaded:
        images.remove(image.name)


def test_collect_leaves_what_is_not_ours(images: Images, client: Client) -> None:
    """Leases of containers, of transfers that are under way, and of others."""
    kept = ("create-somebody", "load-under-way", "pull-busy#1", "ctr-somebody")
    for lease in (*kept, "pull-forgotten#1"):
        leases.take(client, lease)
    images.collect(["busy"])
    assert set(leases.names(client)) == set(kept)
    leases.abandon_loads(client)
    images.collect([])
    assert set(leases.names(client)) == {"create-somebody", "ctr-somebody"}
    for lease in kept:
        leases.give_back(client, lease)


def test_other_namespaces_are_not_touched(
    images: Images, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    """What is there is not fetched again, though it is not ours."""
    source = source_of(random_layer(), random_layer(3_000_000))
    path = written(source.content.layout, tmp_path / "elsewhere.tar")
    containerd.ctr("images", "import", "--no-unpack", path, namespace="elsewhere")
    image = images.store(source, Recorder(), [])
    assert source.content.opened == []
    images.remove(image.name)
    assert images.collect([]) > 0
    theirs = containerd.ctr("content", "ls", "-q", namespace="elsewhere").split()
    assert {f"sha256:{one}" for one in source.content.layout.blobs} <= set(theirs)
    names = containerd.ctr("images", "ls", "-q", namespace="elsewhere").split()
    containerd.ctr("images", "rm", "--sync", *names, namespace="elsewhere")
    containerd.ctr("namespaces", "rm", "elsewhere")
