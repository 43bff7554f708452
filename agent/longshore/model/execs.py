"""A command that is run in a container, and what passes between it and whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Command:
    """What to run. `user`, `workdir`: None: the container's. `rows`, `columns`: of its terminal.

    `stdin`: whether it gets input; else it reads nothing.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    tty: bool = False
    stdin: bool = False
    rows: int = 0
    columns: int = 0
    privileged: bool = False


@dataclass(frozen=True)
class Output:
    """Bytes that it wrote. `stream`: stdout or stderr."""

    stream: str
    data: bytes


class Session(Protocol):
    """A process and its streams. Thread-safe: one may read while another writes."""

    @property
    def pid(self) -> int: ...

    def read(self, timeout: float) -> Output | None:
        """What comes next, within so many seconds; None: nothing yet, or nothing more."""

    def write(self, data: bytes) -> None:
        """More input. Raises Conflict if it has none."""

    def end_input(self) -> None: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def signal(self, name: str) -> None: ...

    @property
    def exit_code(self) -> int | None:
        """Once it has ended and all its output was read."""

    def close(self) -> None:
        """Ends a command that still runs, and removes all that was made for it. Of an attached
        process only this end is closed: that goes on."""
