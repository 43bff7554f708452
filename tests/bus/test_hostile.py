"""What strangers send: each bad message is refused or dropped, and the agent serves on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import kombu
import oslo_messaging
import pytest
from oslo_config import cfg

from bench.lab.rabbitmq import PrivateRabbit
from bus.kit import Agents, spec, until
from fakes.service import FakeService
from longshore.bus.client import ComputeClient
from longshore.bus.transport import open_bus, queue, target
from longshore.errors import InvalidRequest, LongshoreError, MessageTooLarge, from_dict

ID = str(uuid4())
AUTH = "auth.credential"


@pytest.fixture
def bus(rabbit: PrivateRabbit) -> Iterator[Any]:
    """oslo.messaging itself, without our client's care."""
    one = open_bus(cfg.ConfigOpts(), rabbit.url, {}).transport
    yield one
    one.cleanup()


def call(bus: Any, node: str, verb: str, message: dict[str, Any], **to: Any) -> Any:
    client = oslo_messaging.get_rpc_client(bus, target(node)(**to), timeout=10, retry=0)
    try:
        return client.call({}, verb, **message)
    except LongshoreError as error:
        return from_dict(error.to_dict())


@pytest.mark.parametrize(
    ("verb", "message", "field"),
    [
        ("create", {}, "request_id"),
        ("create", {"request_id": ID, "spec": "web"}, "spec"),
        ("create", {"request_id": ID, "spec": {}, "context": 1}, "context"),
        ("create", {"request_id": ID, "spec": {}, "message": 1}, "message"),
        ("start", {"request_id": "1", "ref": "web"}, "request_id"),
        ("stop", {"request_id": ID, "ref": "web", "generation": 0}, "generation"),
        ("delete", {"request_id": ID, "ref": "web", "wait": "stopped"}, "wait"),
        ("show", {"ref": 7}, "ref"),
        ("load_image", {"path": "../x"}, "path"),
        ("list_images", {"all": 1}, "all"),
        ("pull_image", {"name": "web", "auth": {"credential": {"user": "x"}}}, AUTH + ".user"),
        ("push_image", {"name": "web", "to": "We b"}, "to"),
        ("commit", {"ref": "web", "name": "web", "message": 1}, "message"),
        ("node_status", {"x": None}, "x"),
        ("reboot", {}, "method"),
        ("lane", {"verb": "list"}, "method"),
        ("__init__", {}, "method"),
        ("oslo_rpc_server_ping", {}, "method"),
    ],
)
def test_bad_arguments(
    agents: Agents,
    bus: Any,
    node: str,
    service: FakeService,
    verb: str,
    message: dict[str, Any],
    field: str,
) -> None:
    agents()
    error = call(bus, node, verb, message)
    assert (type(error), error.field) == (InvalidRequest, field)
    assert str(error).startswith("cannot ")
    assert service.calls.total() == 0


@pytest.mark.parametrize(
    ("to", "field"),
    [
        ({"version": "2.0"}, "version"),
        ({"version": "1.7"}, "version"),
        ({"namespace": "x"}, "namespace"),
    ],
)
def test_another_version(
    agents: Agents, bus: Any, node: str, to: dict[str, Any], field: str
) -> None:
    agents()
    error = call(bus, node, "list", {}, **to)
    assert (type(error), error.field) == (InvalidRequest, field)
    assert call(bus, node, "list", {}, version="1.0") == []


def test_an_oversized_message(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService
) -> None:
    agents(max_message=20_000)
    big = spec(labels={f"l{i}": "x" * 1000 for i in range(25)})
    with pytest.raises(MessageTooLarge) as caught:
        nodes.create(node, big)
    assert caught.value.details["limit"] == 20_000
    assert caught.value.details["size"] > 25_000
    assert service.calls.total() == 0
    assert nodes.create(node, spec(labels={"l": "x" * 1000})).state == "running"


def envelope(**message: Any) -> str:
    whole = {"method": "list", "args": {}, "version": "1.0", "_unique_id": uuid4().hex, **message}
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(whole)})


REPLY = {"_msg_id": "m", "_reply_q": "reply_nobody"}
JSON = "application/json"
GARBAGE: list[tuple[bytes | str, str, str]] = [
    (b"", JSON, "utf-8"),
    (b"\xff\xfe\x00garbage", JSON, "utf-8"),
    (b"\xff\xfe\x00garbage", "application/octet-stream", "binary"),
    ("{", JSON, "utf-8"),
    ("null", JSON, "utf-8"),
    ("[]", JSON, "utf-8"),
    ("[[1, 2]]", JSON, "utf-8"),
    ("7", JSON, "utf-8"),
    ('"text"', JSON, "utf-8"),
    ("{}", JSON, "utf-8"),
    ("{}", JSON, "no-such-encoding"),
    ("{}", "text/strange", "utf-8"),
    (b"\x80\x04}.", "application/x-python-serialize", "binary"),
    ("a: 1", "application/x-yaml", "utf-8"),
    ('{"oslo.version": "9.0", "oslo.message": "{}"}', JSON, "utf-8"),
    ('{"oslo.version": 2, "oslo.message": "{}"}', JSON, "utf-8"),
    ('{"oslo.version": "2.0", "oslo.message": "{"}', JSON, "utf-8"),
    ('{"oslo.version": "2.0", "oslo.message": "[1]"}', JSON, "utf-8"),
    ('{"oslo.version": "2.0", "oslo.message": "null"}', JSON, "utf-8"),
    ("[" * 100_000, JSON, "utf-8"),
    (envelope(method=None), JSON, "utf-8"),
    (envelope(method=["list"]), JSON, "utf-8"),
    (envelope(method="reboot", _timeout=600, **REPLY), JSON, "utf-8"),
    (envelope(method=7, _timeout=600, **REPLY), JSON, "utf-8"),
    (envelope(args=None), JSON, "utf-8"),
    (envelope(args=[1], _timeout=600, **REPLY), JSON, "utf-8"),
    (envelope(version=None), JSON, "utf-8"),
    (envelope(version={}), JSON, "utf-8"),
    (envelope(_timeout=[]), JSON, "utf-8"),
    (envelope(_timeout="soon", **REPLY), JSON, "utf-8"),
    (envelope(_context_origin=[1], _context_request_id="a\nb"), JSON, "utf-8"),
    (envelope(_msg_id=["m"], _reply_q={"q": 1}), JSON, "utf-8"),
    (envelope(_unique_id=[1]), JSON, "utf-8"),
    (envelope(args={"self": 1, "ctxt": 2, "context": 3, "message": 4}), JSON, "utf-8"),
]


def test_garbage_neither_stops_nor_stalls_the_agent(
    agents: Agents, nodes: ComputeClient, rabbit: PrivateRabbit, node: str, service: FakeService
) -> None:
    agents()
    assert nodes.list(node) == []
    with kombu.Connection(rabbit.url.replace("rabbit://", "amqp://")) as wire:
        channel = wire.channel()
        for body, kind, encoding in GARBAGE:
            raw = body.encode() if isinstance(body, str) else body
            message = channel.prepare_message(
                raw, content_type=kind, content_encoding=encoding, headers={}
            )
            channel.basic_publish(message, exchange="longshore", routing_key=queue(node))
            assert nodes.node_status(node).name == "n1"
        until(lambda: channel.queue_declare(queue(node), passive=True).message_count == 0)
    assert service.calls["node_status"] == len(GARBAGE)
    assert nodes.create(node, spec()).state == "running"


def test_a_refused_envelope_leaves_no_thread(
    agents: Agents, nodes: ComputeClient, bus: Any, node: str
) -> None:
    """oslo.messaging's own dispatcher leaves its call monitor running for an unknown verb."""
    agents()
    client = oslo_messaging.get_rpc_client(
        bus, target(node), timeout=10, retry=0, call_monitor_timeout=600
    )

    def refuse() -> None:
        with pytest.raises(InvalidRequest):
            client.call({}, "reboot")

    refuse()
    before = threading.active_count()
    for _ in range(10):
        refuse()
    until(lambda: threading.active_count() <= before + 2, 5.0)
