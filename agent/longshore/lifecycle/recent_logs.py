"""The last lines of a container's log, for who cannot read a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from longshore.model.logs import lines_of
from longshore.model.status import LogChunk, LogLine, LogsStatus


def recent(id: str, chunks: Iterable[LogChunk], tail: int, max_bytes: int) -> LogsStatus:
    """The last `tail` lines of both streams together, and of them the newest `max_bytes`.

    Holds no more than that, however much there is. Of one line that is larger its end is left.

    Args:
        chunks: whole lines, with their times.
    """
    lines: deque[tuple[LogChunk, bytes]] = deque()
    held = 0
    cut = False
    for chunk in chunks:
        for line in lines_of(chunk.data) if tail else ():
            cut |= len(line) > max_bytes
            lines.append((chunk, line[-max_bytes:]))
            held += len(lines[-1][1])
            while held > max_bytes or len(lines) > tail:
                # Only of what was asked for anyway.
                cut |= len(lines) <= tail
                held -= len(lines.popleft()[1])
    return LogsStatus(
        id=id,
        lines=tuple(
            LogLine(
                stream=chunk.stream,
                at=chunk.at or None,
                text=line.rstrip(b"\r\n").decode(errors="replace"),
            )
            for chunk, line in lines
        ),
        cut=cut,
    )
