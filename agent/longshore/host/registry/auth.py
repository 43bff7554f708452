"""Who we say we are to one registry: nobody, a user with a password, or the bearer of a token.

A registry says in `WWW-Authenticate` what it wants. Docker's token specification: with `Bearer`
a client asks `realm` for a token good for `service` and `scope`, and says there who it is, by
GET with basic authentication or by OAuth2's POST with a refresh token. So the registry says who
is told our password, unless the node says it.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from longshore.errors import ImageSourceDenied, ImageSourceFailed
from longshore.host.registry.exchange import origin
from longshore.host.registry.patience import Patience
from longshore.model.transfer import Credential

_CLIENT = "longshore"
#: What the token specification says for a token without `expires_in`.
_LIFETIME = 60.0
#: A token is not used in its last seconds: a request takes a while to get there.
_MARGIN = 5.0
_TOKEN_MAX = 1024 * 1024
_SCHEME = re.compile(r"\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s+|$)")
_PARAMETER = re.compile(
    r'[\s,]*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))'
)


class Fetch(Protocol):
    """Asks a token server; raises LongshoreError unless the answer is a good one."""

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> bytes: ...


@dataclass(frozen=True)
class Challenge:
    """`scheme` in lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class _Held:
    header: str
    until: float


def challenges(values: Sequence[str]) -> list[Challenge]:
    """What the values of WWW-Authenticate (RFC 9110, 11.6.1) ask for; several may stand in one."""
    return [one for value in values for one in _challenges(value)]


def _challenges(value: str) -> Iterator[Challenge]:
    at = 0
    while scheme := _SCHEME.match(value, at):
        at = scheme.end()
        parameters: dict[str, str] = {}
        while found := _PARAMETER.match(value, at):
            quoted, plain = found[2], found[3]
            parameters[found[1].lower()] = (
                plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            )
            at = found.end()
        yield Challenge(scheme[1].lower(), parameters)
        while at < len(value) and value[at] in ", \t":
            at += 1


class Authorizer:
    """The Authorization headers for one registry and one credential; remembers tokens.

    Args:
        where: the registry, as errors name it.
        credential: asked each time, because a file may hold it; None: anonymous.
        plain: whether the registry itself is spoken to without TLS.
        token_server: the URL of the only one that is asked for tokens, whatever its path is if
            none is written there; None: any that the registry names.
    """

    def __init__(
        self,
        where: str,
        credential: Callable[[], Credential | None],
        *,
        plain: bool,
        token_server: str | None = None,
    ) -> None:
        self._where = where
        self._credential = credential
        self._plain = plain
        self._token_server = token_server
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._basic = False

    def header(self, scope: str, patience: Patience) -> str | None:
        """What is known to be wanted; None before the registry has asked."""
        held = self._held.get(scope)
        if held is not None and patience.time.now() < held.until:
            return held.header
        credential = self._credential()
        if credential is None:
            return None
        if credential.token:
            return f"Bearer {credential.token}"
        return _basic(credential) if self._basic else None

    def secrets(self) -> list[str]:
        """What no error may show."""
        found = [held.header.partition(" ")[2] for held in list(self._held.values())]
        credential = self._credential()
        if credential is not None:
            found += [credential.password, credential.token]
            found.append(_basic(credential).partition(" ")[2] if credential.username else "")
        return [secret for secret in found if secret]

    def answer(
        self,
        asked: Sequence[str],
        scope: str,
        sent: str | None,
        patience: Patience,
        fetch: Fetch,
    ) -> str:
        """The header for a request that came back with 401.

        Args:
            asked: the values of its WWW-Authenticate.
            scope: what is wanted, as `repository:library/busybox:pull`.
            sent: the header that was not good enough.

        Raises:
            ImageSourceDenied: what we have does not do.
            ImageSourceFailed: the registry asks for what nobody can do.
        """
        with self._alone(patience):
            held = self._held.get(scope)
            if held and held.header != sent and patience.time.now() < held.until:
                return held.header  # another thread was here first
            by_scheme = {one.scheme: one for one in reversed(challenges(asked))}
            if bearer := by_scheme.get("bearer"):
                lacking = bearer.parameters.get("error") == "insufficient_scope"
                if lacking and held and held.header == sent:
                    raise patience.task.error(
                        ImageSourceDenied, self._where, "does not let us, or has no such repository"
                    )
                self._forget(scope, patience)
                held = self._ask(bearer, scope, patience, fetch)
                self._held[scope] = held
                return held.header
            if "basic" not in by_scheme:
                known = ", ".join(sorted(by_scheme)) or "nothing"
                raise patience.task.error(
                    ImageSourceFailed, self._where, f"wants authentication by {known:.100}"
                )
            return self._name(sent, patience)

    def _forget(self, scope: str, patience: Patience) -> None:
        """The token that was refused, and those that have run out."""
        self._held.pop(scope, None)
        now = patience.time.now()
        self._held = {one: held for one, held in self._held.items() if now < held.until}

    def _name(self, sent: str | None, patience: Patience) -> str:
        credential = self._credential()
        if credential is None or not credential.username:
            raise patience.task.error(
                ImageSourceDenied, self._where, "wants a user's name and password"
            )
        header = _basic(credential)
        if header == sent:
            raise patience.task.error(
                ImageSourceDenied, self._where, "does not know this user and password"
            )
        self._basic = True
        return header

    def _ask(self, challenge: Challenge, scope: str, patience: Patience, fetch: Fetch) -> _Held:
        realm = challenge.parameters.get("realm", "")
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
            raise patience.task.error(ImageSourceFailed, self._where, "names no server for tokens")
        if parts.scheme == "http" and not self._plain:
            raise patience.task.error(
                ImageSourceFailed,
                self._where,
                f"wants our credentials sent to {parts.netloc} without TLS",
            )
        if self._token_server is not None and not _is_at(self._token_server, realm):
            raise patience.task.error(
                ImageSourceDenied,
                self._where,
                f"wants our credentials sent to {parts.netloc:.100}, which is not its token server "
                f"{self._token_server}",
                "`token_server` of this registry in the registries file says which one is",
            )
        query = {"scope": _scopes(challenge.parameters.get("scope", ""), scope)}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        began = patience.time.now()
        credential = self._credential()
        if credential is not None and credential.token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": credential.token,
                "client_id": _CLIENT,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            data = fetch("POST", realm, headers, urlencode(form).encode(), _TOKEN_MAX)
        else:
            headers = {"Authorization": _basic(credential)} if credential else {}
            words = [*parse_qsl(parts.query, keep_blank_values=True), *query.items()]
            url = parts._replace(query=urlencode(words), fragment="").geturl()
            data = fetch("GET", url, headers, None, _TOKEN_MAX)
        token, lifetime = self._token(data, patience)
        return _Held(f"Bearer {token}", began + max(lifetime - _MARGIN, lifetime / 2))

    def _token(self, data: bytes, patience: Patience) -> tuple[str, float]:
        try:
            answer: Any = json.loads(data)
            token = answer.get("token") or answer.get("access_token")
            lifetime = answer.get("expires_in") or _LIFETIME
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not is_token(token):
            raise patience.task.error(
                ImageSourceFailed, self._where, "has a server for tokens that gives none"
            )
        good = isinstance(lifetime, int | float) and lifetime > 0
        return token, float(lifetime) if good else _LIFETIME

    @contextmanager
    def _alone(self, patience: Patience) -> Iterator[None]:
        """One thread asks for a token; those that wait for it can still be called off."""
        while not self._lock.acquire(timeout=patience.slice):
            patience.go_on()
        try:
            yield
        finally:
            self._lock.release()


def _is_at(server: str, realm: str) -> bool:
    """Not by what the path begins with: a way up in it may lead elsewhere."""
    path = urlsplit(server).path
    try:
        return origin(realm) == origin(server) and path in ("", urlsplit(realm).path)
    except ValueError:
        return False


def is_token(text: str) -> bool:
    """Whether it can stand in a header."""
    return text.isascii() and text.isprintable() and bool(text)


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _scopes(asked: str, wanted: str) -> str:
    """The registry's scopes, with all that we want of ours."""
    resource, _, _ = wanted.rpartition(":")
    others = [one for one in asked.split() if one.rpartition(":")[0] != resource]
    return " ".join([wanted, *others])
