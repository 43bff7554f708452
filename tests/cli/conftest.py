"""The command line against a real server on a real socket, with the fake node behind it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.imaging import ImageNode
from fakes.shell import Shell
from longshore.local.server import LocalServer


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lsh-") as path:
        yield Path(path)


@pytest.fixture
def node(folder: Path) -> ImageNode:
    return ImageNode(spool=folder / "spool")


@pytest.fixture
def shell(folder: Path, node: ImageNode) -> Iterator[Shell]:
    server = LocalServer(node, folder / "agent.sock", grace=0.1)
    server.start()
    yield Shell(folder / "agent.sock")
    server.stop()
