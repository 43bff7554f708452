"""`run` without -d: this process stands for the container's.

Its output is ours, its end is ours, and what would end us ends it. The work is done in a thread;
the main thread waits for signals, so that none can come at a bad moment.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import click

from longshore.cli import progress
from longshore.cli.errors import INTERRUPTED
from longshore.cli.making import Making
from longshore.cli.progress import View
from longshore.cli.transfers import watched
from longshore.errors import (
    ContainerNotFound,
    HostUnavailable,
    IllegalTransition,
    Interrupted,
    LongshoreError,
    StartFailed,
)
from longshore.local.client import LocalClient
from longshore.model.status import LogChunk

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: What a change says of one that has ended.
_OVER = ("stopped", "absent")
_ALIVE = ("starting", "running", "paused", "restarting", "stopping")
#: Seconds between looks at whether it is over; signals are noticed at once.
_LOOK = 0.05
#: Seconds that the agent may take to say what it knows.
_TOLD = 10.0
#: Seconds that a pull may take to notice that it was left.
_LEAVE = 2.0


def run(connect: Callable[[], LocalClient], making: Making) -> int:
    """Fetches its image, creates it, shows what it writes, and returns its exit code.

    While the image comes, a signal leaves. After that the first stops it, the second kills it;
    INTERRUPTED when it was not made by then. One that is to be removed once it has ended is gone
    when this returns.
    """
    spec = making.spec
    with _blocked():
        # Connecting starts threads, which are to inherit the blocked signals.
        client = connect()
        work = _Work(client, making)
        thread = threading.Thread(target=work.do, name="container", daemon=True)
        thread.start()
        try:
            if not _waited(thread, work):
                if work.left:
                    work.view.close()
                    client.close()  # which ends the pull's stream
                    thread.join(_LEAVE)
                    click.echo(f"longshore: left the pull of {spec.image}", err=True)
                else:
                    click.echo(f"hint: it may be there: longshore rm -f {spec.id}", err=True)
                return INTERRUPTED
            return work.exit_code()
        finally:
            if spec.auto_remove and work.ours:
                work.remove()


def write(stream: str, data: bytes) -> None:
    """Bytes as they are, at once."""
    target = sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer
    target.write(data)
    target.flush()


@dataclass
class _Work:
    """`made`: it was created. `ours`: something of it is there that this run has made.
    `left`: given up while its image came, so it never will be created. `told`: to stop, by a
    signal. `code`: how it ended.
    """

    client: LocalClient
    making: Making
    view: View = field(init=False)
    made: threading.Event = field(default_factory=threading.Event)
    ours: bool = False
    left: bool = False
    told: bool = False
    code: int | None = None
    failures: list[BaseException] = field(default_factory=list)
    _written: Counter[str] = field(default_factory=Counter)
    _fetching: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.view = progress.view(quiet=self.making.quiet)

    def do(self) -> None:
        with self._recorded():
            self._fetch()
            with self._lock:
                if self.left:
                    return
                self._fetching = False
            # One that is removed as soon as it has ended would take along what it wrote, so that
            # has to be followed before it starts.
            id, in_steps = self.making.spec.id, self.making.spec.auto_remove
            self._create(start=not in_steps)
            with contextlib.closing(self.client.logs(id, follow=True)) as chunks:
                if in_steps:
                    self.client.start(id)
                self.made.set()
                self._write(chunks)
            while not self._is_over():
                # The log has ended because the agent did; containers outlive it.
                with contextlib.closing(self.client.logs(id, follow=True)) as chunks:
                    self._write(chunks)

    def leave(self) -> bool:
        """Gives it up if its image has not come yet."""
        with self._lock:
            self.left = self._fetching
            return self.left

    def stop(self, grace: float | None) -> None:
        with self._recorded(), contextlib.suppress(ContainerNotFound):
            self.client.stop(self.making.spec.id, grace=grace)

    def remove(self) -> None:
        """Mostly the agent has; not if it never ran, or if this gave up. One that runs is left
        alone, unless whoever waited for it wants it to end."""
        try:
            self.client.delete(self.making.spec.id, force=self.told)
        except (ContainerNotFound, IllegalTransition):
            pass
        except LongshoreError:
            if not self.failures:
                raise  # else that is told, and why it cannot be removed is the same

    def exit_code(self) -> int:
        if self.failures:
            raise self.failures[0]
        spec = self.making.spec
        if self.code is None:
            raise LongshoreError(
                f"cannot tell how {spec.name} ended",
                object=spec.name,
                hint=f"longshore inspect {spec.id}",
            )
        return self.code

    def _write(self, chunks: Iterable[LogChunk]) -> None:
        """What was not written before, until the container has ended or the agent is gone."""
        with contextlib.suppress(HostUnavailable, Interrupted):
            for chunk in chunks:
                before = self._written[chunk.stream] - chunk.offset
                if data := chunk.data[max(0, before) :]:
                    self._written[chunk.stream] = chunk.offset + len(chunk.data)
                    write(chunk.stream, data)

    def _is_over(self) -> bool:
        """Whether it has ended; waits for an agent that is being restarted."""
        try:
            now = self.client.show(self.making.spec.id)
        except ContainerNotFound:
            self.code = self._last_code()
            return True
        self.code = now.exit_code
        return now.state not in _ALIVE

    def _last_code(self) -> int | None:
        """The exit code of one that is gone, which the changes say; None: they are of an agent that
        came later."""
        found: list[int | None] = []

        def look() -> None:
            with self._recorded(), contextlib.closing(self.client.watch(0)) as changes:
                for change in changes:
                    if change.id == self.making.spec.id and change.state in _OVER:
                        found.append(change.exit_code)
                        return

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        looking.join(_TOLD)
        return found[0] if found else None

    def _fetch(self) -> None:
        begin = self.making.fetch(self.client)
        if begin is not None:
            watched(begin(), self.view)

    def _create(self, *, start: bool) -> None:
        try:
            self.making.make(self.client, start=start)
        except StartFailed:
            self.ours = True  # its record, with the reason; after a conflict it is another's
            raise
        self.ours = True

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except (LongshoreError, OSError) as error:
            self.failures.append(error)
        except ValueError:  # grpc's word for a client that was closed, because of `left`
            if not self.left:
                raise


def _waited(thread: threading.Thread, work: _Work) -> bool:
    """Waits for its end, and passes signals on; False: given up before it was made."""
    graces: Iterator[float | None] = iter((None, 0.0))
    wanted = 0
    while thread.is_alive():
        if signal.sigtimedwait(_SIGNALS, _LOOK) is not None:
            wanted += 1
            work.told = True
            if work.leave():
                return False
        if wanted and work.made.is_set():
            wanted -= 1
            grace = next(graces, 0.0)
            threading.Thread(target=work.stop, args=(grace,), daemon=True).start()
        elif wanted > 1:
            return False
    return True


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        # One that came too late has nothing to stop any more.
        while signal.sigtimedwait(_SIGNALS, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
