"""Processes of the lab: started in the background, found again later, ended for certain.

A pid file holds `pid start-time`, so that another process (a later `make demo` clean-up) can
end what this one left running, and never a stranger that was given the same pid.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process of this machine; `started` in clock ticks after boot tells pids apart."""

    pid: int
    parent: int
    session: int
    started: int
    state: str

    @property
    def command(self) -> list[str]:
        """Its argv, empty for one that has ended."""
        with contextlib.suppress(OSError):
            return _read(self.pid, "cmdline").decode(errors="replace").rstrip("\0").split("\0")
        return []

    @property
    def alive(self) -> bool:
        now = look(self.pid)
        return now is not None and now.started == self.started and now.state not in "ZX"


def _read(pid: int, name: str) -> bytes:
    # Audits read hundreds of these, hundreds of times: a Path for each would cost twice as much.
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()


def look(pid: int) -> Process | None:
    """The process that has this pid now; None if there is none."""
    try:
        text = _read(pid, "stat").decode(errors="replace")
    except OSError:
        return None
    # The name may hold blanks and parentheses; what follows the last one has fixed fields.
    fields = text[text.rindex(")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0])


def processes() -> Iterator[Process]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (process := look(int(entry))) is not None:
            yield process


def descendants(roots: Sequence[Process]) -> list[Process]:
    """All that `roots` started and that is still below them, nearest first."""
    everyone = list(processes())
    found: list[Process] = []
    parents = {root.pid for root in roots}
    while parents:
        children = [process for process in everyone if process.parent in parents]
        found += children
        parents = {child.pid for child in children}
    return found


def start(
    argv: Sequence[str | Path],
    *,
    log: Path,
    pid_file: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts `argv` with its output appended to `log`.

    In a session of its own: Ctrl-C ends the demo, and the demo ends its neighbours in order.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    process = look(child.pid)
    pid_file.write_text(f"{child.pid} {process.started if process else 0}\n")
    return child


def recorded(pid_file: Path) -> Process | None:
    """The process that `start` noted in the file, if it still runs."""
    try:
        pid, started = map(int, pid_file.read_text().split())
    except (OSError, ValueError):
        return None
    process = look(pid)
    return process if process and process.started == started and process.alive else None


def end(process: Process | None, number: int = signal.SIGTERM, *, grace: float = 10.0) -> None:
    """Signals the process, waits for its end, kills it after `grace` seconds, and reaps it."""
    if process is None or not process.alive:
        return
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if not process.alive:  # the pid may have passed on between the look and the handle
            return
        for sent, patience in ((number, grace), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sent)
            # Not select: a run of all tests may have descriptors above those that it can.
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            if waiting.poll(patience * 1000):
                break
        else:
            raise TimeoutError(f"cannot end process {process.pid}: it outlived SIGKILL by 10 s")
    finally:
        os.close(handle)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, 0)


def wait_until(
    ready: Callable[[], bool], child: subprocess.Popen[bytes], *, deadline: float, log: Path
) -> None:
    """Asks `ready` until it agrees.

    Raises:
        RuntimeError: the child ended first; the message holds the end of its log.
        TimeoutError: `deadline` seconds went by.
    """
    until = time.monotonic() + deadline
    while not ready():
        if child.poll() is not None:
            tail = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"cannot start {child.args!r}: exit {child.returncode}\n{tail}")
        if time.monotonic() > until:
            raise TimeoutError(
                f"cannot start {child.args!r}: no answer in {deadline:g} s, see {log}"
            )
        time.sleep(0.02)
