"""Loading archives into a real containerd: what comes in, what must not, and what is left."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from bench.lab.built import Built
from bench.lab.containerd import PrivateContainerd
from bench.lab.damage import DAMAGES, damaged_archive
from bench.lab.image import (
    Layout,
    base_layer,
    busybox_archive,
    digest_of,
    json_of,
    layout_of,
    tar_of,
)
from host.containerd.imagekit import random_layer, settled, stock, written
from host.containerd.stepwise import SNAPSHOTTER
from longshore.errors import (
    BadImage,
    HostFailed,
    Interrupted,
    InvalidRequest,
    MessageTooLarge,
)
from longshore.host.containerd import archive
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.ranges import Range
from longshore.model.host import Image, ImageConfig

MIB = 1024 * 1024
LIMIT = 64 * MIB


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with Built(tmp_path_factory.mktemp("built")) as one:
        yield one


def opened(path: Path) -> Any:
    return archive.opened(path, spool=path.parent, limit=LIMIT)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_leaves_nothing(
    images: Images, busybox: Image, containerd: PrivateContainerd, tmp_path: Path, damage: str
) -> None:
    before = settled(images, containerd)
    with pytest.raises(BadImage) as caught:
        images.load(damaged_archive(tmp_path / "bad.tar", damage))
    assert "\n" not in caught.value.message
    assert stock(containerd) == before


def test_of_several_images_all_or_none(
    images: Images, busybox: Image, containerd: PrivateContainerd, tmp_path: Path
) -> None:
    good = layout_of("several:good", [base_layer(), tar_of({"x": b"good"})])
    bad = layout_of("several:bad", [tar_of({"x": b"bad"})], diff_ids=[digest_of(b"?")])
    bad.blobs |= good.blobs
    bad.manifests.insert(0, good.manifests[0])
    before = settled(images, containerd)
    with pytest.raises(BadImage):
        images.load(written(bad, tmp_path / "several.tar"))
    assert stock(containerd) == before

    good.manifests.append(annotated(good, {"org.opencontainers.image.ref.name": "second"}))
    loaded = images.load(written(good, tmp_path / "several.tar"))
    assert [image.name for image in loaded] == [
        "docker.io/library/second:latest",
        "docker.io/library/several:good",
    ]


def annotated(layout: Layout, annotations: dict[str, str]) -> dict[str, Any]:
    return {**layout.manifests[0], "annotations": annotations}


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.compress(data),
    "two gzip members": lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:]),
    "two xz streams": lambda data: lzma.compress(data[:999]) + bytes(8) + lzma.compress(data[999:]),
    "two zstd frames": lambda data: zstandard.compress(data[:999]) + zstandard.compress(data[999:]),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_as_a_whole(images: Images, tmp_path: Path, compression: str) -> None:
    layout = layout_of("whole:1", [random_layer()])
    path = tmp_path / "whole"
    path.write_bytes(COMPRESSIONS[compression](tar_of(layout.members())))
    (image,) = images.load(path)
    assert image.digest == layout.manifests[0]["digest"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("compression", list(COMPRESSIONS)[:4])
def test_a_compressed_archive_that_is_cut_off(
    images: Images, containerd: PrivateContainerd, tmp_path: Path, compression: str
) -> None:
    before = settled(images, containerd)
    data = COMPRESSIONS[compression](tar_of(layout_of("cut:1", [random_layer(MIB)]).members()))
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadImage, match=r"cut off|ended before"):
        images.load(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(data[:20] + bytes(100) + data[120:])
    with pytest.raises(BadImage):
        images.load(tmp_path / "cut")
    assert stock(containerd) == before


@pytest.mark.parametrize("compression", list(COMPRESSIONS)[:4])
def test_a_bomb(
    client: Client, containerd: PrivateContainerd, tmp_path: Path, compression: str
) -> None:
    small = Images(client, SNAPSHOTTER, spool=tmp_path, archive_max=4 * MIB)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(COMPRESSIONS[compression](bytes(32 * MIB)))
    with pytest.raises(MessageTooLarge, match="above 4194304 bytes") as caught:
        small.load(bomb)
    assert caught.value.details == {"max_size": 4 * MIB}
    with bomb.open("wb") as file:
        file.truncate(5 * MIB)
    with pytest.raises(MessageTooLarge):
        small.load(bomb)
    assert list(tmp_path.iterdir()) == [bomb]


def test_no_room_to_decompress(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(MIB)))
    full = Images(client, SNAPSHOTTER, spool=Path("/proc"))
    with pytest.raises(HostFailed, match="cannot decompress it in /proc"):
        full.load(tmp_path / "a.gz")


@pytest.mark.parametrize("form", ["oci-gzip", "oci-zstd", "docker-gzip", "docker-archive"])
def test_what_other_tools_write(
    images: Images, built: Built, containerd: PrivateContainerd, form: str
) -> None:
    if form == "docker-archive":
        path = built.docker_archive("tools/built:1")
    else:
        path = built.oci_archive(form, "tools/built:1")
    (image,) = images.load(path)
    assert image.name == "docker.io/tools/built:1"
    assert image.config.volumes == ("/srv/data",)
    assert image.config.exposed_ports == ("53/udp", "80/tcp")
    assert image.config.command == ("echo $GREETING; exec sleep 3600",)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("linked", [False, True])
def test_what_older_docker_saves(
    images: Images, tmp_path: Path, compress: bool, linked: bool
) -> None:
    layer = tar_of({"data/x": f"docker {compress} {linked}".encode()})
    path = tmp_path / "docker.tar.gz"
    members = docker_members(layer, compress=compress)
    if linked:
        members["kept/layer.tar"] = members.pop("b/layer.tar")
    memory = io.BytesIO(tar_of(members))
    if linked:
        with tarfile.open(fileobj=memory, mode="a") as tar:
            link = tarfile.TarInfo("b/layer.tar")
            link.type, link.linkname = tarfile.SYMTYPE, "../kept/layer.tar"
            tar.addfile(link)
    path.write_bytes(gzip.compress(memory.getvalue()))
    loaded = images.load(path)
    assert [image.name for image in loaded] == [
        "docker.io/library/docker:1",
        "docker.io/library/docker:2",
    ]
    assert loaded[0].config == ImageConfig(command=("x",))


def docker_members(layer: bytes, *, compress: bool, **entry: Any) -> dict[str, bytes]:
    """As `docker save` wrote it until 24."""
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Cmd": ["x"], "Entrypoint": None},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(base_layer()), digest_of(layer)]},
    }
    entry = {
        "Config": "c.json",
        "RepoTags": ["docker:1", "docker:2"],
        "Layers": ["a/layer.tar", "b/layer.tar"],
        **entry,
    }
    return {
        "a/VERSION": b"1.0",
        "a/json": b'{"id": "a"}',
        "a/layer.tar": base_layer(),
        "b/layer.tar": gzip.compress(layer) if compress else layer,
        "c.json": json_of(config),
        "manifest.json": json_of([entry]),
        "repositories": b'{"docker": {"1": "b", "2": "b"}}',
    }


BAD_DOCKER: dict[str, tuple[dict[str, Any], str]] = {
    "a layer too few": ({"Layers": ["a/layer.tar"]}, "1 layers for 2 diff_ids"),
    "a layer that is not there": ({"Layers": ["a/layer.tar", "c/layer.tar"]}, "missing"),
    "another layer": ({"Layers": ["a/json", "b/layer.tar"]}, "were announced"),
    "no config": ({"Config": None}, "missing"),
    "a config that is a number": ({"Config": 7}, "wrong type"),
    "layers that are no list": ({"Layers": "a/layer.tar"}, "wrong type"),
    "no name of an image": ({"RepoTags": ["A b"]}, "cannot use the image 'A b'"),
    "a path out of it": ({"Config": "../../etc/passwd"}, "leads out"),
}


@pytest.mark.parametrize("fault", BAD_DOCKER)
def test_a_docker_archive_that_is_not_right(
    images: Images, busybox: Image, containerd: PrivateContainerd, tmp_path: Path, fault: str
) -> None:
    entry, text = BAD_DOCKER[fault]
    before = settled(images, containerd)
    path = tmp_path / "docker.tar"
    path.write_bytes(tar_of(docker_members(random_layer(), compress=False, **entry)))
    with pytest.raises(BadImage, match=text):
        images.load(path)
    assert stock(containerd) == before


def test_a_docker_archive_that_names_its_files_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read once, and what is too much is refused before anything is."""
    hashed: list[str] = []
    sha256 = archive._sha256

    def counted(file: Range, check: Callable[[], None]) -> str:
        hashed.append("one")
        return sha256(file, check)

    monkeypatch.setattr(archive, "_sha256", counted)
    path = tmp_path / "docker.tar"
    members = docker_members(random_layer(), compress=True)
    (entry,) = json.loads(members["manifest.json"])
    entry["RepoTags"] = None
    path.write_bytes(tar_of({**members, "manifest.json": json_of([entry] * 50)}))
    with opened(path) as found:
        assert len(found.unnamed) == 50
    assert len(hashed) == 1
    for entries in ([entry] * 1025, [{**entry, "RepoTags": [f"a:{n}" for n in range(1025)]}]):
        path.write_bytes(tar_of({**members, "manifest.json": json_of(entries)}))
        with pytest.raises(BadImage, match="more than 1024 images"), opened(path):
            pass
    config = json.loads(members["c.json"])
    config["rootfs"]["diff_ids"] *= 251
    many = {"c.json": json_of(config)}
    many["manifest.json"] = json_of([{**entry, "Layers": ["b/layer.tar"] * 502}])
    path.write_bytes(tar_of(members | many))
    with pytest.raises(BadImage, match="502 diff_ids are too many"), opened(path):
        pass
    assert len(hashed) == 1


def test_hashing_a_layer_can_be_called_off(tmp_path: Path) -> None:
    path = tmp_path / "docker.tar"
    path.write_bytes(tar_of(docker_members(os.urandom(4 * MIB), compress=True)))
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        # One for each header, and one for the image: then its layer is read.
        if len(asked) == 7 + 1 + 2:
            raise Interrupted("cannot go on: the agent stops")

    with (
        pytest.raises(Interrupted),
        archive.opened(path, spool=tmp_path, limit=LIMIT, check=check),
    ):
        pass


def test_the_only_image_whatever_its_name(tmp_path: Path) -> None:
    layout = layout_of("one:1", [random_layer()])
    digest = layout.manifests[0]["digest"]
    layout.manifests.append(annotated(layout, {"org.opencontainers.image.ref.name": "two"}))
    with opened(written(layout, tmp_path / "a.tar")) as found:
        assert len(found.images) == 2
        assert [one.digest for one in found.only().candidates] == [digest]

    layout.manifests[:] = [annotated(layout, {})]
    with opened(written(layout, tmp_path / "a.tar")) as found:
        assert (found.images, [one.digest for one in found.only().candidates]) == ({}, [digest])

    other = layout_of("other:1", [random_layer()])
    layout.manifests.append(annotated(other, {}))
    del layout.manifests[1]["platform"]
    layout.blobs |= other.blobs
    with opened(written(layout, tmp_path / "a.tar")) as found, pytest.raises(BadImage, match="2"):
        found.only()


def test_an_archive_without_names(images: Images, tmp_path: Path) -> None:
    layout = layout_of("unnamed:1", [random_layer()])
    layout.manifests[:] = [annotated(layout, {})]
    with pytest.raises(BadImage, match="none of its images has a name") as caught:
        images.load(written(layout, tmp_path / "unnamed.tar"))
    assert caught.value.hint
    for manifests, text in (
        ([], "no image in it"),
        ([annotated(layout, {"x": "y"})] * 2000, "more than"),
    ):
        layout.manifests[:] = manifests
        for one in layout.manifests:
            one.pop("platform", None)
        with pytest.raises(BadImage, match=text):
            images.load(written(layout, tmp_path / "unnamed.tar"))


def test_what_is_no_file(images: Images, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path / "nonesuch", tmp_path, fifo):
        with pytest.raises(InvalidRequest) as caught:
            images.load(path)
        assert caught.value.field == "archive"


def test_loads_at_once(images: Images, tmp_path: Path) -> None:
    paths = [
        busybox_archive(tmp_path / f"{i}.tar", f"at-once:{i}", files={"/n": b"%d" % i})
        for i in range(4)
    ]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda path=path: found.append(images.load(path)[0].name))
        for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [f"docker.io/library/at-once:{i}" for i in range(4)]


@pytest.mark.parametrize(
    "config",
    [
        {"Cmd": "not a list"},
        {"Env": [1]},
        {"User": {}},
        {"Labels": ["x"]},
        {"Entrypoint": {"a": "b"}},
    ],
)
def test_a_config_of_the_wrong_shape(images: Images, tmp_path: Path, config: Any) -> None:
    layout = layout_of("shape:1", [base_layer()])
    manifest_digest = layout.manifests[0]["digest"].removeprefix("sha256:")
    manifest = json.loads(layout.blobs[manifest_digest])
    described = manifest["config"]
    image = json.loads(layout.blobs[described["digest"].removeprefix("sha256:")])
    manifest["config"] = layout.add(described["mediaType"], json_of({**image, "config": config}))
    layout.manifests[0] |= layout.add(layout.manifests[0]["mediaType"], json_of(manifest))
    with pytest.raises(BadImage, match="wrong type"):
        images.load(written(layout, tmp_path / "shape.tar"))
