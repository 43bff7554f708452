"""Probes on the real kernel: servers in a network namespace, good, bad and hostile ones."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.lab.certificates import Authority
from host import netlab
from host.netlab import Box, Node
from longshore.errors import Interrupted, NotFound
from longshore.host import netns
from longshore.host.probes import Probes
from longshore.model.names import Names
from longshore.model.probing import Where

PORT = 8080
#: Seconds: what hangs is given up then.
SHORT = 0.3
#: Seconds: nothing that answers at all takes so long.
LONG = 20.0
Answer = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with netlab.node(tmp_path_factory.mktemp("probes")) as made:
        yield made


@pytest.fixture
def box(node: Node) -> Box:
    return node.attached()


@pytest.fixture
def probes(node: Node) -> Probes:
    return Probes(node.layout)


def where(box: Box) -> Where:
    return Where(box.names, (box.nic.address,))


@contextmanager
def serving(
    box: Box | None, answer: Answer, host: str = "127.0.0.1", port: int = PORT
) -> Iterator[int]:
    """A server in the box, or on the node; each connection is answered in a thread of its own."""

    def listening() -> socket.socket:
        if box is not None:
            netns.enter(box.path)
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()
        return made

    def handle(wire: socket.socket) -> None:
        # Who hangs up in the middle is no fault of the server's.
        with wire, contextlib.suppress(OSError):
            answer(wire)

    def serve() -> None:
        while True:
            try:
                wire, _ = held.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(wire,), daemon=True).start()

    held = netns.in_thread(listening)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield held.getsockname()[1]
    finally:
        held.shutdown(socket.SHUT_RDWR)
        thread.join(netlab.PATIENCE)
        held.close()
        assert not thread.is_alive()


def says(text: str) -> Answer:
    def answer(wire: socket.socket) -> None:
        wire.recv(4096)
        wire.sendall(text.encode())

    return answer


def page(status: str, body: str = "") -> Answer:
    return says(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}")


def hang(wire: socket.socket) -> None:
    """Reads until the other end hangs up, and never says anything."""
    while wire.recv(4096):
        pass


def drip(head: bytes, piece: bytes) -> Answer:
    """A little now and then, for ever: each piece comes well within any deadline."""

    def answer(wire: socket.socket) -> None:
        wire.sendall(head)
        while True:
            wire.sendall(piece)
            time.sleep(0.02)

    return answer


def pour(head: bytes, piece: bytes) -> Answer:
    def answer(wire: socket.socket) -> None:
        wire.sendall(head)
        while True:
            wire.sendall(piece)

    return answer


AT = f"127.0.0.1:{PORT}: "
OK = b"HTTP/1.1 200 OK\r\n"
TEAPOT = b"HTTP/1.1 500 No\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "ok", "said"),
    [
        (page("200 OK", "hello"), True, "200 OK"),
        (page("204 No Content"), True, "204 No Content"),
        (page("302 Found"), True, "302 Found"),
        (page("399 "), True, "399"),
        (page("400 Bad Request"), False, "400 Bad Request"),
        (page("500 Broken", "the database is away"), False, "500 Broken: the database is away"),
        (says("HTTP/1.0 200 OK\r\n\r\nhello"), True, "200 OK"),
        (says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), True, "200 OK"),
        (says("SSH-2.0-OpenSSH\r\n"), False, f"{AT}what it answers is not HTTP: BadStatusLine"),
        (says("HTTP/1.1 abc\r\n\r\n"), False, f"{AT}what it answers is not HTTP: BadStatusLine"),
        (says("HTTP/1.1 99999 no\r\n\r\n"), False, f"{AT}what it answers is not HTTP"),
        (says(""), False, f"{AT}what it answers is not HTTP: RemoteDisconnected"),
        (says("HTTP/1.1 200 OK\r\n" + "a: b\r\n" * 200), False, f"{AT}what it answers is not HTTP"),
        (pour(OK, b"x" * 4096), False, f"{AT}an answer of more than 65536"),
        (pour(OK, b"a: " + b"b" * 60000 + b"\r\n"), False, f"{AT}an answer of more than 65536"),
        (pour(OK + b"\r\n", b"x" * 4096), True, "200 OK"),
        (pour(TEAPOT, b"x" * 4096), False, "500 No: xxxxx"),
    ],
)  # fmt: skip
def test_what_servers_answer(box: Box, probes: Probes, answer: Answer, ok: bool, said: str) -> None:
    with serving(box, answer):
        found = probes.http(where(box), PORT, "/", tls=False, timeout=LONG)
    assert found[0] is ok
    assert found[1].startswith(said)
    assert len(found[1]) < 1000


@pytest.mark.parametrize(
    "answer",
    [
        hang,
        drip(b"", b"H"),
        drip(OK, b"a"),
        drip(OK, b"a: b\r\n"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "status", "header", "headers", "continue"],
)
def test_who_never_ends_is_given_up_at_the_deadline(
    box: Box, probes: Probes, answer: Answer
) -> None:
    with serving(box, answer):
        found = probes.http(where(box), PORT, "/", tls=False, timeout=SHORT)
    # That many lines of head are too many, whichever comes first.
    late, much = f"{AT}no answer in 0.3 s", f"{AT}what it answers is not HTTP"
    assert not found[0]
    assert found[1] == late or found[1].startswith(much)


def test_a_body_that_never_comes_does_not_hold_up_what_the_head_says(
    box: Box, probes: Probes
) -> None:
    def answer(wire: socket.socket) -> None:
        wire.sendall(TEAPOT)
        hang(wire)

    with serving(box, answer):
        found = probes.http(where(box), PORT, "/", tls=False, timeout=SHORT)
    assert found == (False, "500 No")


def test_what_is_asked_for(box: Box, probes: Probes) -> None:
    asked: list[bytes] = []

    def answer(wire: socket.socket) -> None:
        asked.append(wire.recv(4096))
        wire.sendall(OK + b"\r\n")

    with serving(box, answer):
        probes.http(where(box), PORT, "/up?deep=1", tls=False, timeout=LONG)
    (line, *headers) = asked[0].decode().split("\r\n")
    assert line == "GET /up?deep=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{PORT}" in headers
    assert "Connection: close" in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "its own", "::1"])
def test_wherever_in_its_network_it_listens(box: Box, probes: Probes, host: str) -> None:
    address = box.nic.address if host == "its own" else host
    shown = {"0.0.0.0": "127.0.0.1", "::1": "[::1]"}.get(address, address)
    with serving(box, hang, address):
        found = probes.tcp(where(box), PORT, timeout=LONG)
    assert found == (True, f"connected to {shown}:{PORT}")


def test_where_nobody_listens(box: Box, probes: Probes) -> None:
    assert probes.tcp(where(box), PORT, timeout=LONG) == (False, f"{AT}nobody listens")
    found = probes.http(where(box), PORT, "/", tls=True, timeout=LONG)
    assert found == (False, f"{AT}nobody listens")


def test_no_other_network_is_asked(node: Node, box: Box, probes: Probes) -> None:
    """Not the node's, nor another container's, at the same address and port."""
    other = node.attached()
    with serving(None, hang, port=0) as port, serving(other, hang):
        assert not probes.tcp(where(box), port, timeout=LONG)[0]
        assert not probes.tcp(where(box), PORT, timeout=LONG)[0]
        shared = Where(box.names, shared=True)
        assert probes.tcp(shared, port, timeout=LONG) == (True, f"connected to 127.0.0.1:{port}")


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return Authority(tmp_path).issue("probed").server()


def test_tls_whatever_its_certificate(box: Box, probes: Probes, context: ssl.SSLContext) -> None:
    def answer(wire: socket.socket) -> None:
        with context.wrap_socket(wire, server_side=True) as secret:
            page("200 Secret")(secret)

    with serving(box, answer):
        found = probes.http(where(box), PORT, "/", tls=True, timeout=LONG)
        plain = probes.http(where(box), PORT, "/", tls=False, timeout=LONG)
    assert found == (True, "200 Secret")
    assert not plain[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (hang, f"{AT}no answer in 0.3 s"),
        (page("200 OK"), f"{AT}no TLS: "),
        (drip(b"\x16\x03\x03\x40\x00", b"\x00"), f"{AT}no answer in 0.3 s"),
    ],
    ids=["silent", "plain", "drip"],
)
def test_handshakes_that_come_to_nothing(
    box: Box, probes: Probes, answer: Answer, said: str
) -> None:
    with serving(box, answer):
        found = probes.http(where(box), PORT, "/", tls=True, timeout=SHORT)
    assert not found[0]
    assert found[1].startswith(said)


def test_a_network_that_is_gone_is_no_finding(node: Node, probes: Probes) -> None:
    gone = Where(Names("6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"))
    with pytest.raises(NotFound, match="its network is gone"):
        probes.tcp(gone, PORT, timeout=LONG)


@pytest.mark.parametrize("tls", [False, True])
def test_the_agents_stop_breaks_them_off(box: Box, probes: Probes, tls: bool) -> None:
    come = threading.Event()

    def answer(wire: socket.socket) -> None:
        come.set()
        hang(wire)

    errors: list[BaseException] = []

    def probe() -> None:
        try:
            probes.http(where(box), PORT, "/", tls=tls, timeout=60.0)
        except Interrupted as error:
            errors.append(error)

    with serving(box, answer):
        thread = threading.Thread(target=probe)
        thread.start()
        assert come.wait(LONG)
        probes.stop()
        thread.join(LONG)
        assert not thread.is_alive()
        assert len(errors) == 1
        with pytest.raises(Interrupted):
            probes.tcp(where(box), PORT, timeout=LONG)


def test_no_process_and_nothing_left_open(box: Box, probes: Probes) -> None:
    """Forks are counted by the interpreter's own audit, descriptors and threads by the kernel."""
    events: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("os.fork", "os.posix_spawn", "subprocess.Popen", "os.exec"):
            events.append(event)

    with serving(box, page("200 OK")):
        probes.http(where(box), PORT, "/", tls=False, timeout=LONG)
        sys.addaudithook(hook)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            assert probes.http(where(box), PORT, "/", tls=False, timeout=LONG)[0]
            assert probes.tcp(where(box), PORT, timeout=LONG)[0]
            assert not probes.tcp(where(box), PORT + 1, timeout=LONG)[0]
        end = time.monotonic() + LONG
        # The server's threads let go of their ends when they are told.
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end:
            time.sleep(0.01)
        watching = False
        assert len(os.listdir("/proc/self/fd")) <= before
    assert events == []
