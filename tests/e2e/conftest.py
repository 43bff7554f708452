"""One containerd, one RabbitMQ and one agent for all of these tests; everything is the real thing.

Each test begins and ends on a clean host (`clean`), and what the whole leaves is audited too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.host import Scope, audit
from bench.lab.rabbitmq import PrivateRabbit
from e2e import pulling
from e2e.lab import Lab, running_lab, states, until
from e2e.pulling import OWN, Harbour, stored
from longshore.bus.client import ComputeClient


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A short path: a socket's has at most 107 bytes. What is left in it fails the run."""
    path = Path(tempfile.mkdtemp(prefix="lse-"))
    yield path
    assert audit(Scope([path], ids=[])) == []
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def containerd(folder: Path) -> Iterator[PrivateContainerd]:
    with PrivateContainerd(folder) as one:
        yield one
        assert one.shims() == []


@pytest.fixture(scope="session")
def rabbit(folder: Path) -> Iterator[PrivateRabbit]:
    with PrivateRabbit(folder) as one:
        yield one


@pytest.fixture(scope="session")
def lab(containerd: PrivateContainerd, rabbit: PrivateRabbit) -> Iterator[Lab]:
    with running_lab(containerd, "e2e", rabbit.url) as one:
        yield one


@pytest.fixture(scope="session")
def nodes(lab: Lab, rabbit: PrivateRabbit) -> Iterator[ComputeClient]:
    """The scheduler's end of the bus, once the agent listens at the other."""
    until(lambda: ("rabbitmq", "up") in states(lab))
    with ComputeClient(rabbit.url, origin="e2e") as client:
        yield client


@pytest.fixture
def clean(lab: Lab) -> Iterator[None]:
    """Nothing of any container is on the host or in the journal, before and after the test."""
    lab.wait_clean()
    yield
    try:
        lab.wait_clean()
    finally:
        lab.agent.start()
        lab.delete_all()


@pytest.fixture(scope="session")
def _harbour(
    containerd: PrivateContainerd, rabbit: PrivateRabbit, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harbour]:
    folder = tmp_path_factory.mktemp("harbour")
    with pulling.harbour(containerd, folder, rabbit.url) as one:
        until(lambda: ("rabbitmq", "up") in states(one.lab))
        yield one


@pytest.fixture
def harbour(_harbour: Harbour) -> Iterator[Harbour]:
    """Nothing is pulled or made, before and after the test."""
    lab, valve = _harbour.lab, _harbour.valve
    assert stored(lab) == _harbour.before
    try:
        yield _harbour
        lab.wait_clean()
        assert stored(lab) == _harbour.before
    finally:
        valve.open()
        valve.pause = 0.0
        _harbour.debian.start()
        lab.agent.start()
        lab.delete_all()
        for image in lab.client.list_images():
            if image.name != OWN:
                lab.client.remove_image(image.name)
        lab.client.prune_images()
