"""TLS with oslo.messaging's own options, for its connections and for ours beside them.

A thread ends TLS in front of the plain broker, as a load balancer does, and wants to see a
client's certificate.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from bench.lab.rabbitmq import PrivateRabbit
from bus.kit import spec, until
from fakes.service import FakeService
from longshore.bus.client import ComputeClient
from longshore.bus.server import BusServer
from longshore.bus.transport import register
from longshore.errors import BrokerUnavailable


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem and other.pem; broker.pem and client.pem by the first, each with a .key."""
    folder = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", *curve, "-subj", f"/CN={name}", "-days", "2",
                 "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    for name in ("broker", "client"):
        _openssl(folder, "req", *curve, "-subj", f"/CN={name}",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem",
                 "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                 "-extfile", "names", "-days", "2")  # fmt: skip
    return folder


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def tls_port(rabbit: PrivateRabbit, certificates: Path) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "broker.pem", certificates / "broker.key")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]

    def serve(plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            near = context.wrap_socket(plain, server_side=True)
            far = socket.create_connection(("127.0.0.1", rabbit.port))
            ends.extend((near, far))
            threading.Thread(target=_copy, args=(near, far), daemon=True).start()
            _copy(far, near)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                ends.append(plain)
                threading.Thread(target=serve, args=(plain,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _conf(certificates: Path, ca: str = "ca.pem", *, certificate: bool = True) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    register(conf)
    options: dict[str, object] = {"ssl": True, "ssl_ca_file": str(certificates / ca)}
    if certificate:
        options |= {
            "ssl_cert_file": str(certificates / "client.pem"),
            "ssl_key_file": str(certificates / "client.key"),
        }
    for name, value in options.items():
        conf.set_override(name, value, group="oslo_messaging_rabbit")
    return conf


def test_verbs_over_mutual_tls(node: str, tls_port: int, certificates: Path) -> None:
    url = f"rabbit://guest:guest@127.0.0.1:{tls_port}/"
    agent = BusServer(_conf(certificates), url, node, FakeService())
    agent.start()
    until(lambda: agent.state().state == "up")
    with ComputeClient(url, conf=_conf(certificates)) as nodes:
        assert nodes.create(node, spec(), deadline=10).state == "running"
    assert agent.stop(20.0)


@pytest.mark.parametrize(
    ("ca", "certificate", "why"),
    [("other.pem", True, "CERTIFICATE_VERIFY_FAILED"), ("ca.pem", False, "")],
)
def test_who_is_not_trusted(
    node: str, tls_port: int, certificates: Path, ca: str, certificate: bool, why: str
) -> None:
    url = f"rabbit://guest:guest@127.0.0.1:{tls_port}/"
    conf = _conf(certificates, ca, certificate=certificate)
    with ComputeClient(url, conf=conf) as nodes, pytest.raises(BrokerUnavailable) as caught:
        nodes.create(node, spec(), deadline=1.0)
    assert why in str(caught.value)
    agent = BusServer(conf, url, node, FakeService())
    agent.start()
    until(lambda: agent.state().state == "down")
    assert agent.stop(20.0)
