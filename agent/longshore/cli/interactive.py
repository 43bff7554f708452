"""This terminal, or pipe, at the other end of a process in a container.

What it writes is shown by a thread, what is typed is sent by another, and the main one waits for
signals. On a terminal keys go as they are: Ctrl-C is a byte, and the terminal in there makes a
signal of it. However it ends, this one is as it was before.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import click

from longshore.cli.errors import INTERRUPTED
from longshore.cli.foreground import write
from longshore.cli.keys import Watched
from longshore.errors import LongshoreError
from longshore.local.client import Attachment, Stream

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH)
_LOOK = 0.05
_PIECE = 64 * 1024
#: Seconds that the last of the output gets.
_LEAVE = 1.0
_CUT = "it ended while the agent was away, and is removed: its last output may be missing"


@dataclass(frozen=True)
class Ways:
    """How it is to go.

    Args:
        tty: whether the process has a terminal, so that this one is made raw.
        stdin: whether it gets input.
        keys: what leaves it to itself; none for a command, which is killed when it is left.
        told: what is done with a signal to this program: the process's, or ours.
        started: called once it is being shown; what it raises ends all.
    """

    tty: bool
    stdin: bool
    keys: bytes = b""
    told: Callable[[Stream, signal.Signals], None] | None = None
    started: Callable[[], object] | None = None


def size() -> tuple[int, int] | None:
    """Rows and columns of this terminal; None if there is none."""
    if not sys.stdout.isatty() and not sys.stdin.isatty():
        return None
    columns, rows = shutil.get_terminal_size((80, 24))
    with contextlib.suppress(OSError):
        columns, rows = os.get_terminal_size(sys.stdin.fileno())
    return rows, columns


def run(begin: Callable[[], Stream], ways: Ways) -> int | None:
    """Its exit code; None: left to itself. INTERRUPTED: given up by a second signal.

    An agent that goes away is waited for by who is attached; a command is ended with it.

    Raises:
        LongshoreError: it could not be begun, or the agent went away.
    """
    code, stream = _run(begin, ways)
    if isinstance(stream, Attachment) and stream.cut:
        click.echo(_CUT, err=True)
    return code


def _run(begin: Callable[[], Stream], ways: Ways) -> tuple[int | None, Stream]:
    with _blocked(), begin() as stream, _raw(on=ways.tty and ways.stdin):
        work = _Work(stream, ways)
        threads = [threading.Thread(target=work.show, name="output", daemon=True)]
        if ways.stdin:
            threads.append(threading.Thread(target=work.send, name="input", daemon=True))
        threads[0].start()
        if ways.started is not None:
            ways.started()
        for thread in threads[1:]:
            thread.start()
        code = _wait(threads[0], work)
        work.stop()
        stream.close()
        threads[0].join(_LEAVE)
        return code, stream


@dataclass
class _Work:
    stream: Stream
    ways: Ways
    left: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)
    _wake: tuple[int, int] = field(default_factory=os.pipe)

    def show(self) -> None:
        try:
            for output in self.stream:
                write(output.stream, output.data)
        except (LongshoreError, OSError) as error:
            self.failures.append(error)

    def send(self) -> None:
        """Until it ends, the keys come, or this input does."""
        watched, source = Watched(self.ways.keys), sys.stdin.fileno()
        try:
            while True:
                ready, _, _ = select.select([source, self._wake[0]], [], [])
                if self._wake[0] in ready:
                    return
                data = os.read(source, _PIECE)
                if not data:
                    self.stream.end_input()
                    return
                self.stream.write(watched.pass_on(data))
                if watched.detached:
                    self.left.set()
                    return
        except OSError as error:
            self.failures.append(error)
            self.stream.close()

    def stop(self) -> None:
        os.write(self._wake[1], b"x")


def _wait(showing: threading.Thread, work: _Work) -> int | None:
    """Passes signals on until it has ended or was left."""
    if work.ways.tty and (now := size()) is not None:
        work.stream.resize(*now)
    told = 0
    while showing.is_alive():
        came = signal.sigtimedwait(_SIGNALS, _LOOK)
        if work.left.is_set():
            return None
        if came is None:
            continue
        if came.si_signo == signal.SIGWINCH:
            if work.ways.tty and (now := size()) is not None:
                work.stream.resize(*now)
            continue
        told += 1
        if told > 1 or work.ways.told is None:
            return INTERRUPTED
        work.ways.told(work.stream, signal.Signals(came.si_signo))
    if work.failures:
        raise work.failures[0]
    return work.stream.exit_code


@contextlib.contextmanager
def _raw(*, on: bool) -> Iterator[None]:
    """Keys go as they are typed, if there are any."""
    if not on or not sys.stdin.isatty():
        yield
        return
    source = sys.stdin.fileno()
    before = termios.tcgetattr(source)
    # What was typed already is not lost.
    tty.setraw(source, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Signals are waited for; threads that are started meanwhile inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        while signal.sigtimedwait(_SIGNALS, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
