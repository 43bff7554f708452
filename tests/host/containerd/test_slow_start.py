"""A containerd under load takes its time to greet; that is no reason to call it unreachable."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client

#: Seconds; far more than the first pause between two attempts.
_GREETS_AFTER = 0.6


@pytest.fixture
def slow(containerd: PrivateContainerd, tmp_path: Path) -> Iterator[Path]:
    """A socket that leads to containerd's, for one connection and after a while."""
    path = tmp_path / "slow.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    ends: list[socket.socket] = [listener]

    def serve() -> None:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        ends.extend((near, far))
        time.sleep(_GREETS_AFTER)
        far.connect(str(containerd.socket))
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    thread.join()
    for end in ends:
        end.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return


def test_its_greeting_is_waited_for(slow: Path) -> None:
    client = Client(slow, "longshore", timeout=30.0)
    try:
        assert introspect.version(client)
    finally:
        client.close()
