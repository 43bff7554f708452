"""Images out of a real containerd: as archives that others read, and as content to send."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.lab.built import Built
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import busybox_archive, digest_of, json_of, layout_of
from bench.lab.registry import skopeo
from host.containerd.imagekit import random_layer, settled, stock, written
from longshore.errors import BadImage, ImageNotFound
from longshore.host.containerd import content, leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.ingest import Blob, Course
from longshore.model.documents import Descriptor, children
from longshore.model.fields import parse
from longshore.model.host import Image
from longshore.model.transfer import Content


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with Built(tmp_path_factory.mktemp("built")) as one:
        yield one


def saved(images: Images, path: Path, *names: str) -> Path:
    with path.open("wb") as file:
        for piece in images.save(names):
            file.write(piece)
    return path


def test_an_image_that_was_saved_is_the_same(
    images: Images, busybox: Image, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    before = settled(images, containerd)
    first = saved(images, tmp_path / "a.tar", "busybox")
    assert first.read_bytes() == saved(images, tmp_path / "b.tar", "busybox").read_bytes()
    assert images.load(first) == [busybox]
    assert stock(containerd) == before


def test_several_images_hold_what_they_share_once(
    images: Images, busybox: Image, tmp_path: Path
) -> None:
    (other,) = images.load(busybox_archive(tmp_path / "o.tar", "other:1", files={"/x": b"x"}))
    images.tag("busybox", "example.org/same@" + busybox.digest)
    images.tag("busybox", "glance://4b5c")
    names = ["other:1", "busybox", "example.org/same@" + busybox.digest, "glance://4b5c"]
    path = saved(images, tmp_path / "several.tar", *names)
    with tarfile.open(path) as tar:
        members = tar.getnames()
        index, docker = (json_in(tar, name) for name in ("index.json", "manifest.json"))
    assert len(members) == len(set(members))
    # Two manifests, two configs, and two layers, of which the lower is in both.
    assert sum(name.startswith("blobs/sha256/") for name in members) == 6
    assert [one["annotations"]["io.containerd.image.name"] for one in index["manifests"]] == [
        "docker.io/library/busybox:latest",
        "docker.io/library/other:1",
        f"example.org/same@{busybox.digest}",
        "glance://4b5c",
    ]
    assert [one["RepoTags"] for one in docker] == [
        ["docker.io/library/busybox:latest"],
        ["docker.io/library/other:1"],
    ]
    assert {image.digest for image in images.load(path)} == {busybox.digest, other.digest}
    for name in ("example.org/same@" + busybox.digest, "glance://4b5c", "other:1"):
        images.remove(name)


def test_others_read_it(images: Images, built: Built, tmp_path: Path) -> None:
    """skopeo, as an OCI archive and as Docker's."""
    (image,) = images.load(built.oci_archive("oci-gzip", "built:saved"))
    path = saved(images, tmp_path / "built.tar", "built:saved")
    looked = json.loads(skopeo("inspect", f"oci-archive:{path}"))
    assert looked["Digest"] == image.digest
    assert looked["Labels"]["org.example.role"] == "test"
    docker = f"docker-archive:{path}:docker.io/library/built:saved"
    config = json.loads(skopeo("inspect", "--config", docker))
    assert tuple(config["config"]["Cmd"]) == image.config.command
    skopeo("copy", docker, f"oci-archive:{tmp_path / 'again.tar'}:again:1")
    (again,) = images.load(tmp_path / "again.tar")
    assert (again.config, again.chain_id) == (image.config, image.chain_id)


@pytest.mark.parametrize("whole", [False, True])
def test_an_index(images: Images, client: Client, tmp_path: Path, whole: bool) -> None:
    """Sent as it is where all of it is here; where not, as the manifest for this platform."""
    layout = layout_of("index:1", [random_layer()])
    ours = layout.manifests.pop()
    name = ours.pop("annotations")
    other = layout_of("index:1", [random_layer()])
    theirs = {**other.manifests[0], "platform": {"os": "linux", "architecture": "s390x"}}
    del theirs["annotations"]
    layout.blobs |= other.blobs
    data = json_of({"schemaVersion": 2, "manifests": [theirs, ours]})
    index = layout.add("application/vnd.oci.image.index.v1+json", data)
    layout.manifests.append({**index, "annotations": name})
    path = written(layout, tmp_path / "index.tar")
    with leases.temporary(client) as lease:
        (image,) = images.load(path)
        if whole:
            for blob in other.blobs.values():
                put(client, blob, lease)
        with images.open("index:1") as there:
            sent = [one.digest for one in there.candidates]
        assert sent == ([image.digest] if whole else [ours["digest"]])
        again = saved(images, tmp_path / "again.tar", "index:1")
        with tarfile.open(again) as tar:
            assert ("manifest.json" in tar.getnames()) is not whole
            assert len(tar.getnames()) == (11 if whole else 8)
    images.remove("index:1")


def put(client: Client, blob: bytes, lease: str) -> None:
    content.write(
        client,
        Blob(digest_of(blob), len(blob)),
        lambda offset: nullcontext(io.BytesIO(blob)),
        lease,
        Course(10.0),
    )


def test_content_from_any_byte_on(images: Images, busybox: Image) -> None:
    with images.open("busybox") as there:
        (manifest,) = there.candidates
        layer = children(parse(there.read(manifest), "manifest"))[1]
        whole = read(there, layer, 0)
        assert digest_of(whole) == layer.digest
        for offset in (1, 100_000, layer.size - 1, layer.size):
            assert read(there, layer, offset) == whole[offset:]


def read(there: Content, layer: Descriptor, offset: int) -> bytes:
    parts = []
    with there.open(layer, offset) as reader:
        while part := reader.read(99_999):
            assert len(part) <= 99_999
            parts.append(part)
    return b"".join(parts)


def test_what_is_open_is_not_collected(
    images: Images, client: Client, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    before = settled(images, containerd)
    (image,) = images.load(written(layout_of("held:1", [random_layer()]), tmp_path / "h.tar"))
    pieces = images.save(["held:1"])
    first = next(pieces)
    images.remove("held:1")
    images.collect([])
    rest = b"".join(pieces)
    assert leases.names(client) == []
    (tmp_path / "again.tar").write_bytes(first + rest)
    assert images.load(tmp_path / "again.tar")[0].digest == image.digest

    # A caller that goes away in the middle.
    pieces = images.save(["held:1"])
    next(pieces)
    assert len(leases.names(client)) == 1
    pieces.close()  # type: ignore[attr-defined]  # a generator, which the port does not promise
    images.remove("held:1")
    images.collect([])
    assert stock(containerd) == before


def test_what_cannot_be_saved(
    images: Images, client: Client, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    with pytest.raises(ImageNotFound):
        next(iter(images.save(["busybox", "nonesuch"])))
    layout = layout_of("holes:1", [random_layer()], compress=False)
    images.load(written(layout, tmp_path / "holes.tar"))
    containerd.ctr("content", "rm", layer_of(layout))
    with pytest.raises(BadImage, match="not all there"):
        list(images.save(["holes:1"]))
    assert leases.names(client) == []
    images.remove("holes:1")


def layer_of(layout: Any) -> str:
    manifest = json.loads(layout.blobs[layout.manifests[0]["digest"].removeprefix("sha256:")])
    return str(manifest["layers"][0]["digest"])


def json_in(tar: tarfile.TarFile, name: str) -> Any:
    file = tar.extractfile(name)
    assert file is not None
    return json.load(file)
