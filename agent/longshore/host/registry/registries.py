"""Registries: where the names of images lead, and who may ask there."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from longshore.errors import Interrupted, InvalidRequest
from longshore.host.registry import settings as node
from longshore.host.registry.auth import Authorizer, is_token
from longshore.host.registry.exchange import Endpoint
from longshore.host.registry.http import Repository
from longshore.host.registry.patience import Patience, Time
from longshore.host.registry.pools import Pools, context
from longshore.host.registry.push import push
from longshore.host.registry.refusal import Task
from longshore.host.registry.source import RegistrySource, resolve
from longshore.model.reference import DEFAULT_DOMAIN, Reference, parse
from longshore.model.transfer import Auth, Content, Credential, Watch

#: Where the registry is that names without a domain mean.
_HOSTS: Mapping[str, str] = {DEFAULT_DOMAIN: "registry-1.docker.io"}
#: Seconds to find out what a name stands for, mirrors and tries included.
_RESOLVE = 120.0
_MIRROR_TRIES = 2
#: Tokens are remembered for so many pairs of a registry and a credential.
_AUTHORIZERS = 64


class Registries:
    """All registries, as one of the node's sources of images.

    Args:
        file: what the node says about them (see `settings`).
        layers: blobs of one image read at once.
        stall: seconds that a registry may take to send anything.
        pull_timeout: seconds that one transfer may take.

    Raises:
        InvalidRequest: the file cannot be used.
    """

    def __init__(
        self,
        file: Path,
        *,
        layers: int = 4,
        stall: float = 30.0,
        pull_timeout: float = 3600.0,
        environ: Mapping[str, str] = os.environ,
        time: Time | None = None,
    ) -> None:
        self._file = file
        self._settings = node.load(file)
        self._layers = layers
        self._stall = stall
        self._pull_timeout = pull_timeout
        self._environ = environ
        self._time = time or Time()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._pools: dict[tuple[str | None, ...], Pools] = {}
        self._authorizers: OrderedDict[object, Authorizer] = OrderedDict()

    def check(self, name: str, auth: Auth) -> None:
        """Raises InvalidRequest for a name that is none, and for a credential that the node does
        not have or has for another registry."""
        self._credential(_reference(name), auth)

    def resolve(self, name: str, auth: Auth, watch: Watch | None = None) -> RegistrySource:
        """What `name` stands for now. `watch`: may call it off.

        Raises:
            As `check`; ImageNotFound, ImageSourceDenied, ImageSourceUnavailable,
            ImageSourceFailed, BadImage; Interrupted after `stop`.
        """
        reference = _reference(name)
        self.check(name, auth)
        reach = partial(self.repositories, reference, auth, what=f"pull {reference.name}")
        seconds = min(_RESOLVE, self._pull_timeout)
        target, document = resolve(reference, reach(watch, seconds=seconds))
        return RegistrySource(reference.name, target, document, reach, self._layers)

    def push(self, name: str, content: Content, auth: Auth, watch: Watch) -> str:
        """Sends an image to the registry that its name leads to; returns its digest there.

        Raises:
            As `check`, and as push.push.
        """
        reference = _reference(name)
        what = f"push {reference.name}"
        [place] = self.repositories(reference, auth, watch, what=what, actions="pull,push")
        return push(place, reference, content, watch)

    def repositories(
        self,
        reference: Reference,
        auth: Auth,
        watch: Watch | None,
        *,
        what: str,
        seconds: float | None = None,
        actions: str = "pull",
    ) -> Sequence[Repository]:
        """Where the repository is, for one transfer: mirrors in their order, then the registry.

        Args:
            what: completes 'cannot …'.
            seconds: that the transfer may take, None: `pull_timeout`.
            actions: `pull`, or `pull,push`, for which mirrors are not asked.
        """
        time = self._time
        patience = Patience(
            Task(what, reference.name),
            self._check(what, watch),
            self._stall,
            time.now() + (self._pull_timeout if seconds is None else seconds),
            time,
        )
        mirrors = self._settings.of(reference.domain).mirrors if actions == "pull" else ()
        found: list[tuple[Endpoint, Credential | str | None, str | None]] = []
        for url in mirrors:
            host = urlsplit(url).netloc
            endpoint = Endpoint(_api(url), self._pool(host), reference.domain, _MIRROR_TRIES)
            found.append((endpoint, self._default(host), self._settings.of(host).token_server))
        own = Endpoint(_api(self._url(reference.domain)), self._pool(reference.domain))
        token_server = self._settings.of(reference.domain).token_server
        found.append((own, self._credential(reference, auth), token_server))
        return [
            Repository(
                endpoint,
                reference.path,
                self._authorizer(endpoint, credential, token_server),
                patience,
                actions,
            )
            for endpoint, credential, token_server in found
        ]

    def findings(self) -> list[str]:
        """What is wrong with the files that hold secrets, one sentence each."""
        return node.findings(self._file, self._settings)

    def stop(self) -> None:
        """Ends what waits for a registry with Interrupted; idle connections are closed."""
        self._stopping.set()
        with self._lock:
            for pools in self._pools.values():
                pools.close()

    def _check(self, what: str, watch: Watch | None) -> Callable[[], None]:
        def check() -> None:
            if self._stopping.is_set():
                raise Interrupted(f"cannot {what}: the agent stops")
            if watch is not None:
                watch.check()

        return check

    def _credential(self, reference: Reference, auth: Auth) -> Credential | str | None:
        """One of the request's own, or the name of one of the node's."""
        if auth.credential is not None:
            if auth.credential.token and not is_token(auth.credential.token):
                raise InvalidRequest(
                    f"cannot use a credential for {reference.name}: its token has a character "
                    "that is not allowed",
                    field="credential.token",
                )
            return auth.credential
        if auth.name is None:
            return self._default(reference.domain)
        known = self._settings.credential.get(auth.name)
        if known is None or known.registry != reference.domain:
            why = f"is for {known.registry}" if known else "is none of this node's credentials"
            raise InvalidRequest(
                f"cannot use a credential for {reference.name}: {auth.name!r} {why}",
                field="image_credential",
                object=auth.name,
                hint="[credential.NAME] of the registries file makes one",
            )
        return auth.name

    def _default(self, domain: str) -> str | None:
        return self._settings.of(domain).credential

    def _authorizer(
        self, endpoint: Endpoint, credential: Credential | str | None, token_server: str | None
    ) -> Authorizer:
        key = (endpoint.url, credential, token_server)
        with self._lock:
            found = self._authorizers.pop(key, None)
            if found is None:
                found = Authorizer(
                    endpoint.where,
                    self._reading(credential),
                    plain=endpoint.plain,
                    token_server=token_server,
                )
            self._authorizers[key] = found
            if len(self._authorizers) > _AUTHORIZERS:
                self._authorizers.popitem(last=False)
            return found

    def _reading(self, credential: Credential | str | None) -> Callable[[], Credential | None]:
        if isinstance(credential, str):
            return self._settings.credential[credential].read
        return lambda: credential

    def _url(self, domain: str) -> str:
        scheme = "http" if self._settings.of(domain).plain_http else "https"
        return f"{scheme}://{_HOSTS.get(domain, domain)}"

    def _pool(self, domain: str) -> Pools:
        """One for all registries that are trusted alike: the system's authorities take memory."""
        own = self._settings.of(domain)
        key = (own.ca, own.client_cert, own.client_key)
        with self._lock:
            if key not in self._pools:
                outside = context(own.ca)
                inside = context(*key) if own.client_cert else outside
                self._pools[key] = Pools(inside, outside, self._environ)
            return self._pools[key]


def _reference(name: str) -> Reference:
    try:
        return parse(name)
    except ValueError as error:
        raise InvalidRequest(f"cannot use {name!r} as an image: {error}", field="image") from error


def _api(url: str) -> str:
    """A mirror's URL that goes to /v2 already names a repository to look in, as those have it
    that mirror several registries; any other path is one that the API is under."""
    path = urlsplit(url).path
    return url if f"{path}/".startswith("/v2/") else f"{url}/v2"
