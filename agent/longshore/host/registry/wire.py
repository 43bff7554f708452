"""Sockets that wait by the thread's `Patience`.

urllib3 and http.client know one timeout for one call, and a socket file that has timed out cannot
be read any more. So the waiting is done below them: a socket here is given a short timeout, tries
again when it is over, and lets one pass only when the patience is at its end.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from longshore.errors import DeadlineExceeded, HostBusy
from longshore.host.hangs import Hangs
from longshore.host.registry.patience import current

T = TypeVar("T")
#: Seconds that one address may take to accept a connection.
CONNECT = 10.0
#: http.client reads heads and ends by less than this; more is a body, and may be filled up.
_FILL = 16384
_NAMES = Hangs(20.0)


def _patiently(work: Callable[[], T]) -> T:
    silence = 0.0
    while True:
        try:
            return work()
        except TimeoutError:
            patience = current()
            if patience is None:
                raise
            silence += patience.slice
            patience.silent(silence)


def _fill(read: Callable[[memoryview], int], buffer: Any) -> int:
    """Reads until a large buffer is full, the wire is quiet or it breaks.

    TLS gives 16 KiB at a time: a loop here spares a walk through http.client for each of them.
    What came before a failure counts; the next call meets the failure again.
    """
    view = memoryview(buffer).cast("B")
    filled = _patiently(lambda: read(view))
    while 0 < filled < len(view) > _FILL:
        try:
            count = read(view[filled:])
        except OSError:
            break
        if not count:
            break
        filled += count
    return filled


def _send_all(send: Callable[[memoryview], int], data: Any) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[send(view) :]


class PlainSocket(socket.socket):
    """TCP."""

    def recv(self, *args: Any) -> bytes:
        return _patiently(lambda: super(PlainSocket, self).recv(*args))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        view = memoryview(buffer)[: nbytes or None]
        return _fill(lambda part: super(PlainSocket, self).recv_into(part, 0, flags), view)

    def send(self, *args: Any) -> int:
        return _patiently(lambda: super(PlainSocket, self).send(*args))

    def sendall(self, data: Any, flags: int = 0) -> None:
        _send_all(lambda view: self.send(view, flags), data)


class TlsSocket(ssl.SSLSocket):
    """TLS over TCP."""

    def do_handshake(self, block: bool = False) -> None:
        _patiently(lambda: super(TlsSocket, self).do_handshake(block))

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return _patiently(lambda: super(TlsSocket, self).recv(buflen, flags))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        view = memoryview(buffer)[: nbytes or None]
        return _fill(lambda part: super(TlsSocket, self).recv_into(part, None, flags), view)

    def send(self, data: Any, flags: int = 0) -> int:
        return _patiently(lambda: super(TlsSocket, self).send(data, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        _send_all(lambda view: self.send(view, flags), data)


def connect(host: str, port: int) -> socket.socket:
    """A connection to the first of its addresses that takes one.

    Raises:
        OSError: none does; socket.gaierror: its name is not known.
    """
    try:
        host.encode("idna")
    except UnicodeError as error:  # getaddrinfo would raise the same from another thread
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from error
    patience = current()
    try:
        found = _NAMES.run(
            f"look up {host}",
            host,
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            check=patience.check if patience is not None else None,
        )
    except (DeadlineExceeded, HostBusy) as error:
        raise TimeoutError(f"no name server answers for {host}") from error
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, kind, protocol, _, address in found:
        wire = PlainSocket(family, kind, protocol)
        try:
            _reach(wire, address)
        except OSError as error:
            wire.close()
            failure = error
        except BaseException:
            wire.close()
            raise
        else:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return wire
    raise failure


def _reach(wire: socket.socket, address: Any) -> None:
    wire.setblocking(False)
    code = wire.connect_ex(address)
    if code == errno.EINPROGRESS:
        poll = select.poll()
        poll.register(wire, select.POLLOUT)
        patience, waited = current(), 0.0
        step = patience.slice if patience else CONNECT
        while not poll.poll(step * 1000):
            waited += step
            if patience:
                patience.silent(waited)
            if waited >= CONNECT:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        code = wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    wire.settimeout(slice_length() or CONNECT)


def slice_length() -> float:
    """Seconds that a socket's own timeout should be; 0 where this thread has no patience."""
    patience = current()
    return patience.slice if patience else 0.0
