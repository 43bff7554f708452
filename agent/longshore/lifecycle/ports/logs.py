"""Containers' logs, as they are kept; the shims write them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Protocol

from longshore.model.names import Names
from longshore.model.status import LogChunk


class LogWatch(Protocol):
    def grown(self, timeout: float) -> set[str]:
        """Ids of those whose logs have changed since the last call, or are gone, or may have; waits
        up to `timeout` seconds for the first. The first call names all."""

    def unwatched(self) -> bool:
        """Whether some can only be looked at now and then."""

    def interrupt(self) -> None:
        """Ends a `grown` that waits, and the next. From any thread."""

    def close(self) -> None: ...


class LogKeeper(Protocol):
    def look(self, names: Names) -> bool:
        """Marks in the time index what was written since the last look, and cuts what is too much.
        Whether there are logs."""

    def forget(self, names: Names) -> None: ...

    def close(self) -> None:
        """After the last look."""


class LogFiles(Protocol):
    def read(
        self,
        names: Names,
        *,
        tail: int | None,
        follow: bool,
        ended: Callable[[], bool],
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        stream: str | None = None,
        after: Mapping[str, int] | None = None,
    ) -> Generator[LogChunk, None, None]:
        """See `Service.logs`; `after`: behind so many bytes of each stream."""
