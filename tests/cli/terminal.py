"""The command as a process on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fakes.shell import Shell

LONGSHORE = str(Path(sys.executable).with_name("longshore"))


def environment(shell: Shell, **more: str) -> dict[str, str]:
    path = f"{Path(LONGSHORE).parent}:{os.environ['PATH']}"
    return {**os.environ, "LONGSHORE_SOCKET": str(shell.socket), "PATH": path, **more}


@dataclass
class Terminal:
    """`shown` is all that has been drawn so far."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""

    def until(self, text: str) -> None:
        """Reads until it shows that. Raises EOFError if it ends before."""
        while text not in self.shown:
            self._read()

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Reads until it ends, and returns its exit code."""
        try:
            while True:
                self._read()
        except EOFError:
            return self.process.wait(20)

    def _read(self) -> None:
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        if not data:
            raise EOFError(self.shown)
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")


@contextmanager
def on_a_terminal(shell: Shell, *words: str, columns: int = 80) -> Iterator[Terminal]:
    """`longshore WORDS` on a terminal of so many columns; killed if it has not ended by itself."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    env = environment(shell, TERM="xterm")
    env.pop("COLUMNS", None)
    with subprocess.Popen(
        [LONGSHORE, *words], stdin=slave, stdout=slave, stderr=slave, env=env
    ) as process:
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            os.close(master)


def plain(text: str) -> list[str]:
    """Its lines, without what colours them or moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()
