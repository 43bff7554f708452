"""An image of containerd's content store as a `Content`, to send it somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from longshore.errors import BadImage, NotFound
from longshore.host.containerd import content
from longshore.host.containerd.client import Client
from longshore.model import documents
from longshore.model.documents import Descriptor, Resolved
from longshore.model.fields import parse
from longshore.model.transfer import Reader


@dataclass(frozen=True)
class Stored:
    """Blobs as they are stored. `timeout`: seconds that reading one may take."""

    client: Client
    candidates: Sequence[Descriptor]
    timeout: float
    parallel: int = 2

    def read(self, descriptor: Descriptor) -> bytes:
        """Raises BadImage: it is not there."""
        try:
            return content.read(self.client, descriptor.digest, documents.DOCUMENT_MAX)
        except NotFound as error:
            raise BadImage(
                f"cannot read {descriptor.digest}: it is not all there", object=descriptor.digest
            ) from error

    def open(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        return content.opened(self.client, descriptor.digest, offset, self.timeout)


def stored(client: Client, image: Resolved, timeout: float) -> Stored:
    """The image as its name has it; or, where the other platforms of an index are not here, the
    outermost document that is here with all its parts.

    Raises:
        BadImage: not even this platform's are.
    """
    here = frozenset(content.sizes(client))
    everything = Stored(client, (), timeout)
    for outermost in (*image.indexes, image.manifest):
        if _is_whole(everything, outermost, here):
            return Stored(client, [outermost], timeout)
    raise BadImage(
        f"cannot read image {image.target.digest}: its content is not all there",
        object=image.target.digest,
        hint="pull or load it again",
    )


def _is_whole(source: Stored, descriptor: Descriptor, here: frozenset[str]) -> bool:
    """Whether all that the index or the manifest leads to is in the store."""
    if descriptor.digest not in here:
        return False
    document = parse(source.read(descriptor), descriptor.digest)
    inner = documents.children(document)
    if "manifests" in document:
        return all(_is_whole(source, one, here) for one in inner)
    return all(one.digest in here for one in inner)
