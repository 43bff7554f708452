"""More than the agent can do: refused at once, never queued without bound, never blind."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import kombu
import oslo_messaging
import pytest
from oslo_config import cfg

from bench.lab.rabbitmq import PrivateRabbit
from bus.kit import Agents, background, spec, until
from fakes.service import FakeService
from longshore.bus import wire
from longshore.bus.client import ComputeClient
from longshore.bus.dispatch import BoundedServer
from longshore.bus.transport import open_bus, queue, target
from longshore.errors import AgentBusy
from longshore.lifecycle.lanes import LANES, sizes


def test_all_else_answers_while_every_create_hangs(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents(workers=16)
    web = nodes.create(node, spec())
    gate = service.hold("create")
    hanging = [background(lambda: nodes.create(node, spec())) for _ in range(16)]
    service.wait_for("create", 17)
    with pytest.raises(AgentBusy) as caught:
        nodes.create(node, spec(), deadline=1.5)
    assert caught.value.details == {"lane": "begin", "limit": 16}
    with pytest.raises(AgentBusy):
        nodes.start(node, web.id, deadline=1.5)
    assert nodes.node_status(node).name == "n1"
    assert nodes.show(node, web.id).id == web.id
    assert [one.id for one in nodes.list(node)] == [web.id]
    assert nodes.stop(node, web.id).state == "stopped after None"
    assert nodes.delete(node, web.id).state.startswith("absent")
    assert len(nodes.list_images(node)) == 1
    assert service.calls["create"] == 17
    gate.set()
    assert [one.result(30).state for one in hanging] == ["running"] * 16
    assert nodes.create(node, spec()).state == "running"


def test_stops_with_a_long_grace_leave_room_to_delete(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents(workers=2)
    web = nodes.create(node, spec())
    gate = service.hold("stop")
    hanging = [background(lambda: nodes.stop(node, web.id)) for _ in range(sizes(2)["stop"])]
    service.wait_for("stop", len(hanging))
    assert nodes.delete(node, web.id, force=True).state == "absent, forced True"
    gate.set()
    assert len([one.result(30) for one in hanging]) == 2


def test_loads_leave_room_to_list_images(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents(workers=2)
    gate = service.hold("load_image")
    count = sizes(2)["image"]
    hanging = [background(lambda: nodes.load_image(node, "/srv/web.tar")) for _ in range(count)]
    service.wait_for("load_image", count)
    assert len(nodes.list_images(node)) == 1
    gate.set()
    assert all(one.result(30) for one in hanging)


def test_what_waits_for_an_image_leaves_room_for_what_need_not(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents(workers=2)
    count = sizes(2)["pull"]
    service.absent.add("far:1")
    here = nodes.create(node, spec())
    away = nodes.create(node, spec(image="far:1"))
    gates = [service.hold(verb) for verb in ("create", "start", "pull_image")]
    hanging: list[Future[Any]] = [
        *(background(lambda: nodes.create(node, spec(image="far:1"))) for _ in range(count - 2)),
        background(lambda: nodes.start(node, away.id)),
        background(lambda: nodes.pull_image(node, "far:1")),
    ]
    service.wait_for("create", 2 + count - 2)
    service.wait_for("start", 1)
    service.wait_for("pull_image", 1)
    for refused in (
        lambda: nodes.create(node, spec(image="far:1"), deadline=0.6),
        lambda: nodes.start(node, away.id, deadline=0.6),
        lambda: nodes.pull_image(node, "far:1", deadline=0.6),
    ):
        with pytest.raises(AgentBusy) as caught:
            refused()
        assert caught.value.details == {"lane": "pull", "limit": count}
    hanging += [
        background(lambda: nodes.create(node, spec())),
        background(lambda: nodes.start(node, here.id)),
    ]
    service.wait_for("create", 2 + count - 2 + 1)
    service.wait_for("start", 2)
    assert nodes.delete(node, away.id, force=True).state == "absent, forced True"
    for gate in gates:
        gate.set()
    assert all(one.result(30) for one in hanging)
    # Every place has been given back: as many find room again.
    again = [background(lambda: nodes.create(node, spec(image="far:1"))) for _ in range(count)]
    assert [one.result(30).state for one in again] == ["running"] * count


@pytest.mark.parametrize(
    "verbs", [("stop", "delete", "load_image", "list", "create", "pull_image", "tag_image")]
)
def test_the_status_answers_while_all_lanes_are_full(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService, verbs: tuple[str, ...]
) -> None:
    agents(workers=2)
    web = nodes.create(node, spec())
    places = sizes(2)
    for verb in verbs:
        service.hold(verb)
    calls: dict[str, Any] = {
        "create": lambda: nodes.create(node, spec()),
        "stop": lambda: nodes.stop(node, web.id),
        "delete": lambda: nodes.delete(node, web.id),
        "load_image": lambda: nodes.load_image(node, "/srv/web.tar"),
        "list": lambda: nodes.list(node),
        "pull_image": lambda: nodes.pull_image(node, "web"),
        "tag_image": lambda: nodes.tag_image(node, "web", "web:2"),
    }
    lanes = {verb: lane for lane, of_it in LANES.items() for verb in of_it}
    hanging = []
    for verb in verbs:
        before = service.calls[verb]
        hanging += [background(calls[verb]) for _ in range(places[lanes[verb]])]
        service.wait_for(verb, before + places[lanes[verb]])
    for _ in range(5):
        assert nodes.node_status(node).name == "n1"
    for verb in verbs:
        with pytest.raises(AgentBusy):
            nodes._asking.ask(node, verb, {}, 0.8)
    for gate in service.gates.values():
        gate.set()
    assert all(one.result(30) for one in hanging)


def test_a_caller_who_is_patient_gets_through(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents(workers=2)
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda _: nodes.create(node, spec()).state, range(48)))
    assert done == ["running"] * 48
    assert service.done["create"] == 48
    assert 1 <= service.most <= 2


class Slow:
    """An endpoint whose every call waits for the gate."""

    target = oslo_messaging.Target(version=wire.VERSION)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.ended = 0

    def list(self, context: Any, /, **message: Any) -> list[Any]:
        self.begun.release()
        self.gate.wait(60)
        self.ended += 1
        return []


def test_what_no_thread_is_free_for_stays_at_the_broker(rabbit: PrivateRabbit, node: str) -> None:
    threads, prefetch, sent = 2, 3, 50
    bus = open_bus(cfg.ConfigOpts(), rabbit.url, {"rabbit_qos_prefetch_count": prefetch})
    endpoint = Slow()
    server = BoundedServer(bus.transport, target(node), [endpoint], threads)
    server.listen()
    client = oslo_messaging.get_rpc_client(bus.transport, target(node), retry=0)
    with kombu.Connection(rabbit.url.replace("rabbit://", "amqp://")) as wire_:
        channel = wire_.channel()

        def waiting() -> int:
            return int(channel.queue_declare(queue(node), passive=True).message_count)

        for _ in range(sent):
            client.cast({}, "list")
        for _ in range(threads):
            assert endpoint.begun.acquire(timeout=10)
        # At work, one in the listener's hand, and the prefetched.
        until(lambda: waiting() == sent - threads - 1 - prefetch)
        endpoint.gate.set()
        until(lambda: endpoint.ended == sent)
        assert waiting() == 0
    server.close()
    bus.transport.cleanup()


def test_the_servers_prefetch_is_bound_unless_the_user_says_otherwise() -> None:
    from longshore.bus.server import _rabbit

    url = "rabbit://guest:guest@127.0.0.1:1/"
    assert open_bus(cfg.ConfigOpts(), url, _rabbit(16)).rabbit.rabbit_qos_prefetch_count == 16
    query = f"{url}?rabbit_qos_prefetch_count=5"
    assert open_bus(cfg.ConfigOpts(), query, _rabbit(16)).rabbit.rabbit_qos_prefetch_count == 5
