"""Looks at containers' log files: marks their growth in the time index, and keeps them short.

Neither reads what was written, but for the one line at which it cuts. It holds nothing open, and a
few numbers for each container.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import Exhausted, HostFailed, LongshoreError
from longshore.host import log_cut
from longshore.host.log_index import Index
from longshore.model import logs
from longshore.model.layout import Layout
from longshore.model.logs import Mark
from longshore.model.names import Names

_NOTHING = Mark(0, 0.0)
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Offsets beyond it are brought back; ext4 ends a file at 16 TiB.
_FAR = 2**42


@dataclass
class _Stream:
    """`last`: the newest mark of the index. `seen`: at the last look. `head`: what is kept begins
    there. `punched`: as far as it is a hole for sure. `index`: its bytes."""

    path: Path
    known: bool = False
    last: Mark = _NOTHING
    seen: Mark = _NOTHING
    head: int = 0
    punched: int = 0
    index: int = 0

    @property
    def kept(self) -> int:
        return self.seen.offset - self.head + self.index


class LogKeeper:
    """Of one thread.

    Args:
        limit: bytes on disk that one container's log may have, both streams and their indexes
            together.
    """

    def __init__(self, layout: Layout, limit: int) -> None:
        self._layout = layout
        self._limit = limit
        self._logs: dict[str, dict[str, _Stream]] = {}

    def look(self, names: Names) -> bool:
        """Marks what was written since the last look, and cuts what is too much.

        Returns whether the container has logs. Those that cannot be punched are cut to nothing.

        Raises:
            Exhausted: the disk is full: what was written meanwhile gets its time later.
            HostFailed: another reason.
        """
        log = self._logs.get(names.id) or self._opened(names)
        # None of it holds up the others: on a full disk no mark can be added, and cutting is what
        # makes room.
        errors: list[OSError] = []
        there = grown = 0
        for one in log.values():
            with _noted(errors):
                before = one.seen.offset
                there += _look(one)
                grown += max(0, one.seen.offset - before)
        kept = {name: one.kept for name, one in log.items()}
        if logs.is_too_much(sum(kept.values()), grown, self._limit):
            for name, share in logs.shares(kept, self._limit).items():
                if share < kept[name]:
                    _cut(log[name], share, errors)
        if errors:
            raise _told(names, errors[0])
        if not there:
            self.forget(names)
        return bool(there)

    def forget(self, names: Names) -> None:
        self._logs.pop(names.id, None)

    def close(self) -> None:
        """Marks what was not worth a mark until now: this is the last look."""
        for log in self._logs.values():
            for one in log.values():
                with contextlib.suppress(OSError):
                    _settle(one)
        self._logs.clear()

    def _opened(self, names: Names) -> dict[str, _Stream]:
        paths = (self._layout.stdout(names), self._layout.stderr(names))
        log = {name: _Stream(path) for name, path in zip(logs.STREAMS, paths, strict=True)}
        self._logs[names.id] = log
        return log


def _look(one: _Stream) -> bool:
    """Whether there is such a file."""
    try:
        status = os.lstat(one.path)
    except FileNotFoundError:
        return False
    if not one.known:
        _learn(one)
    if status.st_size == one.seen.offset:
        return True
    if status.st_size < one.seen.offset:  # somebody has emptied it
        _forget(one)
    # When it was last written; never before the mark before it, whatever the clock did.
    new = Mark(status.st_size, max(status.st_mtime, one.seen.at))
    marks = logs.next_mark(one.last, one.seen, new)
    one.seen = new
    if marks:
        _add(one, marks)
    return True


def _learn(one: _Stream) -> None:
    """What the agent before this one had marked. Nothing is made for a log that is empty."""
    with Index(one.path) as index:
        one.last = one.seen = index.last()
        one.head, one.index = index.head(), index.size()
    one.known = True


def _add(one: _Stream, marks: list[Mark]) -> None:
    with Index(one.path, write=True) as index:
        index.add(marks)
        one.index = index.size()
    one.last = marks[-1]


def _settle(one: _Stream) -> None:
    """Marks what was seen: its time is to be known from the file no longer."""
    if one.seen.offset > one.last.offset:
        _add(one, [one.seen])


def _forget(one: _Stream) -> None:
    """It begins anew."""
    one.last = one.seen = _NOTHING
    one.head = one.punched = 0
    with Index(one.path, write=True) as index:
        index.reset()
        one.index = index.size()


def _cut(one: _Stream, share: int, errors: list[OSError]) -> None:
    """Leaves about `share` bytes of it, with its index, from the beginning of a line on."""
    with _noted(errors):
        _settle(one)
    with _noted(errors):
        descriptor = os.open(one.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            end = one.seen.offset
            left = (end - one.head) * share // one.kept
            head = log_cut.line_at(descriptor, end - left, end)
            # The head is written first: who reads looks at it again after reading, and so never
            # takes a hole for what was written.
            with _noted(errors), Index(one.path, write=True) as index:
                dead = index.set_head(head)
                log_cut.punch(index.descriptor, log_cut.BLOCK, dead)
                one.index = index.size()
            if log_cut.punch(descriptor, one.punched, head):
                one.head = one.punched = head
                if head > _FAR:
                    _rebase(one, descriptor)
            else:
                os.ftruncate(descriptor, 0)
                _forget(one)
        finally:
            os.close(descriptor)


def _rebase(one: _Stream, descriptor: int) -> None:
    """Takes the hole out, where the file system can: some have an end to a file's size."""
    if length := log_cut.collapse(descriptor, one.head):
        with Index(one.path, write=True) as index:
            index.rebase(length)
            one.index = index.size()
        one.head = one.punched = one.head - length
        one.last = one.seen = Mark(one.seen.offset - length, one.seen.at)


def _told(names: Names, error: OSError) -> LongshoreError:
    cls: type[LongshoreError] = Exhausted if error.errno in _FULL else HostFailed
    return cls(f"cannot keep the log of container {names.id}: {error.strerror}", object=names.id)


@contextlib.contextmanager
def _noted(errors: list[OSError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        errors.append(error)
