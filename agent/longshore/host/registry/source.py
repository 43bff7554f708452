"""What a name stands for in its registry now, and the content of an image there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from longshore.errors import (
    BadImage,
    ImageNotFound,
    ImageSourceFailed,
    LongshoreError,
)
from longshore.host.registry.blob import ELSEWHERE, BlobReader
from longshore.host.registry.exchange import number
from longshore.host.registry.http import Repository
from longshore.model.documents import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    DOCUMENT_MAX,
    INDEX,
    MANIFEST,
    Descriptor,
    digest_of,
    is_digest,
)
from longshore.model.fields import parse
from longshore.model.reference import Reference
from longshore.model.transfer import Reader, Watch

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_PIECE = 1024 * 1024
MANIFESTS = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
#: What tells the two kinds apart where no media type does.
_KEYS: Mapping[str, str] = {"manifests": INDEX, "layers": MANIFEST}
_ACCEPT = {"Accept": ", ".join(MANIFESTS)}
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"
#: Answers to HEAD that say nothing, because they have no body: GET tells why.
_ASK_AGAIN = frozenset(range(400, 500)) - {401, 408, 425, 429}
#: Makes the repositories that have the image, for one transfer: mirrors first.
Reach = Callable[[Watch | None], Sequence[Repository]]


@dataclass(frozen=True)
class RegistrySource:
    """transfer.ImageSource. `document`: the target's bytes, if they had to be fetched."""

    name: str
    target: Descriptor
    document: bytes | None = field(repr=False)
    reach: Reach = field(repr=False)
    parallel: int

    @property
    def key(self) -> str:
        return self.target.digest

    @contextmanager
    def open(self, watch: Watch) -> Iterator[RegistryContent]:
        yield RegistryContent(self.target, self.document, self.reach(watch), self.parallel)


@dataclass(frozen=True)
class RegistryContent:
    """transfer.Content."""

    target: Descriptor
    document: bytes | None = field(repr=False)
    places: Sequence[Repository] = field(repr=False)
    parallel: int

    @property
    def candidates(self) -> Sequence[Descriptor]:
        return (self.target,)

    def read(self, descriptor: Descriptor) -> bytes:
        """Raises BadImage: the bytes are not those of the descriptor; ImageSourceFailed: they are
        not even those that the registry itself named. And as BlobReader."""
        if descriptor.digest == self.target.digest and self.document is not None:
            return self.document
        if descriptor.size > DOCUMENT_MAX:
            raise BadImage(
                f"cannot use the image: {descriptor.digest} has {descriptor.size} bytes, and "
                f"{DOCUMENT_MAX} are the most for a document",
                object=descriptor.digest,
            )
        is_manifest = descriptor.media_type in MANIFESTS or descriptor == self.target
        read = self._manifest if is_manifest else self._blob
        return first(self.places, lambda place: read(place, descriptor))

    def open(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        return _reading(self.places, descriptor, offset)

    def _manifest(self, place: Repository, descriptor: Descriptor) -> bytes:
        try:
            _, data = place.document(
                f"manifests/{descriptor.digest}", DOCUMENT_MAX, headers=_ACCEPT
            )
        except ImageNotFound as error:
            raise place.error(ImageSourceFailed, f"does not have {descriptor.digest}") from error
        return self._verified(place, descriptor, data)

    def _blob(self, place: Repository, descriptor: Descriptor) -> bytes:
        parts: list[bytes] = []
        with _reading((place,), descriptor, 0) as reader:
            while part := reader.read(_PIECE):
                parts.append(part)
        return self._verified(place, descriptor, b"".join(parts))

    def _verified(self, place: Repository, descriptor: Descriptor, data: bytes) -> bytes:
        if len(data) == descriptor.size and digest_of(data) == descriptor.digest:
            return data
        kind = ImageSourceFailed if descriptor == self.target else BadImage
        raise place.error(kind, f"answers with other bytes for {descriptor.digest}")


def resolve(reference: Reference, places: Sequence[Repository]) -> tuple[Descriptor, bytes | None]:
    """The document that the reference stands for, and its bytes if they came along.

    HEAD does for a registry that says digest, size and type: it costs no traffic, and registries
    that count pulls do not count it.

    Raises:
        ImageNotFound, ImageSourceDenied, ImageSourceUnavailable, ImageSourceFailed.
        BadImage: it is no image that can be used.
    """
    return first(places, lambda place: _resolved(reference, place))


def first(places: Sequence[Repository], ask: Callable[[Repository], T]) -> T:
    """What the first place answers that does; else the last one's error, with the others'."""
    failures: list[LongshoreError] = []
    for place in places:
        try:
            return ask(place)
        except ELSEWHERE as error:
            failures.append(error)
            if len(failures) < len(places):
                _LOG.warning("%s: asking the next one", error.message)
    failure = failures[-1]
    if len(failures) > 1:
        failure.details["mirrors"] = [one.message for one in failures[:-1]]
    raise failure


def _resolved(reference: Reference, place: Repository) -> tuple[Descriptor, bytes | None]:
    path = f"manifests/{reference.version}"
    good = {200} | _ASK_AGAIN
    with place.request("HEAD", path, headers=_ACCEPT, good=good) as response:
        status, headers = response.status, response.headers
    if status == 200 and (descriptor := _described(headers)) is not None:
        _agree(reference, descriptor.digest, place)
        return descriptor, None
    headers, data = place.document(path, DOCUMENT_MAX, headers=_ACCEPT)
    digest = digest_of(data)
    said = headers.get("Docker-Content-Digest", "")
    if is_digest(said) and said != digest:
        raise place.error(ImageSourceFailed, f"says {said} of a document that is {digest}")
    _agree(reference, digest, place)
    media_type = _media_type(headers, parse(data, digest), place)
    return Descriptor(media_type, digest, len(data)), data


def _described(headers: Mapping[str, str]) -> Descriptor | None:
    digest = headers.get("Docker-Content-Digest", "")
    size = number(headers.get("Content-Length"))
    media_type = _content_type(headers)
    if not is_digest(digest) or size is None or media_type not in MANIFESTS:
        return None
    return Descriptor(media_type, digest, size)


def _agree(reference: Reference, digest: str, place: Repository) -> None:
    if reference.digest not in (None, digest):
        raise place.error(
            ImageSourceFailed, f"answers with {digest} when asked for {reference.digest}"
        )


def _media_type(
    headers: Mapping[str, str], document: Mapping[str, object], place: Repository
) -> str:
    """The document's own word goes first; OCI's manifests need not have one."""
    own, said = document.get("mediaType"), _content_type(headers)
    if document.get("schemaVersion") == 1 or said.startswith(_SCHEMA1):
        raise place.error(
            BadImage,
            "has it in Docker's first format (schema 1) alone, which nobody makes any more",
            "pull and push it once with a newer Docker",
        )
    if own is None:
        own = said if said in MANIFESTS else _KEYS.get(next(iter(_KEYS.keys() & document), ""))
    if own in MANIFESTS:
        return str(own)
    raise place.error(BadImage, "has something by that name that is no image")


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


@contextmanager
def _reading(
    places: Sequence[Repository], descriptor: Descriptor, offset: int
) -> Iterator[BlobReader]:
    reader = BlobReader(places, descriptor, offset)
    try:
        reader.connect()
        yield reader
    finally:
        reader.close()
