"""OCI's and Docker's documents, good ones and those that somebody made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from longshore.errors import BadImage
from longshore.model import documents
from longshore.model.documents import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    MANIFEST,
    Descriptor,
    Resolved,
    digest_of,
    resolve,
)
from longshore.model.platform import Platform

NODE = Platform("linux", "amd64", "v2")
DIFF_ID = digest_of(b"layer")
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class Blobs:
    """Documents by digest; counts what is read."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.reads = 0

    def read(self, descriptor: Descriptor) -> bytes:
        self.reads += 1
        return self.blobs[descriptor.digest]

    def add(self, media_type: str, value: Any, **more: Any) -> dict[str, Any]:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}

    def manifest(
        self, change: Callable[[dict[str, Any], dict[str, Any]], object] = lambda m, c: None,
        docker: bool = False, **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """`change` is done to the manifest and the config before they are written."""
        config: dict[str, Any] = {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
        }
        layer = DOCKER_LAYER if docker else LAYER
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "config": {},
            "layers": [self.add(layer, b"layer")],
        }
        change(manifest, config)
        kind = DOCKER_CONFIG if docker else CONFIG
        if manifest["config"] == {}:
            manifest["config"] = self.add(kind, config)
        return self.add(DOCKER_MANIFEST if docker else MANIFEST, manifest, **more)

    def image(self, architecture: str, variant: str = "", **more: Any) -> dict[str, Any]:
        """Another image for each platform, which the index tells."""

        def change(manifest: dict[str, Any], config: dict[str, Any]) -> None:
            config |= {"architecture": architecture} | ({"variant": variant} if variant else {})

        platform = {"os": "linux", "architecture": architecture, "variant": variant}
        return self.manifest(change, **({"platform": platform} | more))

    def index(self, manifests: Sequence[dict[str, Any]], kind: str = INDEX) -> dict[str, Any]:
        return self.add(kind, {"schemaVersion": 2, "manifests": list(manifests)})

    def resolve(self, *candidates: dict[str, Any], node: Platform = NODE) -> Resolved:
        found = documents.descriptors({"m": list(candidates)}, "m")
        return resolve(found, self.read, node)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.mark.parametrize("docker", [False, True])
def test_a_manifest(blobs: Blobs, docker: bool) -> None:
    target = blobs.manifest(docker=docker)
    image = blobs.resolve(target)
    assert (image.target.digest, image.manifest.digest) == (target["digest"], target["digest"])
    assert (image.indexes, image.platform) == ((), Platform("linux", "amd64"))
    assert image.diff_ids == (DIFF_ID,)
    assert image.chain_id == DIFF_ID
    assert image.size == image.manifest.size + image.config.size + len(b"layer")
    assert [one.digest for one in image.documents] == [target["digest"], image.config.digest]


def test_chain_ids() -> None:
    """The example of OCI's image specification: each is the digest of the two before it."""
    assert documents.chain_ids(["sha256:a", "sha256:b"]) == (
        "sha256:a",
        digest_of(b"sha256:a sha256:b"),
    )
    assert documents.chain_ids([]) == ()


@pytest.mark.parametrize("kind", [INDEX, DOCKER_INDEX])
def test_the_best_of_an_index(blobs: Blobs, kind: str) -> None:
    images = {
        name: blobs.image(*name.split("/")) for name in ("s390x", "amd64", "amd64/v2", "amd64/v3")
    }
    index = blobs.index(list(images.values()), kind)
    for variant, best in (("v1", "amd64"), ("v2", "amd64/v2"), ("v4", "amd64/v3")):
        found = blobs.resolve(index, node=Platform("linux", "amd64", variant))
        assert found.manifest.digest == images[best]["digest"]
        assert found.target.digest == index["digest"]
        assert str(found.platform) == f"linux/{best}"


def test_an_index_in_an_index(blobs: Blobs) -> None:
    manifest = blobs.image("amd64")
    inner = blobs.index([manifest])
    outer = blobs.index([{**inner, "platform": {"os": "linux", "architecture": "amd64"}}])
    found = blobs.resolve(outer)
    assert [one.digest for one in found.documents[:3]] == [
        outer["digest"],
        inner["digest"],
        manifest["digest"],
    ]
    for _ in range(6):
        outer = blobs.index([outer])
    with pytest.raises(BadImage, match="nested too deeply"):
        blobs.resolve(outer)


def test_none_for_this_node(blobs: Blobs) -> None:
    unknown = {"os": "unknown", "architecture": "unknown"}
    attestation = blobs.manifest(platform=unknown)
    images = [blobs.image("s390x"), blobs.image("arm", "v7"), blobs.image("arm", "v6"), attestation]
    windows = blobs.image("amd64", platform={"os": "windows", "architecture": "amd64"})
    with pytest.raises(BadImage) as caught:
        blobs.resolve(blobs.index([*images, windows]))
    offered = ["linux/arm/v6", "linux/arm/v7", "linux/s390x", "windows/amd64"]
    assert caught.value.message == (
        f"cannot use the image: it is for {', '.join(offered)}; this node is linux/amd64/v2"
    )
    assert caught.value.details == {"platforms": offered}
    with pytest.raises(BadImage, match="for no platform at all"):
        blobs.resolve(blobs.index([attestation]))
    with pytest.raises(BadImage, match="for no platform at all"):
        blobs.resolve(blobs.index([]))


def test_an_attestation_is_no_image(blobs: Blobs) -> None:
    unknown = blobs.manifest(platform={"os": "unknown", "architecture": "unknown"})
    ours = blobs.image("amd64")
    assert blobs.resolve(blobs.index([unknown, ours])).manifest.digest == ours["digest"]


def test_what_an_index_does_not_say_the_configs_do(blobs: Blobs) -> None:
    silent = [blobs.image(name, platform=None) for name in ("s390x", "arm64", "amd64")]
    assert blobs.resolve(*silent).manifest.digest == silent[2]["digest"]
    with pytest.raises(BadImage, match=r"for linux/arm64, linux/s390x; this"):
        blobs.resolve(*silent[:2])
    said = blobs.image("amd64", "v2")
    assert blobs.resolve(*silent, said).manifest.digest == said["digest"]
    many = [blobs.image(f"other{i}", platform={}) for i in range(40)]
    blobs.reads = 0
    with pytest.raises(BadImage, match="does not say what is for whom"):
        blobs.resolve(blobs.index(many))
    assert blobs.reads < 40


def test_a_config_that_says_something_else_than_its_index(blobs: Blobs) -> None:
    lie = blobs.image("s390x", platform={"os": "linux", "architecture": "amd64"})
    with pytest.raises(BadImage, match="it is for linux/s390x"):
        blobs.resolve(lie)


@pytest.mark.parametrize(
    ("media_type", "oci"),
    [
        (LAYER, LAYER),
        (f"{LAYER}+gzip", f"{LAYER}+gzip"),
        (f"{LAYER}+zstd", f"{LAYER}+zstd"),
        (DOCKER_LAYER, LAYER),
        (f"{DOCKER_LAYER}.gzip", f"{LAYER}+gzip"),
        (f"{DOCKER_LAYER}.zstd", f"{LAYER}+zstd"),
    ],
)
def test_layers_of_all_kinds(blobs: Blobs, media_type: str, oci: str) -> None:
    def change(manifest: dict[str, Any], config: dict[str, Any]) -> None:
        manifest["layers"][0]["mediaType"] = media_type

    (layer,) = blobs.resolve(blobs.manifest(change)).layers
    assert (layer.media_type, documents.layer_type(media_type)) == (media_type, oci)


def layer(**fields: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda manifest, config: manifest["layers"][0].update(fields)


def manifest(**fields: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda manifest, config: manifest.update(fields)


def config(**fields: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda manifest, config: config.update(fields)


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

BAD: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "schema 1": (manifest(schemaVersion=1), "Docker's schema 1"),
    "a chart": (
        manifest(config={"mediaType": "application/vnd.cncf.helm.config.v1+json",
                         "digest": DIFF_ID, "size": 5}),
        "is not a container image but application/vnd.cncf.helm",
    ),
    "an artifact": (
        manifest(config={"mediaType": "application/vnd.oci.empty.v1+json",
                         "digest": DIFF_ID, "size": 2}),
        "is not a container image",
    ),
    "a config without a type": (manifest(config={"digest": DIFF_ID, "size": 5}), "without a type"),
    "no config": (manifest(config=None), "config is not a JSON object"),
    "a huge config": (
        manifest(config={"mediaType": CONFIG, "digest": DIFF_ID, "size": 2**30}),
        "too large for a document",
    ),
    "no layers": (manifest(layers=[]), "0 layers for 1 diff_ids"),
    "layers that are no list": (manifest(layers={}), "layers is not a list"),
    "too many layers": (
        lambda m, c: (m.update(layers=m["layers"] * 501),
                      c.update(rootfs={"diff_ids": [DIFF_ID] * 501})),
        "501 layers",
    ),
    "Docker's foreign layer": (layer(mediaType=FOREIGN), "is not distributed with it"),
    "OCI's foreign layer": (layer(mediaType=NONDISTRIBUTABLE), "is not distributed with it"),
    "an encrypted layer": (layer(mediaType=f"{LAYER}+gzip+encrypted"), "no file system archive"),
    "a layer of any kind": (layer(mediaType="text/plain"), "no file system archive"),
    "a layer of no kind": (layer(mediaType=None), "no file system archive"),
    "a digest up": (layer(digest="sha256:../../etc/passwd"), "is no sha256 digest"),
    "another digest": (layer(digest=f"sha512:{'0' * 128}"), "is no sha256 digest"),
    "no digest": (layer(digest=None), "is no sha256 digest"),
    "a digest that is a number": (layer(digest=7), "digest has the wrong type"),
    "no size": (layer(size=None), "size is not a number of bytes"),
    "less than nothing": (layer(size=-1), "size is not a number of bytes"),
    "more than all": (layer(size=2**63), "size is not a number of bytes"),
    "a yes": (layer(size=True), "size is not a number of bytes"),
    "half a byte": (layer(size=0.5), "size is not a number of bytes"),
    "annotations that are a list": (layer(annotations=["x"]), "annotations has the wrong type"),
    "a platform that is a text": (layer(platform="linux"), "platform is not a JSON object"),
    "a system that is a number": (config(os=7), "os has the wrong type"),
    "no rootfs": (config(rootfs=None), "rootfs.diff_ids is not a list of digests"),
    "diff ids that are none": (config(rootfs={"diff_ids": ["x"]}), "is not a list of digests"),
    "one diff id too many": (config(rootfs={"diff_ids": [DIFF_ID] * 2}), "1 layers for 2"),
    "another system": (config(os="windows"), "it is for windows/amd64; this node is"),
    "a newer processor": (config(variant="v3"), "it is for linux/amd64/v3; this node is"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_an_image_that_is_none(blobs: Blobs, what: str) -> None:
    change, text = BAD[what]
    with pytest.raises(BadImage, match=text) as caught:
        blobs.resolve(blobs.manifest(change))
    assert caught.value.message.startswith("cannot use the image: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"size": ' + b"9" * 10_000 + b"}", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "config is not a JSON object"),
        (b'{"manifests": 7}', "manifests is not a list"),
        (b'{"manifests": [7]}', "is not a JSON object"),
    ],
)
def test_a_document_that_is_none(blobs: Blobs, data: bytes, text: str) -> None:
    with pytest.raises(BadImage, match=text):
        blobs.resolve(blobs.add(MANIFEST, data))


def test_what_is_hostile_in_an_error(blobs: Blobs) -> None:
    evil = {"os": "a\x1b[31m\n" * 100, "architecture": "b" * 1000}
    with pytest.raises(BadImage) as caught:
        blobs.resolve(blobs.index([blobs.image("x", platform=evil)] * 100))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


def test_a_descriptor_as_json_has_it() -> None:
    plain = {"mediaType": "m", "digest": DIFF_ID, "size": 1}
    full = {
        **plain,
        "annotations": {"a": "b"},
        "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
    }
    for one in (plain, full):
        (found,) = documents.descriptors({"m": [one]}, "m")
        assert found.document() == one
