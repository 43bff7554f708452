"""Probes of a server in a container's network, made by the agent itself.

A socket belongs to the network that it was opened in, so only for that a thread goes in there. From
then on there is one deadline for all: a server that sends a byte now and then gains nothing by it.
"""

from __future__ import annotations

import errno
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from longshore import __version__
from longshore.errors import HostFailed, Interrupted, NotFound
from longshore.host import netns
from longshore.model.layout import Layout
from longshore.model.probing import Where

_LOOPBACK, _LOOPBACK_6 = "127.0.0.1", "::1"
#: What connecting says where nobody listens; the second, where there is no such address.
_NOBODY = frozenset({errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.ENETUNREACH})
#: Bytes that an answer's head and the beginning of its body may have together.
_ANSWER_MAX = 65536
#: Bytes of the body that are told where the answer is no good.
_BODY_MAX = 512
_WELL = range(200, 400)
#: A connection, its address, and when all has to be over; whether it is well, and what it said.
_Talk = Callable[[socket.socket, str, float], tuple[bool, str]]


class _TooMuch(Exception):
    """The answer is larger than any that is read."""


class Probes:
    """`Probes` of lifecycle's ports."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._tls = _tls()
        self._held: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def stop(self) -> None:
        """Breaks off those that are under way, for good."""
        with self._lock:
            self._stopping = True
            for wire in self._held:
                with suppress(OSError):  # not connected any more, or not yet
                    # The TLS of one is another thread's at this moment.
                    socket.socket.shutdown(wire, socket.SHUT_RDWR)

    def http(
        self, where: Where, port: int, path: str, *, tls: bool, timeout: float
    ) -> tuple[bool, str]:
        def ask(wire: socket.socket, address: str, until: float) -> tuple[bool, str]:
            if not tls:
                return _ask(wire, address, port, path, until)
            secret = self._tls.wrap_socket(wire, do_handshake_on_connect=False)
            with self._holding(secret):
                secret.settimeout(_left(until))
                secret.do_handshake()
                return _ask(secret, address, port, path, until)

        return self._probe(where, port, timeout, ask)

    def tcp(self, where: Where, port: int, *, timeout: float) -> tuple[bool, str]:
        def well(wire: socket.socket, address: str, until: float) -> tuple[bool, str]:
            return True, f"connected to {_authority(address, port)}"

        return self._probe(where, port, timeout, well)

    def _probe(self, where: Where, port: int, timeout: float, talk: _Talk) -> tuple[bool, str]:
        """What `talk` makes of the first address that lets itself be connected to."""
        until = time.monotonic() + timeout
        for address in dict.fromkeys((_LOOPBACK, *where.addresses, _LOOPBACK_6)):
            at = _authority(address, port)
            try:
                found = self._try(where, address, port, until, talk)
            except TimeoutError:
                return False, f"{at}: no answer in {timeout:g} s"
            except _TooMuch:
                return False, f"{at}: an answer of more than {_ANSWER_MAX} bytes"
            except http.client.HTTPException as error:
                return False, f"{at}: what it answers is not HTTP: {_why(error)}"
            except ssl.SSLError as error:
                return False, f"{at}: no TLS: {error.reason or _why(error)}"
            except OSError as error:
                return False, f"{at}: {error.strerror or _why(error)}"
            if found is not None:
                return found
        return False, f"{_authority(_LOOPBACK, port)}: nobody listens"

    def _try(
        self, where: Where, address: str, port: int, until: float, talk: _Talk
    ) -> tuple[bool, str] | None:
        """None: nobody listens at that address."""
        try:
            wire = self._socket(where, address)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:
                return None
            raise HostFailed(
                f"cannot probe container {where.names.id}: its network cannot be entered: {error}",
                object=where.names.id,
            ) from error
        with self._holding(wire):
            try:
                wire.settimeout(_left(until))
                wire.connect((address, port))
            except OSError as error:
                if error.errno in _NOBODY:
                    return None
                raise
            return talk(wire, address, until)

    @contextmanager
    def _holding(self, wire: socket.socket) -> Iterator[None]:
        """`stop` can break it off meanwhile; closed at the end."""
        with wire:
            with self._lock:
                self._held.add(wire)
                stopping = self._stopping
            try:
                if not stopping:
                    yield
            finally:
                with self._lock:
                    self._held.discard(wire)
                if self._stopping:
                    raise Interrupted("cannot probe: the agent stops")

    def _socket(self, where: Where, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if where.shared:
            return socket.socket(family, socket.SOCK_STREAM)
        try:
            with netns.visited(self._layout.netns(where.names)):
                return socket.socket(family, socket.SOCK_STREAM)
        except FileNotFoundError:
            raise NotFound(
                f"cannot probe container {where.names.id}: its network is gone",
                object=where.names.id,
            ) from None


class _Timed(io.RawIOBase):
    """What comes from a socket, each piece of it no later than the one deadline."""

    def __init__(self, wire: socket.socket, until: float) -> None:
        self._wire = wire
        self._until = until
        self._room = _ANSWER_MAX

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._room <= 0:
            raise _TooMuch
        self._wire.settimeout(_left(self._until))
        count = self._wire.recv_into(memoryview(buffer)[: self._room])
        self._room -= count
        return count


class _Wire:
    """As much of a socket as http.client uses."""

    def __init__(self, wire: socket.socket, until: float) -> None:
        self._wire = wire
        self._until = until

    def sendall(self, data: bytes) -> None:
        self._wire.settimeout(_left(self._until))
        self._wire.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._wire, self._until), 4096)

    def close(self) -> None:
        """Whoever opened it does."""


def _ask(wire: socket.socket, address: str, port: int, path: str, until: float) -> tuple[bool, str]:
    connection = http.client.HTTPConnection(address, port)
    connection.sock = _Wire(wire, until)
    headers = {"User-Agent": f"longshore/{__version__}", "Accept": "*/*", "Connection": "close"}
    connection.request("GET", path, headers=headers)
    with connection.getresponse() as answer:
        told = f"{answer.status} {answer.reason}".strip()
        if answer.status in _WELL:
            return True, told
        body = b""
        # What it answered is known; more of it would only be nice to have.
        with suppress(OSError, _TooMuch, http.client.HTTPException):
            body = answer.read1(_BODY_MAX)
        return False, ": ".join(filter(None, (told, body.decode(errors="replace"))))


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:80]}" if str(error) else type(error).__name__
