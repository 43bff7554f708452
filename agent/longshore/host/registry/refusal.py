"""What a registry's answer, or the want of one, is as an error of ours.

No header, no query and nothing that we sent is in it: of the answer only what the distribution
specification lets a registry say to people, `errors[0].code` and `.message`.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from urllib3.exceptions import HTTPError, LocationParseError, ProxyError

from longshore.errors import (
    ImageNotFound,
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
)

_SHOWN = 200
_CODE = 40
_ERRORS: Mapping[int, type[LongshoreError]] = {
    401: ImageSourceDenied,
    403: ImageSourceDenied,
    404: ImageNotFound,
    408: ImageSourceUnavailable,
    425: ImageSourceUnavailable,
    429: ImageSourceUnavailable,
    500: ImageSourceUnavailable,
    502: ImageSourceUnavailable,
    503: ImageSourceUnavailable,
    504: ImageSourceUnavailable,
}
_WORDS: Mapping[int, str] = {
    401: "wants other credentials",
    403: "forbids it",
    404: "does not have it",
    407: "is behind a proxy that wants credentials",
    429: "has had too many requests",
}
_CODES: Mapping[str, str] = {
    "NAME_UNKNOWN": "has no such repository",
    "MANIFEST_UNKNOWN": "has no such image in that repository",
}
#: OpenSSL's reason → what is wrong, and what can be done.
_TLS: Mapping[str, tuple[str, str]] = {
    "CERTIFICATE_VERIFY_FAILED": (
        "its certificate is not trusted",
        "name its authority's file as `ca` of this registry in the registries file",
    ),
    **dict.fromkeys(
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"),
        (
            "it does not speak TLS",
            "`plain_http = true` of this registry in the registries file allows it to do without",
        ),
    ),
    **dict.fromkeys(
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "TLSV1_ALERT_UNKNOWN_CA",
        ),
        (
            "it wants a client certificate of its own authority",
            "name one as `client_cert` and `client_key` of this registry in the registries file",
        ),
    ),
}
#: For errors that bring none of their own.
_HINTS: Mapping[type[LongshoreError], str] = {
    ImageSourceDenied: "send a credential with the request, or name one as `credential` of this "
    "registry in the registries file",
}
#: What a connection may raise before, while and after it answers.
BREAKS = (HTTPError, OSError)


@dataclass(frozen=True)
class Task:
    """What the errors of one transfer name: `what` completes 'cannot …'."""

    what: str
    object: str

    def error(
        self, kind: type[LongshoreError], where: str, why: str, hint: str | None = None
    ) -> LongshoreError:
        hint = hint or _HINTS.get(kind)
        return kind(f"cannot {self.what}: {where} {why}", object=self.object, hint=hint)


def broken(task: Task, where: str, error: HTTPError | OSError) -> LongshoreError:
    """There was no answer, or not the whole of it.

    Args:
        where: who did not answer, as people know it.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLError) and (known := _TLS.get(one.reason or "")):
            detail = getattr(one, "verify_message", "")
            why = f"cannot be trusted: {known[0]}{f' ({detail})' if detail else ''}"
            return task.error(ImageSourceFailed, where, why, known[1])
    if any(isinstance(one, LocationParseError) for one in chain):
        return task.error(ImageSourceFailed, where, "sent us to an address that is none")
    through = " through its proxy" if any(isinstance(one, ProxyError) for one in chain) else ""
    return task.error(ImageSourceUnavailable, where, f"does not answer{through}: {_reason(chain)}")


def refused(
    task: Task, where: str, status: int, body: bytes, secrets: Collection[str] = ()
) -> LongshoreError:
    """The registry answered that it would not.

    Args:
        body: the beginning of its answer.
        secrets: what we sent and nobody else may see, should the answer repeat it.
    """
    code, message = _said(body)
    why = _CODES.get(code) or _WORDS.get(status) or "refused it"
    parts = (shown(code, secrets, _CODE), shown(message, secrets))
    said = ": ".join(part for part in parts if part)
    kind = _ERRORS.get(status, ImageSourceUnavailable if status > 505 else ImageSourceFailed)
    return task.error(kind, where, f"{why} (status {status}{f', {said}' if said else ''})")


def shown(text: str, secrets: Collection[str] = (), most: int = _SHOWN) -> str:
    """A stranger's text, fit for a line of a log: `most` characters of its first line.

    Cut last: the beginning of a secret is not recognised any more.
    """
    text = _printable(text)
    # The longest first: one may be a part of another.
    for secret in sorted(map(_printable, secrets), key=len, reverse=True):
        if secret:
            text = text.replace(secret, "…")
    return text.strip().partition("\n")[0][:most].rstrip()


def _printable(text: str) -> str:
    """And line ends."""
    return "".join(char for char in text if char.isprintable() or char == "\n")


def _said(body: bytes) -> tuple[str, str]:
    """Code and message of the first error; empty where the body is not what it should be."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = first.get("code") or "", first.get("message") or ""
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    if not isinstance(code, str) or not isinstance(message, str):
        return "", ""
    return code, message


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was made of."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        parts = [*one.args, one.__cause__, one.__context__, getattr(one, "original_error", None)]
        waiting += [part for part in parts if isinstance(part, BaseException)]


def _reason(chain: list[BaseException]) -> str:
    """In the kernel's, the resolver's or OpenSSL's words."""
    for one in chain:
        if isinstance(one, socket.gaierror):
            return "its name is not known"
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return f"TLS broke off ({one.reason or 'no reason given'})"
        if isinstance(one, OSError) and one.strerror:
            return one.strerror.lower()
        if isinstance(one, TimeoutError) and one.args:
            return str(one)
    return "the connection broke off"
