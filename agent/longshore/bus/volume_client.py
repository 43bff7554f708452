"""The verbs of named volumes, as a scheduler calls them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from longshore.bus.image_client import all_of, one_of
from longshore.model.status import VolumeStatus


class VolumeVerbs(ABC):
    """The part of ComputeClient that concerns volumes.

    Args:
        request_id: a uuid; None: a new one.
        deadline: seconds; None: the client's.
    """

    def create_volume(
        self,
        node: str,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        request_id: str | None = None,
        deadline: float | None = None,
    ) -> VolumeStatus:
        """One that is there with these labels is fine; VolumeExists for others."""
        message = {
            "request_id": request_id or str(uuid4()),
            "name": name,
            "labels": dict(labels or {}),
        }
        return one_of(VolumeStatus, self._ask(node, "create_volume", message, deadline))

    def list_volumes(self, node: str, *, deadline: float | None = None) -> Sequence[VolumeStatus]:
        """By name."""
        return all_of(VolumeStatus, self._ask(node, "list_volumes", {}, deadline))

    def show_volume(self, node: str, name: str, *, deadline: float | None = None) -> VolumeStatus:
        return one_of(VolumeStatus, self._ask(node, "show_volume", {"name": name}, deadline))

    def remove_volume(
        self,
        node: str,
        name: str,
        *,
        request_id: str | None = None,
        deadline: float | None = None,
    ) -> VolumeStatus:
        """With its content; VolumeInUse while a container has it."""
        message = {"request_id": request_id or str(uuid4()), "name": name}
        return one_of(VolumeStatus, self._ask(node, "remove_volume", message, deadline))

    @abstractmethod
    def _ask(
        self, node: str, verb: str, message: Mapping[str, Any], deadline: float | None
    ) -> Any: ...
