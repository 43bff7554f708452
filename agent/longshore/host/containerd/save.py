"""Images as one archive: an OCI layout that `docker load` reads as well, as a tar, in pieces.

The same images always make the same bytes. Nothing is kept on a disk: sizes are known beforehand.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from longshore.errors import BadImage
from longshore.host.containerd.content import gather
from longshore.model import documents
from longshore.model.documents import Descriptor
from longshore.model.fields import parse
from longshore.model.reference import is_glance
from longshore.model.transfer import Content

CHUNK = 1024 * 1024
_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_NESTING_MAX = 8


def pieces(images: Mapping[str, Content]) -> Iterator[bytes]:
    """The archive of all images, by canonical name.

    Raises:
        BadImage: a blob is not there, or not as long as it should be.
        LongshoreError: from the contents.
    """
    found: dict[str, tuple[Descriptor, Content]] = {}
    index: list[dict[str, Any]] = []
    docker: dict[str, dict[str, Any]] = {}
    documents_read: dict[str, bytes] = {}
    for name, content in sorted(images.items()):
        for candidate in content.candidates:
            for one in _walk(content, candidate, documents_read, 0):
                found.setdefault(one.digest, (one, content))
            index.append(_named(candidate, name).document())
            _add_docker(docker, name, candidate, documents_read)
    yield from _folder("blobs/")
    yield from _folder("blobs/sha256/")
    yield from _file("oci-layout", _json(_LAYOUT))
    yield from _file(
        "index.json",
        _json({"schemaVersion": 2, "mediaType": documents.INDEX, "manifests": index}),
    )
    if docker:
        yield from _file("manifest.json", _json(list(docker.values())))
    for digest, (descriptor, content) in found.items():
        data = documents_read.get(digest)
        if data is not None:
            yield from _file(_path(digest), data)
        else:
            yield from _blob(descriptor, content)
    yield b"\0" * 2 * tarfile.BLOCKSIZE


def _walk(
    content: Content, descriptor: Descriptor, read: dict[str, bytes], depth: int
) -> Iterator[Descriptor]:
    """The document and all that it leads to; documents are read on the way."""
    if depth > _NESTING_MAX:
        raise BadImage("cannot save the image: its indexes are nested too deeply")
    data = read[descriptor.digest] = content.read(descriptor)
    yield descriptor
    document = parse(data, descriptor.digest)
    inner = documents.children(document)
    if "manifests" in document:
        for one in inner:
            yield from _walk(content, one, read, depth + 1)
        return
    yield from inner


def _add_docker(
    entries: dict[str, dict[str, Any]], name: str, target: Descriptor, read: Mapping[str, bytes]
) -> None:
    """`docker load` before 25 knows one platform, and no index."""
    document = parse(read[target.digest], target.digest)
    if "manifests" in document:
        return
    config, *layers = documents.children(document)
    entry = entries.setdefault(
        target.digest,
        {
            "Config": _path(config.digest),
            "RepoTags": [],
            "Layers": [_path(layer.digest) for layer in layers],
        },
    )
    # A tag there is a tag: neither a digest nor a name of Glance's.
    if not is_glance(name) and "@" not in name:
        entry["RepoTags"].append(name)


def _named(target: Descriptor, name: str) -> Descriptor:
    tag = "" if is_glance(name) else name.partition("@")[0].rpartition("/")[2].partition(":")[2]
    annotations = {_NAME: name} | ({_REF_NAME: tag} if tag else {})
    return Descriptor(target.media_type, target.digest, target.size, annotations)


def _blob(descriptor: Descriptor, content: Content) -> Iterator[bytes]:
    yield _header(_path(descriptor.digest), descriptor.size)
    left = descriptor.size
    with content.open(descriptor) as reader:
        while left and (data := gather(reader, min(CHUNK, left))):
            left -= len(data)
            yield data
    if left:
        raise BadImage(
            f"cannot save the image: {descriptor.digest} ends {left} bytes too early",
            object=descriptor.digest,
        )
    yield _padding(descriptor.size)


def _file(path: str, data: bytes) -> Iterator[bytes]:
    yield _header(path, len(data)) + data + _padding(len(data))


def _folder(path: str) -> Iterator[bytes]:
    member = tarfile.TarInfo(path)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    yield member.tobuf(tarfile.PAX_FORMAT)


def _header(path: str, size: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mode = size, 0o444
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
