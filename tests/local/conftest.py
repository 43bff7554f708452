"""A real server on a real socket, the fake node behind it, and a client."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.node import FakeNode
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a unix socket's path has 108 bytes at most, and pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="lsh-") as path:
        yield Path(path)


@pytest.fixture
def socket(folder: Path) -> Path:
    return folder / "agent.sock"


@pytest.fixture
def node(folder: Path) -> FakeNode:
    return FakeNode(spool=folder / "spool")


@pytest.fixture
def server(node: FakeNode, socket: Path) -> Iterator[LocalServer]:
    server = LocalServer(
        node, socket, verbs=2, streams=2, max_message=64 * 1024, max_image=5_000_000, grace=0.2
    )
    server.start()
    yield server
    for gate in node.gates.values():
        gate.set()
    server.stop()


@pytest.fixture
def client(server: LocalServer, socket: Path) -> Iterator[LocalClient]:
    with LocalClient(socket, timeout=20) as client:
        yield client
