"""Transfers that failed though nobody waited for them: somebody may want to know."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from longshore.errors import LongshoreError
from longshore.model.status import ErrorStatus, TransferStatus

#: So many are kept at most, for so many seconds.
KEPT = 16
SECONDS = 600.0


class Failures:
    """The last of each image, the oldest first. Not thread-safe; times are Unix seconds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, TransferStatus]] = OrderedDict()

    def note(self, status: TransferStatus, error: LongshoreError, now: float) -> None:
        self.forget(status.image)
        told = {"state": "failed", "error": ErrorStatus.model_validate(error.to_dict())}
        self._kept[status.image] = now, status.model_copy(update={**told, "waiters": 0})
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def forget(self, image: str) -> None:
        self._kept.pop(image, None)

    def list(self, now: float) -> Sequence[TransferStatus]:
        return [status for at, status in self._kept.values() if now - at < SECONDS]
