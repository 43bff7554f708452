"""One real RabbitMQ for the bus tests; agents and clients are made on it and leave no thread."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from oslo_config import cfg

from bench.lab.host import Scope, audit
from bench.lab.rabbitmq import PrivateRabbit
from bus.kit import Agents, until
from fakes.service import FakeService
from longshore.bus.client import ComputeClient
from longshore.bus.server import BusServer


@pytest.fixture(scope="session")
def rabbit() -> Iterator[PrivateRabbit]:
    with tempfile.TemporaryDirectory(prefix="lsh-bus-") as name:
        with PrivateRabbit(Path(name)) as one:
            yield one
        assert audit(Scope(folders=[Path(name)], ids=[])) == []


@pytest.fixture
def node() -> str:
    return f"n-{uuid4().hex[:8]}"


@pytest.fixture
def service() -> Iterator[FakeService]:
    one = FakeService()
    yield one
    for gate in one.gates.values():
        gate.set()


@pytest.fixture
def agents(rabbit: PrivateRabbit, node: str, service: FakeService) -> Iterator[Agents]:
    """Starts agents, waits until they listen, and in the end stops them."""
    started: list[BusServer] = []

    def start(
        name: str = node,
        *,
        serving: FakeService = service,
        url: str = rabbit.url,
        wait: bool = True,
        **options: Any,
    ) -> BusServer:
        agent = BusServer(cfg.ConfigOpts(), url, name, serving, **options)
        agent.start()
        started.append(agent)
        if wait:
            until(lambda: agent.state().state == "up")
        return agent

    yield start
    for gate in service.gates.values():
        gate.set()
    assert [agent.stop(30.0) for agent in started] == [True] * len(started)


@pytest.fixture
def nodes(rabbit: PrivateRabbit) -> Iterator[ComputeClient]:
    with ComputeClient(rabbit.url, timeout=20.0, silence=2, origin="test") as client:
        yield client


@pytest.fixture(autouse=True)
def _no_thread_left(rabbit: PrivateRabbit) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: not set(threading.enumerate()) - before, 10.0)
