"""A wire that breaks: a port in front of another one of this machine.

with Wire(registry.port, cuts=[1_000_000]) as wire:  → wire.port
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self


class Wire:
    """Passes connections on to `port` of 127.0.0.1.

    Args:
        cuts: after so many bytes in one direction a connection ends; one entry per such end, in
            order. What comes after them goes through.
        toll: called with the size of each piece that comes from there, before it goes on; it may
            wait.
    """

    def __init__(
        self, port: int, cuts: Sequence[int] = (), toll: Callable[[int], None] | None = None
    ) -> None:
        self._far = port
        self._toll = toll
        self._cuts = list(cuts)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def left(self) -> int:
        """How many cuts are still to come."""
        return len(self._cuts)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut(self._listener)
        self._threads[0].join()
        _shut(*self._ends)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._far))
                except OSError:
                    near.close()  # As much as a client sees of nobody at the other end.
                    continue
                self._ends += (near, far)
                for ends in ((near, far, None), (far, near, self._toll)):
                    thread = threading.Thread(target=self._copy, args=ends)
                    self._threads.append(thread)
                    thread.start()

    def _copy(
        self, source: socket.socket, sink: socket.socket, toll: Callable[[int], None] | None
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                passed += len(chunk)
                if self._is_cut(passed):
                    break
                if toll:
                    toll(len(chunk))
                sink.sendall(chunk)
        _shut(source, sink)

    def _is_cut(self, passed: int) -> bool:
        with self._lock:
            if not self._cuts or passed < self._cuts[0]:
                return False
            self._cuts.pop(0)
            return True


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
