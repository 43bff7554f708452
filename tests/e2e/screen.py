"""The command line on a real pty, or between pipes, as a test types it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.terminal import LONGSHORE
from e2e.lab import Lab


class Screen:
    """`longshore WORDS` on a pty, and what it has shown."""

    def __init__(self, lab: Lab, *words: str, rows: int = 30, columns: int = 90) -> None:
        self.master, self.slave = pty.openpty()
        self.size(rows, columns, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.shown = ""
        env = {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket), "TERM": "xterm"}
        self.process = subprocess.Popen(
            [LONGSHORE, *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=env,
            start_new_session=True,
        )

    def size(self, rows: int, columns: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, text: str) -> None:
        self.until_so(lambda shown: text in shown)

    def until_so(self, condition: Callable[[str], bool]) -> None:
        """Until that holds of what it shows."""
        end = time.monotonic() + 20
        while not condition(self.shown):
            assert time.monotonic() < end, self.shown
            self.read()

    def end(self) -> int:
        end = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < end, self.shown
            self.read()
        self.read()
        assert termios.tcgetattr(self.slave) == self.before, "as it was before"
        return self.process.returncode

    def read(self) -> None:
        """What there is."""
        os.set_blocking(self.master, False)
        try:
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.02)
        finally:
            os.set_blocking(self.master, True)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)
        os.close(self.master)
        os.close(self.slave)


@contextmanager
def on(lab: Lab, *words: str) -> Iterator[Screen]:
    screen = Screen(lab, *words)
    try:
        yield screen
    finally:
        screen.close()


def piped(lab: Lab, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket)}
    return subprocess.run(
        [LONGSHORE, *words], input=given, capture_output=True, env=env, timeout=60, check=False
    )
