"""Images of this node, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from longshore.model.commit import Commit
from longshore.model.host import (
    Image,
)
from longshore.model.names import Names
from longshore.model.status import ImageDetail
from longshore.model.transfer import Auth, Content, ImageSource, Watch

#: Names, each with the digest that it is about to stand for → what must surround that.
Naming = Callable[[Mapping[str, str]], AbstractContextManager[None]]


class Images(Protocol):
    """Images of this node. `name` is any way to write an image's name; what comes back is
    canonical."""

    def get(self, name: str) -> Image:
        """Raises ImageNotFound."""

    def detail(self, name: str) -> ImageDetail:
        """All that is known of it, but not who uses it. Raises ImageNotFound."""

    def list(self) -> Sequence[Image]: ...

    def broken(self) -> Sequence[Image]:
        """What has a name and cannot be used, because its content is not all there, or not for
        this node: of these only name, digest, key and time are known."""

    def load(self, archive: Path, naming: Naming) -> Sequence[Image]:
        """Imports all images of an OCI layout or docker-save archive, or none: it sets all names
        inside of `naming`, or puts back what they stood for. Raises BadImage."""

    def store(self, source: ImageSource, watch: Watch, names: Sequence[str]) -> Image:
        """Fetches, verifies and unpacks the image, and then gives it the names.

        Under a lease of the source's key from the first byte on: what an agent left that died goes
        on where it was, and when this fails all of it is removed.

        Raises BadImage, Exhausted, and what the source and the watch raise.
        """

    def unpack(self, image: Image) -> None:
        """Makes the snapshots of its layers again if they are gone, from the content that is
        here; if they are there, only looks. Raises ImageNotFound if the content is gone too,
        Interrupted at the agent's end."""

    def hold(self, names: Names, image: Image) -> None:
        """Takes the container's lease, and the image's layers under it.

        Raises ImageNotFound if they are not there.
        """

    def tag(self, name: str, new: str) -> Image:
        """Gives an image one more name; one that stood for another image is moved.

        Raises ImageNotFound, also if the name is here and its content is not any more.
        """

    def remove(self, name: str) -> None:
        """Removes one name; content without any goes with the next `collect`. Raises
        ImageNotFound."""

    def collect(self, busy: Collection[str]) -> int:
        """Removes what no name, container or transfer of `busy` keys needs: also what transfers
        left that nobody goes on with. Returns how many bytes of content became free."""

    def save(self, names: Sequence[str]) -> Iterator[bytes]:
        """An OCI layout that also `docker load` reads, as a tar, in pieces."""

    def open(self, name: str) -> AbstractContextManager[Content]:
        """The image's blobs, to send them somewhere."""

    def commit(self, names: Names, base: Image, name: str, change: Commit) -> Image:
        """A new image: the base, and what the container's file system has beyond it. Raises
        Interrupted at the agent's end."""


class ImageSources(Protocol):
    """Registries and Glance."""

    def resolve(self, name: str, auth: Auth, watch: Watch) -> ImageSource:
        """Asks the source what `name` (canonical) stands for now.

        Raises ImageNotFound, ImageSourceDenied, ImageSourceUnavailable, ImageSourceFailed, and
        soon what the watch raises.
        """

    def check(self, name: str, auth: Auth) -> None:
        """Raises InvalidRequest, without asking anybody, for what no source here is set up for:
        an unknown credential, Glance without a configuration."""

    def push(self, name: str, content: Content, auth: Auth, watch: Watch) -> str:
        """Sends an image there; returns the digest, or Glance's id, that it has there."""
