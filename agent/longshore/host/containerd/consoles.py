"""The input and the terminal of a container's first process, for who attaches to it.

Both are the shim's, which has both ends of the input open: whoever sends something may come, go
and die, and the process goes on. What it writes is in its log.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from longshore.errors import HostFailed
from longshore.host import pidfd
from longshore.host.containerd.client import Client
from longshore.host.containerd.exec_calls import ExecCalls
from longshore.host.containerd.streams import Input
from longshore.model.layout import Layout
from longshore.model.names import Names

LOG = logging.getLogger(__name__)
#: containerd's word for a container's first process where it asks for the id of a command.
_FIRST = ""


class Consoles:
    """`Consoles` of lifecycle's ports."""

    def __init__(self, client: Client, layout: Layout) -> None:
        self._client = client
        self._layout = layout

    def open(self, names: Names, *, tty: bool) -> Console:
        return Console(ExecCalls(self._client, names, _FIRST), self._layout.stdin(names), tty=tty)


class Console:
    """`Console` of lifecycle's ports."""

    def __init__(self, call: ExecCalls, stdin: Path, *, tty: bool) -> None:
        self._call = call
        self._tty = tty
        self._input = Input(stdin, lambda: False, f"send input to container {call.names.id}")

    def write(self, data: bytes) -> int:
        return self._input.write(data)

    def end_input(self) -> None:
        if not self._tty:
            self._input.reach()
            self._call.close_input()
            self._input.close()

    def resize(self, rows: int, columns: int) -> None:
        if self._tty:
            # One that has ended is refused in many words.
            with contextlib.suppress(HostFailed):
                self._call.resize(rows, columns)

    def close(self) -> None:
        self._input.close()


def append(pid: int, log: Path) -> None:
    """Has the shim write what comes from the terminal to the end of `log`.

    It opens the file as it would a FIFO, at its beginning; what an earlier run wrote is there. So
    the flag is set on the shim's own descriptor; where that is not allowed, the log begins anew.

    Args:
        pid: the container's first process, which waits for its start.
    """
    if not log.exists() or log.stat().st_size == 0:
        return
    try:
        shim = psutil.Process(pid).ppid()
        for number in _writing(shim, log):
            with pidfd.borrowed(shim, number) as file:
                fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    except (OSError, psutil.Error) as error:
        LOG.warning("what the container wrote before into %s is given up: %s", log, error)
        with contextlib.suppress(OSError):
            os.truncate(log, 0)


def _writing(pid: int, log: Path) -> Iterator[int]:
    """Descriptors of that process that write to the file."""
    folder = Path(f"/proc/{pid}")
    for entry in (folder / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if (
                entry.readlink() == log.resolve()
                and _access(folder / "fdinfo" / entry.name) != os.O_RDONLY
            ):
                yield int(entry.name)


def _access(info: Path) -> int:
    flags = next(line for line in info.read_text().splitlines() if line.startswith("flags:"))
    return int(flags.split()[1], 8) & (os.O_WRONLY | os.O_RDWR)
