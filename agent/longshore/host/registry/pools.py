"""urllib3's pools of connections over our sockets, straight or through the environment's proxy."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from longshore.host.registry.wire import CONNECT, TlsSocket, connect, slice_length

#: What a request sends: bytes, or pieces that are made afresh for each try.
Body = bytes | Callable[[], Iterable[bytes]] | None


class _Http(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _new_conn(self)


class _Https(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _new_conn(self)


def _new_conn(connection: HTTPConnection) -> socket.socket:
    try:
        return connect(connection._dns_host, connection.port)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


def context(
    ca: str | None = None, client_cert: str | None = None, client_key: str | None = None
) -> ssl.SSLContext:
    """TLS that verifies: against the system's authorities, and those of the file `ca`.

    Raises:
        OSError, ssl.SSLError: a file cannot be read or holds nothing of the kind.
    """
    made = ssl.create_default_context()
    made.sslsocket_class = TlsSocket
    if ca is not None:
        made.load_verify_locations(cafile=ca)
    if client_cert is not None:
        made.load_cert_chain(client_cert, client_key)
    return made


class Pools:
    """Connections that are kept open for the next request, straight or through a proxy.

    Args:
        tls: how to speak with the registry itself.
        outside: how to speak with whom it sends us to: without its client certificate.
        environ: where `https_proxy`, `http_proxy` and `no_proxy` may stand.
    """

    def __init__(
        self, tls: ssl.SSLContext, outside: ssl.SSLContext, environ: Mapping[str, str]
    ) -> None:
        self._contexts = {True: tls, False: outside}
        self._environ = environ
        self._managers: dict[tuple[bool, str | None], urllib3.PoolManager] = {}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, *, inside: bool
    ) -> urllib3.BaseHTTPResponse:
        """One exchange; the answer's body is not read yet.

        Raises:
            urllib3.exceptions.HTTPError, OSError: there was none.
        """
        return self._manager(url, inside).urlopen(
            method,
            url,
            headers=headers,
            body=body() if callable(body) else body,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(slice_length() or CONNECT),
        )

    def close(self) -> None:
        """Those that serve a request end with it."""
        for manager in list(self._managers.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - urllib3's container is no iterable
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
            manager.clear()

    def _manager(self, url: str, inside: bool) -> urllib3.PoolManager:
        proxy = proxy_of(url, self._environ)
        manager = self._managers.get((inside, proxy))
        if manager is None:
            manager = _manager(self._contexts[inside], proxy)
            manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
            # Two threads may both make one; the one that is not kept serves its request and goes.
            manager = self._managers.setdefault((inside, proxy), manager)
        return manager


def _manager(tls: ssl.SSLContext, proxy: str | None) -> urllib3.PoolManager:
    if proxy is None:
        return urllib3.PoolManager(num_pools=16, maxsize=16, ssl_context=tls)
    parts = urlsplit(proxy)
    secret = f"{parts.username or ''}:{parts.password or ''}" if parts.username else None
    return urllib3.ProxyManager(
        parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        num_pools=16,
        maxsize=16,
        ssl_context=tls,
        proxy_headers=urllib3.make_headers(proxy_basic_auth=secret) if secret else None,
    )


def proxy_of(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this URL. Never one for the node itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = _variable(environ, f"{parts.scheme}_proxy")
    if not proxy or _is_direct(host, _variable(environ, "no_proxy")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _is_direct(host: str, exceptions: str) -> bool:
    address = None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    if urllib.request.proxy_bypass_environment(host, {"no": exceptions}):  # type: ignore[attr-defined]  # typeshed has it for other systems alone
        return True
    for word in exceptions.split(","):
        with contextlib.suppress(ValueError):
            if address is not None and address in ipaddress.ip_network(word.strip(), strict=False):
                return True
    return False
