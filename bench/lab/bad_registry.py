"""A registry that goes wrong on order, and counts what it served.

    with BadRegistry(tls=certificate) as bad:
        bad.serve(layout, 'app')                       what it has, by tag 'app:latest'
        bad.order(Fault('blob', cut(1000), times=1))   what goes wrong, and how often

It speaks enough of OCI's distribution specification to be pulled from and pushed to. A fault
changes the answer that would have been right; several that match are applied in order.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from bench.lab.certificates import Certificate
from bench.lab.faults import Answer, Fault, Request, error
from bench.lab.image import Layout, digest_of
from bench.lab.token_server import PASSWORD, USER

TOKEN = "lab-token"
_PATHS = (
    ("ping", re.compile(r"/v2/")),
    ("manifest", re.compile(r"/v2/(?P<name>.+)/manifests/(?P<target>[^/]+)")),
    ("begin", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/")),
    ("upload", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<target>[^/]+)")),
    ("blob", re.compile(r"/(?:v2/(?P<name>.+)/blobs|elsewhere)/(?P<target>[^/]+)")),
    ("token", re.compile(r"/token")),
)


class BadRegistry:
    """Args:
    tls: its certificate; without: plain HTTP.
    auth: `basic` or `bearer`; who it lets in is USER, and whoever has
        a token that begins with TOKEN.
    host: a name or address of loopback; others than 127.0.0.1 are another host to clients.
    """

    def __init__(
        self, tls: Certificate | None = None, auth: str = "", host: str = "127.0.0.1"
    ) -> None:
        self.auth = auth
        self.documents: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.ranges = True
        #: Everything that was asked, in order, with the status that was meant to be answered.
        self.seen: list[tuple[Request, int]] = []
        self._faults: list[Fault] = []
        self._uploads: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registry = self
        if tls:
            self._server.socket = tls.server().wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"{host}:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def serve(self, layout: Layout, tag: str = "latest") -> str:
        """Takes a layout's blobs, and its last manifest under the tag; returns its digest."""
        for digest, content in layout.blobs.items():
            self.blobs[f"sha256:{digest}"] = content
        last = layout.manifests[-1]
        for media, content in ((one["mediaType"], self.blobs.get(one["digest"], b""))
                               for one in layout.manifests):  # fmt: skip
            self.documents[digest_of(content)] = (media, content)
        self.documents[tag] = (last["mediaType"], self.blobs.get(last["digest"], b""))
        return str(last["digest"])

    def order(self, *faults: Fault) -> None:
        self._faults += faults

    def count(self, kind: str, method: str = "GET") -> int:
        return sum((one.kind, one.method) == (kind, method) for one, _ in self.seen)

    def begin(self, upload: str) -> None:
        """As if a client had begun an upload of that name."""
        self._uploads[upload] = b""

    def answer(self, request: Request, query: Mapping[str, list[str]], sent: bytes) -> Answer:
        """The right answer to a request that may be made, with the faults that it meets."""
        with self._lock:
            answer = self._refusal(request) or self._right(request, query, sent)
            for fault in self._faults:
                if fault.meets(request):
                    answer = fault.change(request, answer)
            self.seen.append((request, answer.status))
        return answer

    def _refusal(self, request: Request) -> Answer | None:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.kind == "token":
            good = request.auth in ("", basic)
            return None if good else error(401, "UNAUTHORIZED")(request, Answer(401))
        challenges = {
            "basic": (basic, 'Basic realm="lab"'),
            "bearer": (f"Bearer {TOKEN}", f'Bearer realm="{self.url}/token",service="lab"'),
        }
        wanted, challenge = challenges.get(self.auth, ("", ""))
        if request.auth.startswith(wanted):
            return None
        return error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)(request, Answer(401))

    def _right(self, request: Request, query: Mapping[str, list[str]], sent: bytes) -> Answer:
        match (request.method, request.kind):
            case (_, "ping"):
                return Answer(200)
            case (_, "token"):
                # Another one each time, as real ones are.
                token = {"token": f"{TOKEN}-{len(self.seen)}", "expires_in": 300}
                return Answer(200, body=json.dumps(token).encode())
            case ("GET" | "HEAD", "manifest"):
                return self._document(request)
            case ("GET" | "HEAD", "blob"):
                return self._blob(request)
            case ("PUT", "manifest"):
                self.documents[request.target] = self.documents[digest_of(sent)] = ("", sent)
                return Answer(201).having(Docker_Content_Digest=digest_of(sent))
            case (_, "begin" | "upload"):
                return self._upload(request, query, sent)
        return error(404, "UNSUPPORTED")(request, Answer(404))

    def _document(self, request: Request) -> Answer:
        if request.target not in self.documents:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")(request, Answer(404))
        media, content = self.documents[request.target]
        return Answer(200, body=content).having(
            Content_Type=media, Docker_Content_Digest=digest_of(content)
        )

    def _blob(self, request: Request) -> Answer:
        content = self.blobs.get(request.target)
        if content is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")(request, Answer(404))
        common = {"Docker-Content-Digest": request.target, "Accept-Ranges": "bytes"}
        if request.start is None or not self.ranges:
            return Answer(200, common, content)
        stop = len(content) if request.stop is None else min(request.stop, len(content))
        if request.start >= len(content):
            return Answer(416, {"Content-Range": f"bytes */{len(content)}"})
        shown = f"bytes {request.start}-{stop - 1}/{len(content)}"
        return Answer(206, common | {"Content-Range": shown}, content[request.start : stop])

    def _upload(self, request: Request, query: Mapping[str, list[str]], sent: bytes) -> Answer:
        upload = request.target or str(uuid4())
        if request.kind == "upload" and upload not in self._uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")(request, Answer(404))
        whole = self._uploads[upload] = self._uploads.get(upload, b"") + sent
        if request.method == "PUT":
            del self._uploads[upload]
            digest = query.get("digest", [""])[0]
            if digest_of(whole) != digest:
                return error(400, "DIGEST_INVALID")(request, Answer(400))
            self.blobs[digest] = whole
            return Answer(201).having(Docker_Content_Digest=digest)
        if request.method == "DELETE":
            del self._uploads[upload]
        return Answer(204 if request.method in ("GET", "DELETE") else 202).having(
            Location=f"/v2/up/blobs/uploads/{upload}?state=lab",
            Range=f"0-{max(0, len(whole) - 1)}",
            Docker_Upload_UUID=upload,
        )

    def kept(self, upload: str, sent: bytes) -> None:
        """What came of an upload whose connection ended."""
        with self._lock:
            if upload in self._uploads:
                self._uploads[upload] += sent

    def ordered_take(self, request: Request) -> int | None:
        """How much of the request's body will be read, if not all of it."""
        with self._lock:
            for fault in self._faults:
                taken = fault.change(request, Answer(0)).take
                if taken is not None and fault.meets(request):
                    self.seen.append((request, 0))
                    return taken
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
        self._server.shutdown()
        self._thread.join()
        self._server.end_all()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Ends its connections when it closes, also those that stall."""

    registry: BadRegistry
    daemon_threads = False

    def __init__(self, *words: object) -> None:
        super().__init__(*words)  # type: ignore[arg-type]  # passed on as they are
        self.released = threading.Event()
        self._open: set[socket.socket] = set()

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def end_all(self) -> None:
        self.released.set()
        for wire in list(self._open):
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or does not trust us, is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def _do(self) -> None:
        registry = self.server.registry
        url = urlsplit(self.path)
        request = _request(self.command, url.path, self.headers)
        taken = registry.ordered_take(request) if request.length else None
        if taken is not None:
            registry.kept(request.target, self.rfile.read(min(taken, request.length)))
            return self._end(reset=False)
        sent = self.rfile.read(request.length) if request.length else self._chunks()
        return self._send(registry.answer(request, parse_qs(url.query), sent))

    # http.server calls what is named so.
    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815

    def _chunks(self) -> bytes:
        parts = []
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        return b"".join(parts)

    def _send(self, answer: Answer) -> None:
        if answer.stall == -1:
            self.server.released.wait()
        if -1 in (answer.stall, answer.cut):
            return self._end(reset=answer.reset)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        length = len(answer.body) if answer.length is None else answer.length
        if answer.status != 204 and length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return None
        early = min((at for at in (answer.cut, answer.stall) if at is not None), default=None)
        self.wfile.write(answer.body[:early])
        if answer.stall is not None:
            self.server.released.wait()
        if early is not None or length != len(answer.body):
            return self._end(reset=answer.reset)
        return None

    def _end(self, *, reset: bool) -> None:
        """No more bytes, and no farewell of TLS either."""
        self.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *words: object) -> None:
        """Silent: `seen` tells."""


def _request(method: str, path: str, given: Message) -> Request:
    kind, found = next(
        ((kind, match) for kind, pattern in _PATHS if (match := pattern.fullmatch(path))),
        ("other", None),
    )
    target = (found.groupdict().get("target") or "") if found else ""
    span = re.fullmatch(r"bytes=(\d+)-(\d*)", given.get("Range", ""))
    start, stop = (int(span[1]), int(span[2]) + 1 if span[2] else None) if span else (None, None)
    auth, size = given.get("Authorization", ""), int(given.get("Content-Length", "0"))
    return Request(method, kind, target, auth, start, stop, size)
