"""How a transfer goes: told by those who move bytes, read by those who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from longshore.model.status import LayerStatus, TransferStatus

_FETCHED = frozenset({"unpacking", "done"})


class Progress:
    """A `Watch`; thread-safe.

    Args:
        direction: pull or push.
        started_at: Unix seconds.
        check: raises when the transfer is to end.
    """

    def __init__(self, direction: str, started_at: float, check: Callable[[], None]) -> None:
        self._guard = threading.Lock()
        self._check = check
        self._direction = direction
        self._started_at = started_at
        self._stage = "waiting"
        self._digest: str | None = None
        self._layers: dict[str, LayerStatus] = {}

    def check(self) -> None:
        self._check()

    def enter(self, stage: str, digest: str | None = None) -> None:
        """`stage`: waiting, resolving, moving or done."""
        with self._guard:
            self._stage = stage
            self._digest = digest or self._digest

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None:
        with self._guard:
            self._digest = digest or self._digest
            self._layers = {
                blob: LayerStatus(digest=blob, total=size) for blob, size in blobs.items()
            }

    def fetched(self, blob: str, done: int) -> None:
        self._note(blob, "moving", done)

    def unpacking(self, blob: str) -> None:
        self._note(blob, "unpacking")

    def finished(self, blob: str) -> None:
        self._note(blob, "done")

    def status(self, image: str, waiters: int) -> TransferStatus:
        with self._guard:
            layers = tuple(self._layers.values())
            stage = self._stage
            if stage == "moving" and layers and all(one.state in _FETCHED for one in layers):
                stage = "unpacking" if self._direction == "pull" else "moving"
            return TransferStatus(
                image=image,
                direction=self._direction,
                digest=self._digest,
                state=stage,
                done=sum(layer.done for layer in layers),
                total=sum(layer.total for layer in layers),
                layers=layers,
                started_at=self._started_at,
                waiters=waiters,
            )

    def _note(self, blob: str, state: str, done: int | None = None) -> None:
        """Documents (manifest, config) are small and were not planned: they do not count."""
        with self._guard:
            layer = self._layers.get(blob)
            if layer is None:
                return
            # Only fetching goes byte by byte; what is unpacked is all here.
            there = layer.total if done is None else min(done, layer.total)
            self._layers[blob] = layer.model_copy(update={"state": state, "done": there})
