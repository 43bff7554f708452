"""Image archives: an OCI layout in a tar, or what older `docker save` writes.

Nothing is extracted: blobs are read where they lie in the archive, so no path in it can reach
the node's file system. Docker's form has no manifest; the one made here makes both the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from longshore.errors import BadImage, InvalidRequest
from longshore.host.containerd import tarindex
from longshore.host.containerd.content import READ_ERRORS
from longshore.host.containerd.decompress import plain
from longshore.host.containerd.ranges import CHUNK, Range
from longshore.host.containerd.tarindex import Member, TarIndex
from longshore.model import documents
from longshore.model.documents import Descriptor
from longshore.model.fields import Fields, parse
from longshore.model.reference import canonical
from longshore.model.transfer import Content, Reader

#: The full name, then the one that the OCI specification knows.
_NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_IMAGES_MAX = 1024
#: gzip and zstd by their first bytes.
_COMPRESSION = ((b"\x1f\x8b", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd"))


@dataclass(frozen=True)
class Archive:
    """The images in an archive: by canonical name, and those without one."""

    images: Mapping[str, Content]
    unnamed: Sequence[Content] = ()

    def only(self) -> Content:
        """The one image in it, whatever it is called.

        Raises:
            BadImage: there is none, or are several.
        """
        different = {
            tuple(sorted(one.digest for one in image.candidates)): image
            for image in (*self.images.values(), *self.unnamed)
        }
        if len(different) != 1:
            raise BadImage(
                f"cannot use the archive: it holds {len(different)} images where one is wanted"
            )
        return different.popitem()[1]


@dataclass(frozen=True)
class Packed:
    """One image of an archive; a `Content`."""

    candidates: Sequence[Descriptor]
    blob: Callable[[Descriptor, int], Reader]
    parallel: int = 1

    def read(self, descriptor: Descriptor) -> bytes:
        """A document, verified against size and digest."""
        if descriptor.size > documents.DOCUMENT_MAX:
            raise BadImage(f"cannot use the image: {descriptor.digest} is too large a document")
        try:
            reader, parts = self.blob(descriptor, 0), []
            while part := reader.read(CHUNK):
                parts.append(part)
        except READ_ERRORS as error:
            raise BadImage(f"cannot read the archive: {error}") from error
        data = b"".join(parts)
        if documents.digest_of(data) != descriptor.digest:
            raise BadImage(
                f"cannot use the image: the bytes of {descriptor.digest} do not have this digest",
                object=descriptor.digest,
            )
        return data

    @contextmanager
    def open(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Reader]:
        yield self.blob(descriptor, offset)


@contextmanager
def opened(
    path: Path, *, spool: Path, limit: int, check: Callable[[], None] = lambda: None
) -> Iterator[Archive]:
    """Opens the archive at `path`, which may be compressed (gzip, bzip2, xz, zstd) as a whole.

    Args:
        spool: a folder in which it may be decompressed for as long as it is open.
        limit: bytes that it may have, compressed and not.
        check: asked while that takes; what it raises ends it.

    Raises:
        InvalidRequest: there is no such file to read.
        MessageTooLarge: it is above the limit.
        BadImage: it is no image archive, or is damaged.
        Exhausted: there is no room to decompress it.
    """
    with _file(path) as file, plain(file, spool, limit, check) as tar:
        try:
            size = os.fstat(tar.fileno()).st_size
            members = _Members(tar.fileno(), tarindex.read(tar.fileno(), size, check))
            images = _oci(members) if "index.json" in members.index else _docker(members, check)
        except READ_ERRORS as error:
            raise BadImage(f"cannot read the archive: {error}") from error
        yield images


def _file(path: Path) -> BinaryIO:
    try:
        # A fifo must not hold the agent up.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise InvalidRequest(
            f"cannot read the archive {path}: {error.strerror}", field="archive", object=str(path)
        ) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidRequest(
            f"cannot read the archive {path}: not a regular file", field="archive", object=str(path)
        )
    return file


@dataclass(frozen=True)
class _Members:
    """The files in a tar."""

    file: int
    index: TarIndex

    def size(self, path: str) -> int:
        return self.index.find(path).size

    def open(self, path: str, offset: int = 0) -> Range:
        member = self.index.find(path)
        return Range(self.file, member.start + offset, max(0, member.size - offset))

    def json(self, path: str) -> bytes:
        if self.size(path) > documents.DOCUMENT_MAX:
            raise BadImage(f"cannot read the archive: {path} is too large", object=path)
        return self.open(path).whole()


def _oci(members: _Members) -> Archive:
    index = parse(members.json("index.json"), "index.json")

    def blob(descriptor: Descriptor, offset: int) -> Reader:
        path = "blobs/" + descriptor.digest.replace(":", "/")
        has = members.size(path)
        if has != descriptor.size:
            raise BadImage(
                f"cannot use the image: {descriptor.digest} has {has} bytes, "
                f"{descriptor.size} were announced",
                object=descriptor.digest,
            )
        return members.open(path, offset)

    named: dict[str, list[Descriptor]] = {}
    unnamed: list[Descriptor] = []
    for descriptor in documents.descriptors(index, "manifests"):
        name = next((n for key in _NAME_KEYS if (n := descriptor.annotations.get(key))), None)
        (unnamed if name is None else named.setdefault(_checked(name), [])).append(descriptor)
    # Without names these may be one image for several platforms; else each is an image.
    apart = [unnamed] if all(one.platform for one in unnamed) else [[one] for one in unnamed]
    return _archive(
        {name: Packed(one, blob) for name, one in named.items()},
        [Packed(one, blob) for one in apart if one],
    )


def _docker(members: _Members, check: Callable[[], None]) -> Archive:
    """`docker save` before 25: manifest.json lists paths, digests are for us to compute."""
    if "manifest.json" not in members.index:
        raise BadImage(
            "cannot read the archive: it has neither index.json nor manifest.json",
            hint="save the image as an OCI archive or with `docker save`",
        )
    files = _Files(members, check)
    made: dict[str, bytes] = {}

    def blob(descriptor: Descriptor, offset: int) -> Reader:
        if descriptor.digest in made:
            return io.BytesIO(made[descriptor.digest][offset:])
        return members.open(files.paths[descriptor.digest], offset)

    named: dict[str, Packed] = {}
    unnamed: list[Packed] = []
    for entry in _entries(members):
        check()
        descriptor, data = _manifest(files, entry)
        made[descriptor.digest] = data
        image = Packed([descriptor], blob)
        names = [_checked(name) for name in entry.texts("RepoTags")]
        named.update((name, image) for name in names)
        if not names:
            unnamed.append(image)
    return _archive(named, unnamed)


def _entries(members: _Members) -> list[Fields]:
    document = parse(b'{"images": %s}' % members.json("manifest.json"), "manifest.json")
    images = document["images"]
    if not isinstance(images, list):
        raise BadImage("cannot read the archive: manifest.json is not as docker writes it")
    entries = [Fields(one, f"manifest.json[{i}]") for i, one in enumerate(images)]
    _check_count(sum(max(1, len(entry.texts("RepoTags"))) for entry in entries))
    return entries


@dataclass
class _Files:
    """What is known of the files, each looked at once however often manifest.json names it.

    `paths`: where each digest's bytes are.
    """

    members: _Members
    check: Callable[[], None]
    paths: dict[str, str] = field(default_factory=dict)
    _configs: dict[Member, tuple[Descriptor, Sequence[str]]] = field(default_factory=dict)
    _layers: dict[tuple[Member, str], Descriptor] = field(default_factory=dict)
    _digests: dict[Member, str] = field(default_factory=dict)

    def config(self, path: str) -> tuple[Descriptor, Sequence[str]]:
        """With the diff ids that it lists."""
        member = self.members.index.find(path)
        if member not in self._configs:
            data = self.members.json(path)
            rootfs = Fields(parse(data, path), path).object("rootfs")
            diff_ids = rootfs.texts("diff_ids") if rootfs else ()
            if len(diff_ids) > documents.LAYERS_MAX:
                raise BadImage(f"cannot use the image: {len(diff_ids)} diff_ids are too many")
            config = Descriptor(documents.CONFIG, documents.digest_of(data), len(data))
            self.paths[config.digest] = path
            self._configs[member] = config, diff_ids
        return self._configs[member]

    def layer(self, path: str, diff_id: str) -> Descriptor:
        member = self.members.index.find(path)
        if (member, diff_id) not in self._layers:
            start = self.members.open(path).read(4)
            suffix = next((s for magic, s in _COMPRESSION if start.startswith(magic)), "")
            # What is not compressed has its diff id as its digest, or containerd will refuse it.
            known = not suffix and documents.is_digest(diff_id)
            digest = diff_id if known else self._digest(path, member)
            layer = Descriptor(documents.LAYER + suffix, digest, member.size)
            self.paths[digest] = path
            self._layers[member, diff_id] = layer
        return self._layers[member, diff_id]

    def _digest(self, path: str, member: Member) -> str:
        if member not in self._digests:
            self._digests[member] = _sha256(self.members.open(path), self.check)
        return self._digests[member]


def _manifest(files: _Files, entry: Fields) -> tuple[Descriptor, bytes]:
    """The manifest that `docker save` left out."""
    config, diff_ids = files.config(entry.text("Config"))
    paths = entry.texts("Layers")
    if len(paths) != len(diff_ids):
        raise BadImage(f"cannot use the image: {len(paths)} layers for {len(diff_ids)} diff_ids")
    layers = [files.layer(*one) for one in zip(paths, diff_ids, strict=True)]
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": documents.MANIFEST,
        "config": config.document(),
        "layers": [layer.document() for layer in layers],
    }
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return Descriptor(documents.MANIFEST, documents.digest_of(data), len(data)), data


def _sha256(file: Range, check: Callable[[], None]) -> str:
    found = hashlib.sha256()
    while chunk := file.read(CHUNK):
        check()
        found.update(chunk)
    return f"sha256:{found.hexdigest()}"


def _archive(images: Mapping[str, Content], unnamed: Sequence[Content]) -> Archive:
    if not images and not unnamed:
        raise BadImage("cannot use the archive: there is no image in it")
    _check_count(len(images) + len(unnamed))
    return Archive(images, unnamed)


def _check_count(images: int) -> None:
    if images > _IMAGES_MAX:
        raise BadImage(f"cannot use the archive: it holds more than {_IMAGES_MAX} images")


def _checked(name: str) -> str:
    try:
        return canonical(name)
    except ValueError as error:
        raise BadImage(f"cannot use the image {name[:255]!r}: {error}") from error
