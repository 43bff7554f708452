"""The caller's half of peers: prove to the agent who calls, and find out whether it is there."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from longshore.errors import HostUnavailable
from longshore.local.peers import path_beside

#: An agent that is alive answers from a thread that does nothing else.
_TIMEOUT = 5.0
_HINTS = {
    FileNotFoundError: "is longshore-agent running? (systemctl status longshore-agent)",
    ConnectionRefusedError: "it has died: systemctl status longshore-agent",
    PermissionError: "are you in the group longshore? (run `id`), or use sudo",
    TimeoutError: "it is stuck or stopped: systemctl status longshore-agent",
}


class Greeting:
    """A connection that stands for this process for as long as it is open. `token` proves it.

    Raises:
        HostUnavailable: no agent answers at `path`.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_TIMEOUT)
        try:
            self._socket.connect(str(path_beside(path)))
            self.token = _line(self._socket)
        except OSError as error:
            self._socket.close()
            raise _unreachable(path, error) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def _line(connection: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\n"):
        piece = connection.recv(64)
        if not piece:
            raise ConnectionResetError(0, "it closed the connection")
        received += piece
    return received.decode().strip()


def _unreachable(path: Path, error: OSError) -> HostUnavailable:
    hint = next((text for cls, text in _HINTS.items() if isinstance(error, cls)), None)
    return HostUnavailable(
        f"cannot reach the agent at {path}: {error.strerror or error}",
        object=str(path),
        hint=hint,
    )
