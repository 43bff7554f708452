"""One containerd and one RabbitMQ for all tests of the lab, each in a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.host import Scope, audit
from bench.lab.rabbitmq import PrivateRabbit


@pytest.fixture
def lab() -> Iterator[Path]:
    """A short path: a socket's has at most 107 bytes. What is left in it fails the test."""
    with tempfile.TemporaryDirectory(prefix="lsh-lab-") as name:
        folder = Path(name)
        yield folder
        assert audit(Scope(folders=[folder], ids=[])) == []


@pytest.fixture
def containerd(lab: Path) -> Iterator[PrivateContainerd]:
    with PrivateContainerd(lab) as one:
        yield one


@pytest.fixture
def rabbit(lab: Path) -> Iterator[PrivateRabbit]:
    with PrivateRabbit(lab) as one:
        yield one
