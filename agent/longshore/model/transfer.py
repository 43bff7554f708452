"""How an image comes to this node and leaves it: what the parts of a transfer agree on.

    name ──ImageSources.resolve──▶ ImageSource ──open──▶ Content ──Images.store──▶ Image
                                                            │
                                    Watch ◀── progress ─────┘

Registries, Glance and archives differ in how they find an image; from `Content` on there is one
path. Pure: Protocols and values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from longshore.model.documents import Descriptor


class PullPolicy(StrEnum):
    """Whether to ask the image's source: always, only if it is not here, or never."""

    ALWAYS = "always"
    IF_NOT_PRESENT = "if-not-present"
    NEVER = "never"


@dataclass(frozen=True)
class Credential:
    """Who asks a registry: user and password, or a bearer token. Lives in memory alone.

    Never in a log, a record or an error: its text form does not hold it.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return "Credential(…)"


@dataclass(frozen=True)
class Auth:
    """What a request says about credentials: one of its own, or the name of one of the node's.

    Neither: what the node has configured for the registry, else anonymous.
    """

    credential: Credential | None = None
    name: str | None = None


class Reader(Protocol):
    """Bytes of one blob, in order. A connection that breaks is resumed inside `read`."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end. Raises LongshoreError, or OSError and its like."""


class Content(Protocol):
    """An image's blobs where they are now."""

    @property
    def candidates(self) -> Sequence[Descriptor]:
        """The manifests or indexes that the image may be."""

    @property
    def parallel(self) -> int:
        """How many blobs may be read at once."""

    def read(self, descriptor: Descriptor) -> bytes:
        """A document (manifest, index, config), verified against size and digest."""

    def open(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """A blob from `offset` on."""


class Watch(Protocol):
    """Told how a transfer goes, from any thread; `check` is asked between pieces of work."""

    def check(self) -> None:
        """Raises PullCancelled when nobody waits any more, Interrupted at the agent's end."""

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None:
        """It is known what comes: digest of the manifest, and the size of each layer."""

    def fetched(self, blob: str, done: int) -> None:
        """So many bytes of the blob are here, counted from its beginning; may go backwards."""

    def unpacking(self, blob: str) -> None: ...

    def finished(self, blob: str) -> None:
        """The blob is here and, if it is a layer of a pull, unpacked."""


class ImageSource(Protocol):
    """An image as its source has it now."""

    @property
    def name(self) -> str:
        """Canonical; an image of Glance is named by its id."""

    @property
    def key(self) -> str:
        """Changes when the image does: digest of the target, or Glance's id and hash."""

    def open(self, watch: Watch) -> AbstractContextManager[Content]:
        """Makes its blobs readable; Glance's are fetched here, as one archive, and verified."""
