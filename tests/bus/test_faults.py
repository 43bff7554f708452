"""Agents and brokers that go away: nothing hangs, nothing happens twice, all come back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from uuid import uuid4

import kombu
import pytest
from oslo_config import cfg

from bench.lab.rabbitmq import PrivateRabbit
from bus.kit import Agents, background, spec, until
from fakes.service import FakeService
from longshore.bus.client import ComputeClient
from longshore.bus.server import BusServer
from longshore.bus.transport import queue
from longshore.errors import BrokerUnavailable, DeadlineExceeded, InvalidRequest

TESTS = Path(__file__).parents[1]
#: Nobody listens on this port: it is reserved.
NOWHERE = "rabbit://guest:guest@127.0.0.1:1/"


@pytest.fixture
def doomed(rabbit: PrivateRabbit, node: str) -> Iterator[subprocess.Popen[str]]:
    """An agent that takes creates and does not answer them."""
    with subprocess.Popen(
        [sys.executable, str(TESTS / "bus" / "agent_process.py"), rabbit.url, node],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
    ) as process:
        assert _line(process.stdout) == "up"
        yield process
        process.kill()


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def test_an_agent_killed_in_mid_call(
    agents: Agents,
    nodes: ComputeClient,
    node: str,
    service: FakeService,
    doomed: subprocess.Popen[str],
) -> None:
    request_id = str(uuid4())
    answer = background(lambda: nodes.create(node, spec(), request_id=request_id, deadline=60))
    assert _line(doomed.stdout) == request_id
    doomed.kill()
    doomed.wait()
    agents()
    assert answer.result(60).state == "running"
    assert {one.id for one in service.requests} == {request_id}
    assert service.done["create"] == 1


def test_an_agent_that_is_gone_leaves_the_outcome_unknown(
    agents: Agents,
    nodes: ComputeClient,
    rabbit: PrivateRabbit,
    node: str,
    service: FakeService,
    doomed: subprocess.Popen[str],
) -> None:
    doomed.kill()
    doomed.wait()
    request_id = str(uuid4())
    with pytest.raises(DeadlineExceeded) as caught:
        nodes.create(node, spec(), request_id=request_id, deadline=3.0)
    error = caught.value
    assert (error.details["request_id"], error.object) == (request_id, node)
    assert "may still happen" in str(error)
    # What lies in the queue expires with its caller's deadline: the next agent is not asked.
    with kombu.Connection(rabbit.url.replace("rabbit://", "amqp://")) as wire:
        channel = wire.channel()
        until(lambda: channel.queue_declare(queue(node), passive=True).message_count == 0, 5.0)
    agents()
    assert nodes.list(node) == []
    assert service.calls["create"] == 0


def test_a_call_longer_than_the_silence_is_one_call(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    """The agent says that it is at work: `silence` is two seconds here."""
    agents()
    gate = service.hold("create")
    answer = background(lambda: nodes.create(node, spec()))
    service.wait_for("create", 1)
    assert not gate.wait(4.5)
    gate.set()
    assert answer.result(20).state == "running"
    assert service.calls["create"] == 1


def test_a_broker_restart_in_mid_call(
    agents: Agents, nodes: ComputeClient, rabbit: PrivateRabbit, node: str, service: FakeService
) -> None:
    agent = agents()
    gate = service.hold("create")
    request_id = str(uuid4())
    answer = background(lambda: nodes.create(node, spec(), request_id=request_id, deadline=90))
    service.wait_for("create", 1)
    since = agent.state().since
    rabbit.kill()
    until(lambda: agent.state().state == "down")
    assert agent.state().since > since
    gate.set()
    rabbit.start()
    assert answer.result(90).state == "running"
    assert service.done["create"] == 1
    until(lambda: agent.state().state == "up")
    assert nodes.node_status(node, deadline=30).name == "n1"


def test_an_agent_starts_without_a_broker_and_joins_later(
    agents: Agents, nodes: ComputeClient, rabbit: PrivateRabbit, node: str
) -> None:
    rabbit.kill()
    agent = agents(wait=False)
    until(lambda: agent.state().state == "down")
    assert "cannot reach RabbitMQ" in agent.state().detail
    rabbit.start()
    until(lambda: agent.state().state == "up")
    assert agent.state().version[0].isdigit()
    assert nodes.node_status(node).name == "n1"


def test_stopping_and_asking_while_the_broker_is_down(
    agents: Agents, nodes: ComputeClient, rabbit: PrivateRabbit, node: str
) -> None:
    agent = agents()
    assert nodes.list(node) == []
    rabbit.kill()
    try:
        for _ in range(2):  # the second time it is known to be down
            with pytest.raises(BrokerUnavailable) as caught:
                nodes.create(node, spec(), deadline=2.0)
            assert caught.value.details["request_id"]
        assert agent.stop(20.0)
        assert agent.state().state == "unknown"
        nodes.close()
    finally:
        rabbit.start()


def test_a_broker_that_was_never_there(rabbit: PrivateRabbit) -> None:
    with ComputeClient(NOWHERE) as nodes, pytest.raises(BrokerUnavailable) as caught:
        nodes.create("n1", spec(), deadline=1.0)
    assert caught.value.details["sent"] is False
    agent = BusServer(cfg.ConfigOpts(), NOWHERE, "n1", FakeService())
    agent.start()
    until(lambda: agent.state().state == "down")
    assert agent.stop(10.0)


def test_a_wrong_password_is_no_broker(rabbit: PrivateRabbit) -> None:
    url = rabbit.url.replace("guest:guest", "guest:wrong")
    with ComputeClient(url) as nodes, pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED"):
        nodes.create("n1", spec(), deadline=1.0)


def test_a_frozen_broker_holds_nobody(
    agents: Agents, nodes: ComputeClient, rabbit: PrivateRabbit, node: str
) -> None:
    agents()
    assert nodes.list(node) == []
    os.kill(rabbit.pid, 19)
    try:
        with pytest.raises(DeadlineExceeded), ComputeClient(rabbit.url) as fresh:
            background(lambda: nodes.create(node, spec(), deadline=1.0)).result(10)
        with pytest.raises(BrokerUnavailable), ComputeClient(rabbit.url) as fresh:
            background(lambda: fresh.create(node, spec(), deadline=1.0)).result(10)
    finally:
        os.kill(rabbit.pid, 18)
    assert nodes.node_status(node).name == "n1"


def test_a_queue_of_other_options_is_told_and_waited_for(
    agents: Agents, nodes: ComputeClient, rabbit: PrivateRabbit, node: str
) -> None:
    with kombu.Connection(rabbit.url.replace("rabbit://", "amqp://")) as wire:
        channel = wire.channel()
        channel.queue_declare(queue(node), durable=True, auto_delete=False)
        agent = agents(wait=False)
        until(lambda: agent.state().state == "down")
        assert "inequivalent arg 'durable'" in agent.state().detail
        channel.queue_delete(queue(node))
    until(lambda: agent.state().state == "up")
    assert nodes.list(node) == []


def test_stop_before_start_and_twice(agents: Agents, rabbit: PrivateRabbit, node: str) -> None:
    assert BusServer(cfg.ConfigOpts(), rabbit.url, node, FakeService()).stop()
    agent = agents()
    assert agent.stop(20.0)
    assert agent.stop(20.0)


def test_stop_does_not_wait_for_ever(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agent = agents()
    gate = service.hold("create")
    answer = background(lambda: nodes.create(node, spec()))
    service.wait_for("create", 1)
    assert agent.stop(0.5) is False
    gate.set()
    assert answer.result(20).state == "running"
    assert agent.stop(20.0)


@pytest.mark.parametrize(
    "url", ["", "http://x/", "rabbit://", "kafka://a:1/", "rabbit://h:x/", "fake://"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ComputeClient(url)
    assert caught.value.field == "transport_url"
    with pytest.raises(InvalidRequest):
        BusServer(cfg.ConfigOpts(), url, "n1", FakeService())
