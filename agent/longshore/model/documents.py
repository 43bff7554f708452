"""OCI's image documents: index, manifest and config, as values. Pure.

Docker's media types say the same in the same fields. Whatever is in a document was written by
somebody else: all of it is checked here, and what does not hold is a BadImage.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.errors import BadImage
from longshore.model import image_config
from longshore.model.fields import Fields, parse
from longshore.model.host import ImageConfig
from longshore.model.platform import Platform, fit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
#: Docker's: the second form of its manifests, and its name for an index.
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_CONFIGS = (CONFIG, "application/vnd.docker.container.image.v1+json")
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
#: A layer's media type → OCI's for the same.
_LAYERS = {
    LAYER: LAYER,
    f"{LAYER}+gzip": f"{LAYER}+gzip",
    f"{LAYER}+zstd": f"{LAYER}+zstd",
    _DOCKER_LAYER: LAYER,
    f"{_DOCKER_LAYER}.gzip": f"{LAYER}+gzip",
    f"{_DOCKER_LAYER}.zstd": f"{LAYER}+zstd",
}
#: Layers that lie elsewhere, by the publisher's will.
_ELSEWHERE = (
    "application/vnd.docker.image.rootfs.foreign.",
    "application/vnd.oci.image.layer.nondistributable.",
)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
#: No document of an image in use comes near; registries refuse manifests above 4 MiB.
DOCUMENT_MAX = 8 * 1024 * 1024
#: overlayfs takes no more lower layers than this in one mount.
LAYERS_MAX = 500
_NESTING_MAX = 4
#: Documents read in search of one that fits, where an index does not say what they are for.
_TRIED_MAX = 16
#: protobuf's int64 carries it, and JSON's number exactly.
_SIZE_MAX = 2**53
_TEXT_MAX = 255
_OFFERED_MAX = 32
#: What builders say of documents that go with an image and are none, such as attestations.
_NO_IMAGE = Platform("unknown", "unknown")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Descriptor:
    """Where a document points. `size` in bytes; `platform`: None where nothing is said."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def document(self) -> dict[str, Any]:
        """As JSON has it in a manifest or an index."""
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.platform is not None:
            has = self.platform
            found["platform"] = {"os": has.os, "architecture": has.architecture}
            if has.variant:
                found["platform"]["variant"] = has.variant
        return found


@dataclass(frozen=True)
class Resolved:
    """One platform's image: the indexes that led to it (outermost first), and its own parts."""

    indexes: tuple[Descriptor, ...]
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    run: ImageConfig
    platform: Platform

    @property
    def target(self) -> Descriptor:
        """What the image's name stands for: the outermost document."""
        return self.indexes[0] if self.indexes else self.manifest

    @property
    def documents(self) -> tuple[Descriptor, ...]:
        """All but the layers, the outermost first."""
        return (*self.indexes, self.manifest, self.config)

    @property
    def size(self) -> int:
        """Bytes of its content; indexes are shared between platforms and do not count."""
        layers = {layer.digest: layer.size for layer in self.layers}
        return self.manifest.size + self.config.size + sum(layers.values())

    @property
    def chain_id(self) -> str:
        """Name of the snapshot of all its layers."""
        return chain_ids(self.diff_ids)[-1]


def resolve(
    candidates: Sequence[Descriptor], read: Callable[[Descriptor], bytes], node: Platform
) -> Resolved:
    """The image for this node.

    Args:
        candidates: the manifests or indexes that one name stands for.
        read: the bytes of a descriptor, verified.

    Raises:
        BadImage: a document is not what it should be, or none is for this platform: then
            `details['platforms']` are those that there are.
    """
    search = _Search(read, node)
    found = search.among(candidates, ())
    if found is None:
        offered = sorted(search.offered)[:_OFFERED_MAX]
        raise BadImage(
            f"cannot use the image: it is for {', '.join(offered) or 'no platform at all'}; "
            f"this node is {node}",
            details={"platforms": offered},
        )
    return found


def children(document: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """What an index or a manifest refers to: manifests, or the config and the layers."""
    if "manifests" in document:
        return descriptors(document, "manifests")
    return (_descriptor(document.get("config"), "config"), *descriptors(document, "layers"))


def descriptors(document: Mapping[str, Any], key: str) -> tuple[Descriptor, ...]:
    """The list of descriptors under `key`."""
    values = document.get(key)
    if not isinstance(values, list):
        raise BadImage(f"cannot use the image: {key} is not a list")
    return tuple(_descriptor(value, f"{key}[{i}]") for i, value in enumerate(values))


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """Names of the snapshots of the first, the first two, … layers (OCI's ChainID)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: object) -> bool:
    """Whether it is a sha256 digest: file names are made of it."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def layer_type(media_type: str) -> str:
    """OCI's name for a layer's media type; those of Docker's that it has none for stay."""
    return _LAYERS.get(media_type, media_type)


class _Search:
    """Down from the candidates to one image. `offered`: the platforms seen that do not fit."""

    def __init__(self, read: Callable[[Descriptor], bytes], node: Platform) -> None:
        self._read = read
        self._node = node
        self._tried = 0
        self.offered: set[str] = set()

    def among(
        self, candidates: Sequence[Descriptor], indexes: tuple[Descriptor, ...]
    ) -> Resolved | None:
        if len(indexes) > _NESTING_MAX:
            raise BadImage("cannot use the image: its indexes are nested too deeply")
        for candidate in self._in_order(candidates):
            self._tried += 1
            if self._tried > _TRIED_MAX:
                raise BadImage("cannot use the image: its index does not say what is for whom")
            document = self._document(candidate)
            if "manifests" in document:
                inner = descriptors(document, "manifests")
                found = self.among(inner, (*indexes, candidate))
            else:
                found = self._image(indexes, candidate, document)
            if found is not None:
                return found
        return None

    def _in_order(self, candidates: Iterable[Descriptor]) -> Iterator[Descriptor]:
        """The best that says it is for this node; else those that say nothing: their configs
        will."""
        fitting: list[tuple[int, Descriptor]] = []
        silent: list[Descriptor] = []
        for candidate in candidates:
            platform = candidate.platform
            if platform is None or platform == Platform():
                silent.append(candidate)
            elif (how_well := fit(platform, self._node)) is not None:
                fitting.append((how_well, candidate))
            else:
                self._offer(platform)
        # Of equals the first, as the index has them.
        yield from [max(fitting, key=lambda one: one[0])[1]] if fitting else silent

    def _document(self, descriptor: Descriptor) -> Mapping[str, Any]:
        if descriptor.size > DOCUMENT_MAX:
            raise BadImage(
                f"cannot use the image: {descriptor.digest} has {descriptor.size} bytes, which is "
                "too large for a document",
                object=descriptor.digest,
            )
        document = parse(self._read(descriptor), descriptor.digest)
        if descriptor.media_type.startswith(_SCHEMA_1) or document.get("schemaVersion") == 1:
            raise BadImage(
                f"cannot use the image: {descriptor.digest} is in Docker's schema 1, which is no "
                "longer used",
                object=descriptor.digest,
                hint="push it again with a Docker or Podman of these days",
            )
        return document

    def _image(
        self, indexes: tuple[Descriptor, ...], manifest: Descriptor, document: Mapping[str, Any]
    ) -> Resolved | None:
        config = _descriptor(document.get("config"), "config")
        if config.media_type not in _CONFIGS:
            raise BadImage(
                f"cannot use the image: {manifest.digest} is not a container image but "
                f"{config.media_type[:_TEXT_MAX] or 'something without a type'}",
                object=manifest.digest,
            )
        layers = descriptors(document, "layers")
        image = self._document(config)
        said = _platform(Fields(image, "the image's config"))
        platform = Platform(
            said.os or self._node.os, said.architecture or self._node.architecture, said.variant
        )
        if fit(platform, self._node) is None:
            self._offer(platform)
            return None
        for layer in layers:
            _check_layer(layer)
        return Resolved(
            indexes,
            manifest,
            config,
            layers,
            _diff_ids(image, len(layers)),
            image_config.read(image.get("config")),
            platform,
        )

    def _offer(self, platform: Platform) -> None:
        if platform != _NO_IMAGE:
            self.offered.add(str(platform))


def _diff_ids(image: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    rootfs = image.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or not all(is_digest(one) for one in found):
        raise BadImage("cannot use the image: rootfs.diff_ids is not a list of digests")
    if not 0 < layers <= LAYERS_MAX or layers != len(found):
        raise BadImage(
            f"cannot use the image: {layers} layers for {len(found)} diff_ids "
            f"(1 to {LAYERS_MAX} are possible)"
        )
    return tuple(found)


def _check_layer(layer: Descriptor) -> None:
    if layer.media_type.startswith(_ELSEWHERE):
        raise BadImage(
            f"cannot use the image: layer {layer.digest} is not distributed with it "
            f"({layer.media_type[:_TEXT_MAX]})",
            object=layer.digest,
        )
    if layer.media_type not in _LAYERS:
        raise BadImage(
            f"cannot use the image: layer {layer.digest} is {layer.media_type[:_TEXT_MAX]!r}, "
            "which is no file system archive known here",
            object=layer.digest,
        )


def _descriptor(value: Any, where: str) -> Descriptor:
    fields = Fields(value, where)
    digest, size = fields.text("digest"), value.get("size")
    if not is_digest(digest):
        raise BadImage(f"cannot use the image: {where}.digest {digest[:80]!r} is no sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _SIZE_MAX:
        raise BadImage(f"cannot use the image: {where}.size is not a number of bytes")
    names = fields.object("platform")
    platform = None if names is None else _platform(names)
    return Descriptor(fields.text("mediaType"), digest, size, fields.map("annotations"), platform)


def _platform(fields: Fields) -> Platform:
    """What an error will show is cut to what can be shown."""
    names = (fields.text(key)[:_TEXT_MAX] for key in ("os", "architecture", "variant"))
    return Platform(*("".join(filter(str.isprintable, name)) for name in names))
