"""A proxy before the real Glance that does to its answers what networks and servers do."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

#: Does something to the answer of one request and returns True, or leaves it as it is.
Fault = Callable[["Handler"], bool]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Plan:
    """Faults for the requests to come whose path ends so, the first for the first."""

    suffix: str = ""
    faults: list[Fault] = field(default_factory=list)


class GlanceProxy:
    """`proxy.order('/file', cut(1000))`: the next request for data is cut off there."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.plan = Plan()
        #: What stalls goes on once this is set.
        self.release = threading.Event()
        self._guard = threading.Lock()
        proxy = self

        class Bound(Handler):
            upstream = port
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def order(self, suffix: str, *faults: Fault) -> None:
        """Also forgets what was asked."""
        with self._guard:
            self.plan, self.asked = Plan(suffix, list(faults)), []

    def requests(self, suffix: str) -> list[Asked]:
        with self._guard:
            return [one for one in self.asked if one.path.endswith(suffix)]

    def note(self, asked: Asked) -> Fault | None:
        with self._guard:
            self.asked.append(asked)
            plan = self.plan
            if plan.faults and asked.path.partition("?")[0].endswith(plan.suffix):
                return plan.faults.pop(0)
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: int
    owner: GlanceProxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: tests look at `asked`."""

    def forward(
        self,
        *,
        keep_range: bool = True,
        sent_as: Callable[[bytes], bytes] = bytes,
        change: Callable[[bytes], bytes] = bytes,
        headers: Callable[[dict[str, str]], None] = lambda _: None,
        cut: int | None = None,
    ) -> None:
        """Asks Glance and answers with what it says, changed."""
        size = int(self.headers.get("Content-Length", 0))
        body = sent_as(self.rfile.read(size))
        sent = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("host", "connection") and (keep_range or name != "Range")
        }
        wire = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)
        try:
            wire.request(self.command, self.path, body, sent)
            answer = wire.getresponse()
            data = change(answer.read())
        finally:
            wire.close()
        self.send_response(answer.status)
        said = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("connection", "transfer-encoding", "date", "server")
        }
        said["Content-Length"] = str(len(data))
        headers(said)
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def _answer(self) -> None:
        asked = Asked(
            self.command, self.path, self.headers.get("Range"), self.headers.get("X-Auth-Token")
        )
        fault = self.owner.note(asked)
        if fault is None or not fault(self):
            self.forward()

    do_GET = _answer  # noqa: N815 - http.server's names
    do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names


def cut(after: int) -> Fault:
    """The connection ends after so many bytes of the body."""

    def fault(handler: Handler) -> bool:
        handler.forward(cut=after)
        return True

    return fault


def ignores_range(handler: Handler) -> bool:
    handler.forward(keep_range=False)
    return True


def other_range(handler: Handler) -> bool:
    """Another part of the data than was asked for."""

    def lie(headers: dict[str, str]) -> None:
        headers["Content-Range"] = "bytes 0-9/10"

    handler.forward(headers=lie)
    return True


def falsified(handler: Handler) -> bool:
    """One bit of the data is another one."""
    handler.forward(change=lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    return True


def corrupts(handler: Handler) -> bool:
    """One bit of what is sent to Glance is another one there."""
    handler.forward(sent_as=lambda data: bytes([data[0] ^ 1]) + data[1:])
    return True


def hangs_up(handler: Handler) -> bool:
    """In the middle of what it is sent."""
    handler.rfile.read(4096)
    handler.close_connection = True
    return True


def longer(handler: Handler) -> bool:
    handler.forward(change=lambda data: data + b"more")
    return True


def stall(after: int) -> Fault:
    """So many bytes of the body, and then nothing, until the proxy is released."""

    def fault(handler: Handler) -> bool:
        handler.forward(cut=after)
        handler.owner.release.wait(60)
        return True

    return fault


def status(code: int, **headers: str) -> Fault:
    """An answer that Glance did not give."""

    def fault(handler: Handler) -> bool:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        page = b"<html><head><title>x</title></head><body>busy</body></html>"
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(page)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(page)
        return True

    return fault


def body(data: bytes) -> Fault:
    """200 with this body."""

    def fault(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return True

    return fault
