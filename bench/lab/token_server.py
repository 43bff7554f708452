"""The server that a registry sends its clients to for a token, with tokens that registries trust.

As Docker's registry wants them (its docs, 'Token Authentication Specification' and 'Token
Implementation'): a JWT signed by RS256, with the signer's certificate in `x5c`.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from bench.lab.certificates import Certificate

USER, PASSWORD = "captain", "of-the-lab"
#: What POST takes instead of a password.
REFRESH_TOKEN = "lab-refresh-token"
ISSUER = "lab-tokens"
SERVICE = "lab-registry"
#: A registry still takes a token this many seconds after its end (distribution 2.8: 60).
_LEEWAY = 90


class TokenServer:
    """`with TokenServer(signer) as tokens:` → `tokens.realm`.

    Anonymous clients may pull from repositories outside `private/`; USER may do everything. GET
    and POST (OAuth2: grants `password` and `refresh_token`) as clients use them.

    Args:
        signer: RSA; its certificate is the registry's `rootcertbundle`.
        tls: what it shows to its clients; without: plain HTTP.
        lifetime: seconds that a token is good for.
    """

    def __init__(
        self, signer: Certificate, tls: Certificate | None = None, lifetime: int = 300
    ) -> None:
        self.signer = signer
        self.lifetime = lifetime
        #: So many of the next tokens are too old already, as the registry sees it.
        self.stale = 0
        #: Scopes asked for, one entry per request, in order.
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.tokens = self
        if tls:
            # The handshake waits for the thread that serves the client.
            self._server.socket = tls.server().wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def realm(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/token"

    def issue(self, scope: str, user: str | None) -> dict[str, Any]:
        """The answer for a scope: what of it the user may have is in the token."""
        now = int(time.time())
        with self._lock:
            self.asked.append(scope)
            late, self.stale = self.stale > 0, max(0, self.stale - 1)
        begin = now - self.lifetime - _LEEWAY if late else now
        claims = {
            "iss": ISSUER,
            "sub": user or "",
            "aud": SERVICE,
            "iat": begin,
            "nbf": begin,
            "exp": begin + self.lifetime,
            "jti": secrets.token_hex(8),
            "access": [access for one in scope.split() if (access := _access(one, user))],
        }
        token = _jwt(self.signer, claims)
        return {"token": token, "access_token": token, "expires_in": self.lifetime,
                "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))}  # fmt: skip

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
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    tokens: TokenServer
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or does not trust us, is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        try:
            text = base64.b64decode(given).decode() if kind.lower() == "basic" else ""
        except ValueError:
            text = "nonsense"
        self._answer(" ".join(query.get("scope", [])), text)

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        form = parse_qs(self.rfile.read(size).decode())

        def field(name: str) -> str:
            return " ".join(form.get(name, []))

        good = field("refresh_token") == REFRESH_TOKEN
        text = f"{USER}:{PASSWORD if good else ''}"
        if field("grant_type") == "password":
            text = f"{field('username')}:{field('password')}"
        self._answer(field("scope"), text)

    def _answer(self, scope: str, given: str) -> None:
        if given not in ("", f"{USER}:{PASSWORD}"):
            return self._send(
                HTTPStatus.UNAUTHORIZED, {"details": "incorrect username or password"}
            )
        return self._send(HTTPStatus.OK, self.server.tokens.issue(scope, USER if given else None))

    def _send(self, status: HTTPStatus, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        """Silent: `asked` tells."""


def _access(scope: str, user: str | None) -> dict[str, Any] | None:
    """`repository:name:pull,push` as an entry of the token; what the user may not do is left
    out."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    wanted = actions.split(",")
    if user is None:
        wanted = [] if name.startswith("private/") else [one for one in wanted if one == "pull"]
    return {"type": kind, "name": name, "actions": wanted} if wanted else None


def _jwt(signer: Certificate, claims: dict[str, Any]) -> str:
    der = ssl.PEM_cert_to_DER_cert(_pem(signer.pem))
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    text = f"{_url64(json.dumps(header).encode())}.{_url64(json.dumps(claims).encode())}"
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", signer.key],
        input=text.encode(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    return f"{text}.{_url64(signed.stdout)}"


def _pem(path: Path) -> str:
    text = path.read_text()
    return text[text.index("-----BEGIN CERTIFICATE-----") :]


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
