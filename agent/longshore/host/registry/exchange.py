"""Where a registry is reached, and what comes back from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3

from longshore.errors import ImageSourceFailed, ImageSourceUnavailable
from longshore.host.registry.patience import Patience
from longshore.host.registry.pools import Pools
from longshore.host.registry.refusal import BREAKS, broken

#: Of an answer that is an error, this much is read to find out why.
_ERROR_MAX = 16 * 1024
_PIECE = 64 * 1024
_NUMBER = re.compile(r"[0-9]{1,18}")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Endpoint:
    """A registry, or a mirror of it.

    Args:
        url: of its API, up to and with `/v2`, or further for a registry within another.
        namespace: for a mirror: which registry is meant.
        tries: how often to ask before somebody else is asked, or nobody.
    """

    url: str
    pools: Pools
    namespace: str | None = None
    tries: int = 5

    @property
    def where(self) -> str:
        """As errors name it."""
        kind = "mirror" if self.namespace else "registry"
        return f"{kind} {urlsplit(self.url).netloc}"

    @property
    def plain(self) -> bool:
        return urlsplit(self.url).scheme == "http"

    def holds(self, url: str) -> bool:
        """Whether the URL is at this very host: who we are stays between it and us."""
        return origin(url) == origin(self.url)


class Response:
    """An answer whose body is still to be read. Leaving the block closes it."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, where: str, patience: Patience) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.where = where
        self._raw = raw
        self._patience = patience

    def values(self, header: str) -> list[str]:
        """Each value of a header that may stand there several times."""
        return list(self._raw.headers.getlist(header))

    @property
    def retry_after(self) -> float:
        """Seconds that Retry-After (RFC 9110, 10.2.3) asks for; 0 for none and for nonsense."""
        value = self.headers.get("Retry-After", "")
        if (seconds := number(value[:18])) is not None:
            return float(seconds)
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # a time zone of more digits than there are seconds
            return 0.0
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes, as they were sent; empty at the end.

        Raises:
            ImageSourceUnavailable: the connection broke, or nothing came for too long.
        """
        try:
            with self._patience.applied():
                return self._raw.read1(size, decode_content=False) or b""
        except BREAKS as error:
            raise broken(self._patience.task, self.where, error) from error

    def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            ImageSourceFailed: it has more than `limit` bytes.
            ImageSourceUnavailable: as `read1`.
        """
        data = self._beginning(limit + 1)
        if len(data) > limit:
            raise self._patience.task.error(
                ImageSourceFailed, self.where, f"answered with more than {limit} bytes"
            )
        return data

    def why(self) -> bytes:
        """The beginning of a body that says what is wrong, as far as it comes."""
        try:
            return self._beginning(_ERROR_MAX)
        except ImageSourceUnavailable:
            return b""

    def close(self) -> None:
        """Gives the connection back if there is nothing more to come, else closes it."""
        if self.headers.get("Content-Length") == "0":
            self.why()
        if not self._raw.closed:
            self._raw.close()
        self._raw.release_conn()

    def _beginning(self, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        while left and (part := self.read1(min(left, _PIECE))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def number(text: str | None) -> int | None:
    """A header's count of bytes; None for none and for nonsense."""
    return int(text) if text and _NUMBER.fullmatch(text) else None


def location(url: str, to: str) -> str | None:
    """The URL that a Location in the answer from `url` means; None if it is none for HTTP."""
    try:
        target = urljoin(url, to)
        parts = urlsplit(target)
        fine = bool(parts.hostname) and "@" not in parts.netloc and _port(parts) is not None
    except ValueError:
        return None
    return target if to and fine else None


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; ValueError for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, _port(parts)


def _port(parts: SplitResult) -> int | None:
    return _PORTS.get(parts.scheme) and (parts.port or _PORTS[parts.scheme])
