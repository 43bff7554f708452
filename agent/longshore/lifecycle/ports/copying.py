"""A container's files as others take or bring them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from longshore.model.copying import Files, Unpacking
from longshore.model.host import Ids
from longshore.model.names import Names
from longshore.model.status import Difference, PathStatus


class Copies(Protocol):
    def read(
        self, files: Files, path: str, *, follow_link: bool
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        """What is at `path`, and a tar of it, whose names begin with the path's last part. Close
        the generator. Raises FileMissing, and Conflict once a container that ran has ended."""

    def write(self, files: Files, path: str, tar: Path, how: Unpacking) -> int:
        """Unpacks it in the folder `path`, and says how many entries it had. Nothing is written
        if the tar is refused (InvalidRequest). Raises FileMissing, Exhausted, Conflict too."""

    def digest(self, tar: Path) -> str:
        """Of the whole file: the same for the same bytes alone."""

    def differences(self, names: Names, chain_id: str, ids: Ids | None) -> Sequence[Difference]:
        """What the container's layer has beside its image's, by path; but for what is there only
        to be mounted on."""
