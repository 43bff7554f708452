"""Costs counted from outside: calls to containerd, system calls, transactions."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEADERS = 1


@dataclass
class CallCounter:
    """Stands between the agent and containerd, passes everything on, and counts the calls.

    Each gRPC call is one HTTP/2 stream, which the caller opens with one HEADERS frame.
    """

    at: Path
    to: Path
    calls: int = 0
    _wires: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> CallCounter:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.at))
        self._listener.listen()
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for wire in (self._listener, *self._wires):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()
        for thread in self._threads:
            thread.join(10.0)
        self.at.unlink()

    def _run(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed by __exit__
            while True:
                agent, _ = self._listener.accept()
                containerd = socket.socket(socket.AF_UNIX)
                self._wires += [agent, containerd]
                containerd.connect(str(self.to))
                self._run(self._pass_on, agent, containerd, True)
                self._run(self._pass_on, containerd, agent, False)

    def _pass_on(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        buffered, skip = b"", _PREFACE
        with suppress(OSError):
            while data := source.recv(65536):
                if count:
                    buffered, skip = self._count(buffered + data, skip)
                target.sendall(data)
        for wire in (source, target):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def _count(self, data: bytes, skip: int) -> tuple[bytes, int]:
        """Returns what is not a whole frame's head yet, and how much of the next to leave out."""
        while len(data) >= skip + 9:
            data = data[skip:]
            skip = 9 + int.from_bytes(data[:3], "big")
            self.calls += data[3] == _HEADERS
        return (b"", skip - len(data)) if len(data) < skip else (data[skip:], 0)


@contextmanager
def strace(pid: int, output: Path, *names: str) -> Iterator[None]:
    """Notes these system calls of the process and all its threads and children in `output`."""
    wanted = f"trace={','.join(names)}"
    command = ["strace", "-f", "-y", "-o", str(output), "-e", wanted, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        # It says so once it is attached to all threads.
        assert "attached" in child.stderr.readline()
        try:
            yield
        finally:
            child.terminate()


def traced(output: Path, pattern: str) -> list[str]:
    return [line for line in output.read_text().splitlines() if re.search(pattern, line)]


def commits(journal: Path) -> int:
    """How many transactions wrote to the journal since its WAL began anew.

    The frame that ends a transaction holds the database's size, all others 0 (sqlite.org).
    """
    wal = journal.with_name(journal.name + "-wal").read_bytes()
    page_size, salts = struct.unpack(">I", wal[8:12])[0], wal[16:24]
    found = 0
    for start in range(32, len(wal), 24 + page_size):
        if wal[start + 8 : start + 16] != salts:
            break
        found += wal[start + 4 : start + 8] != b"\0" * 4
    return found


def settle(count: object, seconds: float = 0.3) -> None:
    """Waits until the counter has stood still for so long."""
    assert callable(count)
    last, since = count(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.02)
        if (now := count()) != last:
            last, since = now, time.monotonic()
