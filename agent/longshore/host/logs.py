"""What a container wrote: two files that the shim appends to and nobody else writes.

The agent keeps a time index beside each, and keeps them short by punching a hole at the head, which
never moves what follows (log_keeper.py); so offsets stay true.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

from longshore.host.inotify import Inotify
from longshore.host.log_file import CHUNK, LogFile, reading
from longshore.model.layout import Layout
from longshore.model.logs import Mark
from longshore.model.names import Names
from longshore.model.status import LogChunk

#: Longest wait for news, in seconds: the caller then learns that we are still here.
_WAKE = 2.0
#: The shim closes the files when the container ends; soon after, `ended` will say so.
_SOON = 0.02


class Logs:
    def __init__(self, layout: Layout, now: Callable[[], float] = time.time) -> None:
        self._layout = layout
        self._now = now

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
        """stdout and stderr, from the last `tail` lines of each on (None: all there is), in the
        order in which they were written as far as the time index tells.

        With `follow` it goes on until `ended` says that nothing more will come, or `until` has
        come, and yields an empty chunk every few seconds. The first ones, one of each stream, are
        empty: all that is written from then on will be read, even if the files are removed
        meanwhile. A file that is missing is an empty one.

        Args:
            since, until: Unix seconds; a line is of the time at which its end was written.
            timestamps: whole lines, each piece with its time.
            stream: only of this one.
            after: begin behind so many bytes of each stream; what has been cut of it is missing.

        Raises:
            HostFailed: a file cannot be read.
        """
        paths = {"stdout": self._layout.stdout(names), "stderr": self._layout.stderr(names)}
        files = [LogFile(name, path) for name, path in paths.items() if stream in (None, name)]
        with contextlib.ExitStack() as stack:
            watch = stack.enter_context(Inotify(self._layout.folder(names))) if follow else None
            for file in files:
                stack.callback(file.close)
                file.begin(tail, since, until, (after or {}).get(file.stream, 0))
            if follow:
                yield from (LogChunk(file.stream, b"", offset=file.offset) for file in files)
            # Not long at first: what closed the files before we watched them makes no event.
            wait = _SOON
            while True:
                left = _WAKE if until is None else until - self._now()
                # Asked before reading: what was written before it ended is read after it.
                last = watch is None or left <= 0 or ended()
                yield from _news(files, until, timestamps=timestamps, last=last)
                if last or watch is None:
                    return
                news = watch.wait(min(wait, left))
                wait = _SOON if news.closed else min(_WAKE, wait * 2)
                if not news.any:
                    yield LogChunk(files[0].stream, b"", offset=files[0].offset)


def _news(
    files: Sequence[LogFile], until: float | None, *, timestamps: bool, last: bool
) -> Iterator[LogChunk]:
    again = True
    while again:
        for file in files:
            file.look(until)
        for file, mark in _merged(files, joined=not timestamps):
            # A line that is not finished is shown as it is, unless more of it may still come and
            # its time is asked for. Elsewhere the other stream's lines would come within it.
            rest = mark.offset == file.end and (last or not timestamps)
            for offset, data in _pieces(file, mark.offset, rest=rest):
                yield LogChunk(file.stream, data, mark.at if timestamps else 0.0, offset)
        again = False
        for file in files:
            with reading(file.path):
                again |= file.reopen()


def _merged(files: Sequence[LogFile], *, joined: bool) -> Iterator[tuple[LogFile, Mark]]:
    """All there is to read, by its time. `joined`: what no other stream comes between is one."""
    waiting = [(file, segments) for file in files for segments in [file.segments()]]
    heads = [(mark, file, rest) for file, rest in waiting if (mark := next(rest, None))]
    while heads:
        heads.sort(key=lambda one: one[0].at)  # stable: stdout first
        mark, file, rest = heads.pop(0)
        following = next(rest, None)
        while joined and following and (not heads or following.at <= heads[0][0].at):
            mark, following = following, next(rest, None)
        # Before it is read: its index may be another by then.
        if following:
            heads.insert(0, (following, file, rest))
        yield file, mark


def _pieces(file: LogFile, end: int, *, rest: bool) -> Iterator[tuple[int, bytes]]:
    """With their offsets; of whole lines, so that who is overtaken by a cut misses whole ones.
    `rest`: also what is left at the end; else it is read with what follows."""
    while data := file.read(end):
        lines = data.rfind(b"\n") + 1
        if not lines and len(data) < CHUNK and not rest:
            file.unread(len(data))
            return
        if 0 < lines < len(data):
            file.unread(len(data) - lines)
            data = data[:lines]
        yield file.offset - len(data), data
