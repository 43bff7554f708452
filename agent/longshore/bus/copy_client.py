"""The verbs of containers' files, as a scheduler calls them: for small ones, in one message."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from longshore.bus.image_client import all_of, one_of
from longshore.model.copy_messages import Copied, Unpacked
from longshore.model.status import Difference, PathStatus


class CopyVerbs(ABC):
    """The part of ComputeClient that concerns containers' files.

    Args:
        ref: a container's id, its name, or an unambiguous beginning of its id.
        path: absolute, in the container.
        deadline: seconds; None: the client's.
    """

    def copy_out(
        self,
        node: str,
        ref: str,
        path: str,
        *,
        follow_link: bool = False,
        deadline: float | None = None,
    ) -> tuple[PathStatus, bytes]:
        """What is at `path`, and a tar of it; MessageTooLarge above 256 KiB."""
        message = {"ref": ref, "path": path, "follow_link": follow_link}
        copied = one_of(Copied, self._ask(node, "copy_out", message, deadline))
        return copied.path, base64.b64decode(copied.tar)

    def copy_in(
        self,
        node: str,
        ref: str,
        path: str,
        tar: bytes,
        *,
        archive: bool = False,
        replace: bool = False,
        request_id: str | None = None,
        deadline: float | None = None,
    ) -> int:
        """Unpacks a tar, of at most 256 KiB, in folder `path`; returns how many entries it had.

        Args:
            archive: with the owners that it names. Else all is the container's user's.
            replace: a folder may take a file's place, and the reverse.
            request_id: a uuid; None: a new one.
        """
        message = {
            "request_id": request_id or str(uuid4()),
            "ref": ref,
            "path": path,
            "tar": base64.b64encode(tar).decode(),
            "archive": archive,
            "replace": replace,
        }
        return one_of(Unpacked, self._ask(node, "copy_in", message, deadline)).entries

    def diff(self, node: str, ref: str, *, deadline: float | None = None) -> Sequence[Difference]:
        """What of its files differs from its image's, by path."""
        return all_of(Difference, self._ask(node, "diff", {"ref": ref}, deadline))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
