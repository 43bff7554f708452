"""A command that is run in a container, and what passes between it and whoever runs it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from longshore.model.status import ExecStatus


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

    def write(self, data: bytes) -> int:
        """More input. Returns how many bytes it was given: all, unless it has ended or the session
        is closed. Raises Conflict if it has none."""

    def end_input(self) -> None: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def signal(self, name: str) -> None: ...

    @property
    def exit_code(self) -> int | None:
        """Once it has ended and all its output was read."""

    def close(self) -> None:
        """Ends a command that still runs, and removes all that was made for it. Of an attached
        process only this end is closed: that goes on."""


class Attachment(Session, Protocol):
    """A container's own process."""

    @property
    def id(self) -> str:
        """The container's."""

    @property
    def tty(self) -> bool:
        """Whether it has a terminal."""

    @property
    def position(self) -> Mapping[str, int]:
        """By stream: how much of all that it ever wrote has been read. Another one that begins
        after that misses nothing, and has nothing twice."""


class Kept:
    """The first `most` bytes of each output of a command; the rest is counted and forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._cut: set[str] = set()

    def add(self, output: Output) -> None:
        kept = self._kept[output.stream]
        room = self._most - len(kept)
        kept += output.data[:room]
        if len(output.data) > room:
            self._cut.add(output.stream)

    def status(self, exit_code: int, seconds: float, *, timed_out: bool) -> ExecStatus:
        return ExecStatus(
            exit_code=exit_code,
            stdout=self._text("stdout"),
            stderr=self._text("stderr"),
            truncated=bool(self._cut),
            timed_out=timed_out,
            seconds=seconds,
        )

    def _text(self, stream: str) -> str:
        """Where it was cut within a character, without the beginning of that."""
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        return decoder.decode(bytes(self._kept[stream]), final=stream not in self._cut)
