"""What a commit puts into the image that it makes, beside the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Commit:
    """Args:
    author, message: for the image's history.
    changes: Dockerfile instructions that change the image's config: CMD, ENTRYPOINT, ENV,
        EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR.
    pause: whether the container's processes are frozen meanwhile, so that files agree.
    """

    author: str = ""
    message: str = ""
    changes: Sequence[str] = ()
    pause: bool = True
