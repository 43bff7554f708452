"""Containers' logs, as callers and operators are shown them; see status.py."""

from __future__ import annotations

from dataclasses import dataclass

from longshore.model.value import Value


class LogLine(Value):
    """One line that a container wrote, without its end. `stream`: stdout or stderr. `at`: Unix
    seconds by which it had been written, None where that is not known. What is no UTF-8 in it is
    shown as U+FFFD."""

    stream: str
    at: float | None = None
    text: str


class LogsStatus(Value):
    """The last lines of a container, oldest first. `id`: the container's. `cut`: there were more
    that were asked for, but they are too much for one answer."""

    id: str
    lines: tuple[LogLine, ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class LogChunk:
    """Bytes as the container wrote them. `stream`: stdout or stderr.

    `at`: Unix seconds at which they had been written, as far as the time index tells; 0 if it was
    not asked for, or does not know. `offset`: how much the container had written to that stream
    before them.
    """

    stream: str
    data: bytes
    at: float = 0.0
    offset: int = 0
