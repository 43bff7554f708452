"""The way to a registry: names, ports, TLS, proxies, silence."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.lab.bad_images import good
from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import Fault, redirect
from host.registry.reading import Ticks, Watching, pull, registries, settings_of
from longshore.errors import (
    ImageNotFound,
    ImageSourceFailed,
    ImageSourceUnavailable,
    Interrupted,
    LongshoreError,
    PullCancelled,
)
from longshore.host.registry.patience import Patience
from longshore.host.registry.pools import proxy_of
from longshore.host.registry.refusal import Task
from longshore.host.registry.wire import PlainSocket
from longshore.model.transfer import Auth

CA_HINT = "name its authority's file as `ca` of this registry in the registries file"


def _fails(folder: Path, settings: str, name: str) -> LongshoreError:
    source = registries(folder, settings, Ticks())
    with pytest.raises(LongshoreError) as caught:
        source.resolve(name, Auth())
    return caught.value


def test_an_authority_that_is_not_trusted(tmp_path: Path, bad: BadRegistry) -> None:
    error = _fails(tmp_path, "", f"{bad.host}/app")
    assert type(error) is ImageSourceFailed
    assert str(error) == (
        f"cannot pull {bad.host}/app:latest: registry {bad.host} cannot be trusted: "
        "its certificate is not trusted (unable to get local issuer certificate)"
    )
    assert error.hint == CA_HINT
    assert bad.seen == []


@pytest.mark.parametrize(
    ("names", "expired", "why"),
    [
        (("DNS:other.example",), False, "IP address mismatch, certificate is not valid for"),
        (("IP:127.0.0.1",), True, "certificate has expired"),
    ],
)
def test_a_certificate_that_does_not_do(
    tmp_path: Path, authority: Authority, names: tuple[str, ...], expired: bool, why: str
) -> None:
    certificate = authority.issue(f"wire-{expired}", names, expired=expired)
    with BadRegistry(certificate) as bad:
        error = _fails(tmp_path, settings_of(bad.host, authority.pem), f"{bad.host}/app")
    assert type(error) is ImageSourceFailed
    assert why in str(error)


def test_no_tls_where_it_is_wanted(tmp_path: Path) -> None:
    with BadRegistry() as bad:
        error = _fails(tmp_path, "", f"{bad.host}/app")
        assert type(error) is ImageSourceFailed
        assert "does not speak TLS" in str(error)
        assert "plain_http = true" in str(error.hint)
        bad.serve(good("plain"), "latest")
        settings = f'[registry."{bad.host}"]\nplain_http = true\n'
        assert len(pull(registries(tmp_path, settings), f"{bad.host}/app")) == 4


def test_a_client_certificate(tmp_path: Path, authority: Authority) -> None:
    """For the registry itself, and not for where it sends us."""
    server, client = authority.issue("wire-server"), authority.issue("wire-client")
    asking = _Asking(server.pem, server.key, authority.pem)
    with BadRegistry(asking) as near, BadRegistry(asking) as far:
        near.serve(good("client"), "latest")
        far.serve(good("client"), "latest")
        own = f'client_cert = "{client.pem}"\nclient_key = "{client.key}"'
        source = registries(tmp_path, settings_of(near.host, authority.pem, own), Ticks())
        assert len(pull(source, f"{near.host}/app")) == 4
        near.order(Fault("blob", redirect(far.url)))
        for settings in (
            settings_of(near.host, authority.pem, own),
            settings_of(near.host, authority.pem),
        ):
            source = registries(tmp_path, settings, Ticks())
            # Its refusal comes after the handshake, and may be overtaken by the connection's end.
            wanted = "it wants a client certificate|TLS broke off"
            with pytest.raises(ImageSourceFailed, match=wanted) as caught:
                pull(source, f"{near.host}/app")
            late = "TLS broke off" in caught.value.message
            assert late or "client_cert" in str(caught.value.hint)
        assert far.seen == []


@dataclass(frozen=True)
class _Asking(Certificate):
    """A server that wants to see a certificate of the same authority."""

    authority: Path

    def server(self) -> ssl.SSLContext:
        context = super().server()
        context.load_verify_locations(self.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    error = _fails(tmp_path, "", f"{host}/app")
    assert type(error) is ImageSourceUnavailable
    assert str(error).endswith(f"registry {host} does not answer: connection refused")


@pytest.mark.parametrize("host", ["registry.invalid", f"{'a' * 64}.example"])
def test_a_name_that_is_not_known(tmp_path: Path, host: str) -> None:
    error = _fails(tmp_path, "", f"{host}/app")
    assert type(error) is ImageSourceUnavailable
    assert str(error).endswith(f"registry {host} does not answer: its name is not known")


@pytest.fixture
def deaf() -> Iterator[str]:
    """Takes connections, and never a byte of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_handshake_that_stalls(tmp_path: Path, deaf: str) -> None:
    source = registries(tmp_path, "", Ticks(), stall=0.1)
    with pytest.raises(ImageSourceUnavailable, match=r"nothing came for 0\.1 s"):
        source.resolve(f"{deaf}/app", Auth())


def test_a_handshake_is_called_off(tmp_path: Path, deaf: str) -> None:
    source = registries(tmp_path, "", stall=3600.0)
    with pytest.raises(PullCancelled):
        source.resolve(f"{deaf}/app", Auth(), Watching(PullCancelled("x"), after=1))


def test_the_agents_end_reaches_who_waits(tmp_path: Path, deaf: str) -> None:
    source = registries(tmp_path, "", stall=3600.0)
    waiting = threading.Event()

    class Waiting(Watching):
        def check(self) -> None:
            super().check()
            if self.asked > 1:
                waiting.set()

    failures: list[LongshoreError] = []

    def wait() -> None:
        with pytest.raises(Interrupted) as caught:
            source.resolve(f"{deaf}/app", Auth(), Waiting())
        failures.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(20)
    source.stop()
    thread.join(20)
    assert len(failures) == 1


def test_a_peer_that_takes_nothing_is_not_waited_for() -> None:
    """Sending waits by the same patience as receiving."""
    near, far = socket.socketpair()
    ours = PlainSocket(fileno=near.detach())
    patience = Patience(Task("push it", "x"), lambda: None, 0.1, 1e9)
    ours.settimeout(patience.slice)
    with ours, far, patience.applied():
        with pytest.raises(TimeoutError, match=r"nothing came for 0\.1 s"):
            ours.sendall(b"x" * 2**24)
        received = far.recv(2**20)
        assert set(received) == {ord("x")}


def test_what_arrives_slowly_is_whole() -> None:
    """A large buffer is filled as far as bytes come, and none is lost at a break."""
    near, far = socket.socketpair()
    ours = PlainSocket(fileno=near.detach())
    patience = Patience(Task("pull it", "x"), lambda: None, 5.0, 1e9)
    ours.settimeout(0.05)
    with ours, far, patience.applied():
        far.sendall(b"a" * 40_000)
        buffer = bytearray(100_000)
        first = ours.recv_into(buffer)
        assert (first, bytes(buffer[:first])) == (40_000, b"a" * 40_000)
        far.sendall(b"b" * 20_000)
        far.close()
        assert ours.recv_into(buffer) == 20_000
        assert ours.recv_into(buffer) == 0


PROXIES: tuple[tuple[str, dict[str, str], str | None], ...] = (
    ("https://r.example/v2", {}, None),
    ("https://r.example/v2", {"https_proxy": "http://p:3128"}, "http://p:3128"),
    ("https://r.example/v2", {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
    ("https://r.example/v2", {"http_proxy": "http://p:3128"}, None),
    ("http://r.example/v2", {"http_proxy": "http://p:3128"}, "http://p:3128"),
    ("https://r.example/v2", {"https_proxy": "p", "no_proxy": "r.example"}, None),
    ("https://a.r.example/v2", {"https_proxy": "p", "NO_PROXY": "x, .r.example"}, None),
    ("https://a.r.example/v2", {"https_proxy": "p", "no_proxy": "r.example"}, None),
    ("https://r.example/v2", {"https_proxy": "p", "no_proxy": "*"}, None),
    ("https://r.example/v2", {"https_proxy": "p", "no_proxy": "example.r"}, "http://p"),
    ("https://10.1.2.3/v2", {"https_proxy": "p", "no_proxy": "10.0.0.0/8"}, None),
    ("https://11.1.2.3/v2", {"https_proxy": "p", "no_proxy": "10.0.0.0/8"}, "http://p"),
    ("https://10.1.2.3:5/v2", {"https_proxy": "p", "no_proxy": "10.1.2.3"}, None),
    ("https://127.0.0.1:5/v2", {"https_proxy": "p"}, None),
    ("https://localhost/v2", {"https_proxy": "p"}, None),
    ("https://[::1]:5/v2", {"https_proxy": "p"}, None),
    ("https://[fd00::1]/v2", {"https_proxy": "p"}, "http://p"),
)


@pytest.mark.parametrize(("url", "environ", "proxy"), PROXIES)
def test_proxies_of_the_environment(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(url, environ) == proxy


@dataclass
class Proxy:
    """Connects whoever asks with `target`, whatever name they ask for."""

    target: str
    refuses: bool = False
    heads: list[bytes] = field(default_factory=list)

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        listener = socket.create_server(("127.0.0.1", 0))
        threads = [threading.Thread(target=self._accept, args=(listener,))]
        threads[0].start()
        try:
            yield f"http://me:proxy-word@127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        pipes = []
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += near.recv(4096)
                self.heads.append(head)
                if self.refuses:
                    near.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
                    near.close()
                    continue
                host, _, port = self.target.rpartition(":")
                far = socket.create_connection((host, int(port)))
                if head.startswith(b"CONNECT"):
                    near.sendall(b"HTTP/1.1 200 Here\r\n\r\n")
                else:
                    far.sendall(head)
                for source, sink in ((near, far), (far, near)):
                    pipes.append(threading.Thread(target=_copy, args=(source, sink)))
                    pipes[-1].start()
        for pipe in pipes:
            pipe.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def test_through_a_proxy(tmp_path: Path, authority: Authority) -> None:
    """TLS goes through it to the registry; its password goes to it alone."""
    certificate = authority.issue("wire-proxied", ("DNS:registry.example",))
    with BadRegistry(certificate) as bad, (proxy := Proxy(bad.host)).serving() as url:
        bad.serve(good("proxied"), "latest")
        settings = settings_of("registry.example", authority.pem)
        source = registries(tmp_path, settings, environ={"https_proxy": url})
        assert len(pull(source, "registry.example/app")) == 4
        source.stop()
    assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", b"registry.example:443"]]
    assert b"Proxy-Authorization: Basic" in proxy.heads[0].replace(b"proxy-auth", b"Proxy-Auth")


def test_plain_http_through_a_proxy(tmp_path: Path) -> None:
    with BadRegistry() as bad, (proxy := Proxy(bad.host)).serving() as url:
        settings = '[registry."registry.example"]\nplain_http = true\n'
        source = registries(tmp_path, settings, Ticks(), environ={"http_proxy": url})
        with pytest.raises(ImageNotFound):
            source.resolve("registry.example/app", Auth())
        source.stop()
    asked = b"HEAD http://registry.example/v2/app/manifests/latest HTTP/1.1"
    assert proxy.heads[0].startswith(asked)


def test_a_proxy_that_does_not_let_us(tmp_path: Path) -> None:
    with (proxy := Proxy("", refuses=True)).serving() as url:
        source = registries(tmp_path, "", Ticks(), environ={"https_proxy": url})
        with pytest.raises(ImageSourceUnavailable, match="through its proxy") as caught:
            source.resolve("registry.example/app", Auth())
    assert len(proxy.heads) == 5
    assert "proxy-word" not in str(caught.value.to_dict())
