"""Whom a call comes from, vouched for by the kernel.

grpc does not tell which connection a call came in by, so SO_PEERCRED cannot be asked about it.
A caller therefore opens the socket beside the API's as well, where the agent reads its
credentials and hands it a token, good for as long as that connection is open; the token comes
with each call. A call without one is put down to the processes connected just then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import selectors
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from longshore.local import sockets

LOG = logging.getLogger(__name__)
#: Name of the metadata that carries the token.
METADATA = "longshore-peer"
#: In the initial metadata of a stream that has begun, so that a refusal can be told from it.
BEGUN = ("longshore-begun", "1")
_UCRED = struct.Struct("3i")
_CONNECTIONS_MAX = 1024


@dataclass(frozen=True)
class Peer:
    """Credentials of the process that connected, as of then."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"uid={self.uid} gid={self.gid} pid={self.pid}"


def path_beside(path: Path) -> Path:
    """Where the tokens for the API at `path` are handed out."""
    return path.with_name(path.name + ".peer")


def credentials(connection: socket.socket) -> Peer:
    pid, uid, gid = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return Peer(pid, uid, gid)


class Peers:
    """Hands out tokens at `path_beside(path)` from a thread of its own, until `stop`."""

    def __init__(self, path: Path, group: str) -> None:
        self._path = path_beside(path)
        self._tokens: dict[str, Peer] = {}
        self._bound = ""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        with sockets.publishing(self._path, group) as hidden:
            self._listener.bind(str(hidden))
            self._listener.listen(64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="local-peers")

    def start(self, bound: Path) -> None:
        """`bound`: the path that the API's own socket was bound to."""
        self._bound = str(bound)
        self._thread.start()

    def stop(self) -> None:
        self._wake.close()
        if self._thread.ident is not None:
            self._thread.join()
        self._path.unlink(missing_ok=True)
        self._close_all()

    def origin(self, token: str | None) -> str:
        """Who is calling, for the log and the record: `local uid=0 gid=0 pid=12`."""
        peer = self._tokens.get(token or "")
        if peer is not None:
            return f"local {peer}"
        connected = sorted({str(one) for one in _connected(self._bound)})
        if len(connected) == 1:
            return f"local {connected[0]}"
        return f"local, one of: {'; '.join(connected) or 'nobody connected any more'}"

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._forget(key)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            if len(self._tokens) >= _CONNECTIONS_MAX:
                LOG.warning("refused a local caller: %s are connected", _CONNECTIONS_MAX)
                connection.close()
                return
            token = secrets.token_hex(16)
            self._tokens[token] = credentials(connection)
            self._selector.register(connection, selectors.EVENT_READ, token)
            connection.setblocking(False)
            connection.send(f"{token}\n".encode())

    def _forget(self, key: selectors.SelectorKey) -> None:
        """A caller has nothing to say here: whatever arrives ends it, first of all its leaving."""
        self._tokens.pop(key.data, None)
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()

    def _close_all(self) -> None:
        for key in list((self._selector.get_map() or {}).values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._tokens.clear()


def _connected(bound: str) -> list[Peer]:
    """The processes at the other ends of the sockets that grpc accepted at `bound`."""
    peers = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{entry}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry))) as one:
                    if one.family == socket.AF_UNIX and one.getsockname() == bound:
                        one.getpeername()
                        peers.append(credentials(one))
    return peers
