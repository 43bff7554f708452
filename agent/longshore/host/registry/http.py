"""One request to one repository of a registry: with its token, redirects, and another try.

    repository = Repository(endpoint, 'library/busybox', authorizer, patience)
    with repository.request('GET', 'blobs/sha256:…') as response:
        while piece := response.read1(2**20): …

An answer that is none of `good` is raised as an error of ours. What may pass (429, 5xx, a broken
connection) is tried again, `endpoint.tries` times in all, a while later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar
from urllib.parse import quote, urlsplit

from longshore import __version__
from longshore.errors import (
    ImageNotFound,
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    LongshoreError,
)
from longshore.host.registry.auth import Authorizer
from longshore.host.registry.exchange import Endpoint, Response, location
from longshore.host.registry.patience import Patience
from longshore.host.registry.pools import Body
from longshore.host.registry.refusal import BREAKS, broken, refused

T = TypeVar("T")
_HEADERS: Mapping[str, str] = {
    "User-Agent": f"longshore/{__version__}",
    # A blob's digest is of the bytes that are sent.
    "Accept-Encoding": "identity",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX = 10
#: An answer of 401 is met with a token twice: the first may be one that has just run out.
_TOKENS = 2


class _Failed(Exception):
    """One try came to nothing; `asked`: seconds that the registry wants to be left alone."""

    def __init__(self, error: LongshoreError, asked: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.asked = asked


class Repository:
    """One repository, for as long as one transfer takes.

    Args:
        path: the repository's name within the registry.
        actions: what the transfer needs to do there, `pull` or `pull,push`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        authorizer: Authorizer,
        patience: Patience,
        actions: str = "pull",
    ) -> None:
        self.endpoint = endpoint
        self.patience = patience
        self._authorizer = authorizer
        self._base = f"{endpoint.url}/{path}/"
        name = urlsplit(self._base).path.partition("/v2/")[2].strip("/")
        self._scope = f"repository:{name}:{actions}"

    def error(
        self, kind: type[LongshoreError], why: str, hint: str | None = None
    ) -> LongshoreError:
        """'cannot pull NAME: registry HOST why'."""
        return self.patience.task.error(kind, self.endpoint.where, why, hint)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        good: Collection[int] = (200,),
        tries: int | None = None,
    ) -> Response:
        """Asks until there is an answer that is worth something; the caller closes it.

        Args:
            target: beneath the repository (`blobs/sha256:…`), or a Location that it answered
                with: a path from the root or a whole URL.
            body: bytes, or a function that makes the pieces afresh for each try; with pieces
                comes a Content-Length in `headers`.
            good: the statuses that the caller wants to see.
            tries: instead of the endpoint's.

        Raises:
            ImageNotFound, ImageSourceDenied, ImageSourceFailed, ImageSourceUnavailable, and
            what the patience's check raises.
        """
        url = self._url(target)
        return self._insist(
            tries, lambda: self._good(method, url, {**_HEADERS, **(headers or {})}, body, good)
        )

    def document(
        self, target: str, limit: int, *, headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and whole body, for what is small; a body that breaks off is asked for again.

        Raises:
            ImageSourceFailed: it has more than `limit` bytes.
            As `request`.
        """
        url = self._url(target)

        def once() -> tuple[Mapping[str, str], bytes]:
            with self._good("GET", url, {**_HEADERS, **(headers or {})}, None, (200,)) as response:
                return response.headers, _whole(response, limit)

        return self._insist(None, once)

    def _insist(self, tries: int | None, once: Callable[[], T]) -> T:
        """A failure of the token server comes through: that was tried often enough already."""
        failures = 0
        while True:
            self.patience.go_on()
            try:
                return once()
            except _Failed as failed:
                failures += 1
                if not failed.error.retry or failures >= (tries or self.endpoint.tries):
                    raise failed.error from failed.__cause__
                self.patience.pause(failures, failed.asked)

    def _good(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body,
        good: Collection[int],
    ) -> Response:
        response = self._authorized(method, url, headers, body)
        if response.status in good:
            return response
        with response:
            raise self._refused(response)

    def _refused(self, response: Response) -> _Failed:
        said, secrets = response.why(), self._authorizer.secrets()
        task = self.patience.task
        return _Failed(
            refused(task, response.where, response.status, said, secrets), response.retry_after
        )

    def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], body: Body
    ) -> Response:
        header = self._authorizer.header(self._scope, self.patience)
        response = self._sent(method, url, headers, body, header)
        for _ in range(_TOKENS):
            if response.status != 401 or response.where != self.endpoint.where:
                break
            with response:
                asked = response.values("WWW-Authenticate")
                response.why()
            fresh = self._authorizer.answer(asked, self._scope, header, self.patience, self._token)
            if fresh == header:
                raise self.error(ImageSourceDenied, "does not take the token that it had us get")
            header = fresh
            response = self._sent(method, url, headers, body, header)
        return response

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, header: str | None
    ) -> Response:
        """Follows the registry where it sends us."""
        where = self.endpoint.where
        for _ in range(_REDIRECTS_MAX):
            who = {"Authorization": header} if header and self.endpoint.holds(url) else {}
            response = self._exchange(method, url, {**headers, **who}, body, where)
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            with response:
                response.why()
                url = self._on(url, response.headers.get("Location", ""))
            if not self.endpoint.holds(url):
                where = f"{urlsplit(url).netloc}, where {self.endpoint.where} sent us,"
        raise self.error(ImageSourceFailed, f"sent us on {_REDIRECTS_MAX} times")

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, where: str
    ) -> Response:
        pools, inside = self.endpoint.pools, self.endpoint.holds(url)
        try:
            with self.patience.applied():
                raw = pools.send(method, url, headers, body, inside=inside)
        except BREAKS as error:
            raise _Failed(broken(self.patience.task, where, error)) from error
        response = Response(raw, where, self.patience)
        if method == "HEAD":
            response.why()  # Nothing comes; but only then the connection is free again.
        return response

    def _on(self, url: str, to: str) -> str:
        target = location(url, to)
        if target is None:
            raise self.error(ImageSourceFailed, "sent us to an address that is none")
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise self.error(ImageSourceFailed, "sent us on to a place without TLS")
        return target

    def _url(self, target: str) -> str:
        if target.startswith(("/", "http://", "https://")):
            return self._on(self._base, target)
        url = self._base + quote(target, safe="/:?=&")
        if self.endpoint.namespace is None:
            return url
        return f"{url}{'&' if '?' in url else '?'}ns={quote(self.endpoint.namespace, safe='')}"

    def _token(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> bytes:
        """auth.Fetch. Goes nowhere else if it is sent on: what we are is in it."""
        where = f"token server {urlsplit(url).netloc}"

        def once() -> bytes:
            sent = {**_HEADERS, **headers}
            with self._exchange(method, url, sent, body, where) as response:
                if response.status != 200:
                    raise self._refused(response)
                return _whole(response, limit)

        try:
            return self._insist(None, once)
        except ImageNotFound as error:
            raise self.patience.task.error(
                ImageSourceFailed, where, "is not where the registry says that it is"
            ) from error


def _whole(response: Response, limit: int) -> bytes:
    try:
        return response.read(limit)
    except ImageSourceUnavailable as error:
        raise _Failed(error) from error
