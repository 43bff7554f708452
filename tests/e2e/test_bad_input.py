"""What must be refused, at each door: one clear error with a stable code, and nothing left.

Doors: `bus` and `local` are the clients that schedulers and operators use; `raw` is gRPC without
the client's own check, so that the agent's is the one that refuses.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from oslo_config import cfg

from bench.lab.rabbitmq import PrivateRabbit
from e2e.lab import Lab, free_port, until
from longshore.bus.asking import Asking
from longshore.bus.client import ComputeClient
from longshore.bus.transport import open_bus
from longshore.errors import LongshoreError
from longshore.local import convert
from longshore.local.calls import Calls
from longshore.pb.longshore.v1 import agent_pb2

MIB = 2**20
Door = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True)
class World:
    """A node on which something is taken: by `holder`, a container, and by processes.

    `before`: what is on the host and in the journal as long as nothing else is made.
    """

    lab: Lab
    holder: dict[str, Any]
    address: str
    gateway: str
    port: int
    tcp: int
    udp: int
    roots: Path
    outside: Path
    before: list[str]


@dataclass(frozen=True)
class Case:
    """`spec`: what is asked beside name, id and image. `object` 'name': the container's name.

    `untyped`: gRPC has no way to say it, so that only the bus and the client can be asked.
    """

    id: str
    spec: Callable[[World], dict[str, Any]]
    code: str
    field: str | None
    object: Callable[[World], str] | str = "name"
    untyped: bool = False


def limits(**values: Any) -> Callable[[World], dict[str, Any]]:
    return lambda world: {"limits": values}


def bind(source: Callable[[World], Path], *targets: str) -> Callable[[World], dict[str, Any]]:
    return lambda world: {
        "mounts": [
            {"type": "bind", "source": str(source(world)), "target": target}
            for target in targets or ("/x",)
        ]
    }


def publish(port: Callable[[World], int], protocol: str = "tcp", ip: str = "0.0.0.0") -> Any:
    return lambda world: {
        "ports": [
            {
                "container_port": 80,
                "host_port": port(world),
                "protocol": protocol,
                "host_ip": ip,
            }
        ]
    }


def at(address: Callable[[World], str]) -> Callable[[World], dict[str, Any]]:
    return lambda world: {"nics": [{"address": address(world)}]}


def named(name: str) -> Callable[[World], dict[str, Any]]:
    return lambda world: {"name": name}


SPEC, SOURCE, HOST_PORT, ADDRESS = (
    "invalid_spec",
    "mounts[0].source",
    "ports[0].host_port",
    "nics[0].address",
)
CASES = [
    Case("unknown field", lambda world: {"colour": "red"}, SPEC, "colour", untyped=True),
    Case("unknown limit", limits(memroy=MIB), SPEC, "limits.memroy", untyped=True),
    Case("memory with a unit", limits(memory="512m"), SPEC, "limits.memory", untyped=True),
    Case("memory as a fraction", limits(memory=6.5e6 + 0.5), SPEC, "limits.memory", untyped=True),
    Case("cpus as text", limits(cpus="1.5"), SPEC, "limits.cpus", untyped=True),
    Case("cpus as truth", limits(cpus=True), SPEC, "limits.cpus", untyped=True),
    Case("negative memory", limits(memory=-1), SPEC, "limits.memory"),
    Case("negative cpus", limits(cpus=-0.5), SPEC, "limits.cpus"),
    Case("negative pids", limits(pids=-1), SPEC, "limits.pids"),
    Case("memory under 6 MiB", limits(memory=6 * MIB - 1), SPEC, "limits.memory"),
    Case(
        "swap below memory", limits(memory=8 * MIB, memory_swap=7 * MIB), SPEC, "limits.memory_swap"
    ),
    Case("cpus above the node's", limits(cpus=4095), "exhausted", "limits.cpus"),
    Case("memory above the node's", limits(memory=2**52), "exhausted", "limits.memory"),
    Case("a CPU that is not there", limits(cpuset="4095"), SPEC, "limits.cpuset"),
    Case(
        "source outside the roots",
        bind(lambda world: world.outside),
        "policy_forbids",
        SOURCE,
        lambda world: str(world.outside),
    ),
    Case(
        "source through a link out",
        bind(lambda world: world.roots / "way-out"),
        "policy_forbids",
        SOURCE,
        lambda world: str(world.roots / "way-out"),
    ),
    Case(
        "source below a link out",
        bind(lambda world: world.roots / "way-out" / "below"),
        "policy_forbids",
        SOURCE,
        lambda world: str(world.roots / "way-out" / "below"),
    ),
    Case("source with ..", bind(lambda world: world.roots / ".." / "x"), SPEC, SOURCE),
    Case(
        "source that is not there",
        bind(lambda world: world.roots / "nothing"),
        SPEC,
        SOURCE,
        lambda world: str(world.roots / "nothing"),
    ),
    Case("target twice", bind(lambda world: world.roots, "/x", "/x/"), SPEC, "mounts[1].target"),
    Case("target /", bind(lambda world: world.roots, "/"), SPEC, "mounts[0].target"),
    Case(
        "port of a container",
        publish(lambda world: world.port),
        "port_in_use",
        HOST_PORT,
        lambda world: f"tcp 0.0.0.0:{world.port}",
    ),
    Case(
        "port of a container, at one address",
        publish(lambda world: world.port, ip="127.0.0.1"),
        "port_in_use",
        HOST_PORT,
        lambda world: f"tcp 127.0.0.1:{world.port}",
    ),
    Case(
        "TCP port of a process",
        publish(lambda world: world.tcp),
        "port_in_use",
        HOST_PORT,
        lambda world: f"tcp 0.0.0.0:{world.tcp}",
    ),
    Case(
        "UDP port of a process",
        publish(lambda world: world.udp, "udp"),
        "port_in_use",
        HOST_PORT,
        lambda world: f"udp 0.0.0.0:{world.udp}",
    ),
    Case(
        "an address that is not the node's",
        publish(lambda world: 8080, ip="198.51.100.1"),
        SPEC,
        "ports[0].host_ip",
        "tcp 198.51.100.1:8080",
    ),
    Case("port 0", publish(lambda world: 0), SPEC, HOST_PORT),
    Case("address outside", at(lambda world: "10.1.2.3"), SPEC, ADDRESS, "10.1.2.3"),
    Case(
        "address taken",
        at(lambda world: world.address),
        "address_in_use",
        ADDRESS,
        lambda world: world.address,
    ),
    Case(
        "the gateway's address",
        at(lambda world: world.gateway),
        SPEC,
        ADDRESS,
        lambda world: world.gateway,
    ),
    Case("no address", at(lambda world: "10.1.2.300"), SPEC, ADDRESS),
    Case("unknown network", lambda world: {"nics": [{"network": "dmz"}]}, SPEC, "nics[0].network"),
    Case(
        "unknown image",
        lambda world: {"image": "nothing:1", "pull": "never"},
        "image_not_found",
        "image",
        "docker.io/library/nothing:1",
    ),
    Case("name taken", lambda world: {"name": world.holder["name"]}, "name_in_use", "name"),
    Case("id taken", lambda world: {"id": world.holder["id"]}, "container_exists", "id", "id"),
    Case("id that is no uuid", lambda world: {"id": "../../etc"}, SPEC, "id"),
    *(
        Case(f"name {name!r}", named(name), SPEC, "name")
        for name in ("", "-x", "a/b", "../a", "a b", "a\nb", "ü", "$(id)", "x" * 64)
    ),
    Case("a user with odd characters", lambda world: {"user": "a b"}, SPEC, "user"),
    Case("a NUL in the command", lambda world: {"command": ["a\0b"]}, SPEC, "command[0]"),
    Case(
        "privileged",
        lambda world: {"security": {"privileged": True}},
        "policy_forbids",
        "security.privileged",
    ),
    Case(
        "a capability that is root on the node",
        lambda world: {"security": {"cap_add": ["NET_ADMIN", "SYS_ADMIN"]}},
        "policy_forbids",
        "security.cap_add[1]",
    ),
    Case(
        "a message of more than a mebibyte",
        lambda world: {"env": {f"K{n}": "x" * 32000 for n in range(40)}},
        "message_too_large",
        None,
        "",
    ),
]


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    roots, outside = lab.volume("roots"), tmp_path_factory.mktemp("outside")
    (outside / "below").mkdir()
    (roots / "way-out").symlink_to(outside)
    port = free_port()
    holder = lab.spec(ports=[{"container_port": 80, "host_port": port}])
    nic = lab.client.create(holder).nics[0]
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        yield World(
            lab,
            holder,
            nic.address,
            nic.gateway,
            port,
            tcp.getsockname()[1],
            udp.getsockname()[1],
            roots,
            outside,
            sorted(lab.left()),
        )
    lab.client.delete(holder["id"], force=True)


@pytest.fixture
def unchanged(world: World) -> Iterator[None]:
    """The host and the journal hold the same after the test as before."""
    yield
    until(lambda: sorted(world.lab.left()) == world.before, 10.0)


@pytest.fixture
def doors(lab: Lab, nodes: ComputeClient) -> Mapping[str, Door]:
    calls = Calls(lab.agent.socket)

    def raw(spec: Mapping[str, Any]) -> object:
        message = agent_pb2.CreateRequest(
            intent=agent_pb2.Intent(request_id=str(uuid.uuid4())),
            spec=convert.fill(agent_pb2.ContainerSpec(), spec),
        )
        try:
            return calls.change("Create", "create", message, time.monotonic() + 20.0)
        finally:
            calls.close()

    return {
        "bus": lambda spec: nodes.create(lab.agent.node, spec, deadline=20.0),
        "local": lab.client.create,
        "raw": raw,
    }


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("door", "case"),
    [
        pytest.param(door, case, id=f"{door}-{case.id}")
        for case in CASES
        for door in ("bus", "local", "raw")
        if not (case.untyped and door == "raw")
    ],
)
def test_refused(world: World, doors: Mapping[str, Door], door: str, case: Case) -> None:
    spec = world.lab.spec(**case.spec(world))
    with pytest.raises(LongshoreError) as caught:
        doors[door](spec)
    error = caught.value
    assert (error.code, error.field) == (case.code, case.field), error.message
    assert (error.object or "") == _object(case, world, spec)
    assert error.message.startswith("cannot ")
    assert "\n" not in error.message
    assert not error.retry
    if error.code == SPEC:
        assert case.field in [fault["field"] for fault in error.details["faults"]]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("door", ["bus", "local", "raw"])
@pytest.mark.parametrize("command", ["/no/such", "no-such"])
def test_command_not_in_the_image(
    world: World, doors: Mapping[str, Door], door: str, command: str
) -> None:
    """Only the runtime can know: the container is made, fails, and holds nothing but its reason."""
    spec = world.lab.spec(command=[command], ports=[{"container_port": 80}])
    with pytest.raises(LongshoreError) as caught:
        doors[door](spec)
    error = caught.value
    assert (error.code, error.field, error.object) == ("command_not_found", "command", spec["id"])
    assert command in error.message
    failed = world.lab.client.show(spec["id"])
    assert (failed.state, failed.error.code if failed.error else "") == ("failed", error.code)
    until(
        lambda: (
            [line for line in world.lab.left() if spec["id"] in line] == [f"record of {spec['id']}"]
        )
    )
    assert world.lab.client.delete(spec["id"]).state == "absent"


@pytest.mark.usefixtures("unchanged")
def test_all_faults_are_told_at_once(world: World, doors: Mapping[str, Door]) -> None:
    spec = world.lab.spec(
        name="a b", limits={"memory": 1, "pids": 0}, ports=[{"container_port": 70000}]
    )
    told = []
    for door in doors.values():
        with pytest.raises(LongshoreError) as caught:
            door(spec)
        told.append({fault["field"] for fault in caught.value.details["faults"]})
    assert told == [{"name", "limits.memory", "limits.pids", "ports[0].container_port"}] * 3


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("verb", "message", "field"),
    [
        ("create", {}, "request_id"),
        ("create", {"request_id": "1", "spec": {}}, "request_id"),
        ("create", {"request_id": str(uuid.uuid4()), "spec": ["web"]}, "spec"),
        ("create", {"request_id": str(uuid.uuid4()), "spec": {}, "colour": 1}, "colour"),
        ("create", {"request_id": str(uuid.uuid4()), "spec": {}, "wait": "stopped"}, "wait"),
        ("start", {"request_id": str(uuid.uuid4()), "ref": ""}, "ref"),
        ("stop", {"request_id": str(uuid.uuid4()), "ref": "x", "grace": -1}, "grace"),
        ("delete", {"request_id": str(uuid.uuid4()), "ref": "x", "force": "yes"}, "force"),
        ("load_image", {"path": "busybox.tar"}, "path"),
        ("explode", {}, "method"),
    ],
)
def test_malformed_message_on_the_bus(
    world: World, rabbit: PrivateRabbit, verb: str, message: dict[str, Any], field: str
) -> None:
    asking = Asking(open_bus(cfg.ConfigOpts(), rabbit.url, {}), 5, {"origin": "e2e"})
    try:
        with pytest.raises(LongshoreError) as caught:
            asking.ask(world.lab.agent.node, verb, message, 20.0)
    finally:
        asking.close()
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("intent", "field"),
    [
        ({}, "intent.request_id"),
        ({"request_id": "1"}, "intent.request_id"),
        ({"request_id": str(uuid.uuid4()), "generation": -1}, "intent.generation"),
        ({"request_id": str(uuid.uuid4()), "wait": "stopped"}, "intent.wait"),
    ],
)
def test_malformed_message_at_the_socket(world: World, intent: dict[str, Any], field: str) -> None:
    calls = Calls(world.lab.agent.socket)
    spec = convert.fill(agent_pb2.ContainerSpec(), world.lab.spec())
    message = agent_pb2.CreateRequest(intent=agent_pb2.Intent(**intent), spec=spec)
    try:
        with pytest.raises(LongshoreError) as caught:
            calls.change("Create", "create", message, time.monotonic() + 20.0)
    finally:
        calls.close()
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)


@pytest.mark.usefixtures("unchanged")
def test_bytes_that_are_no_message(world: World) -> None:
    with grpc.insecure_channel(f"unix:{world.lab.agent.socket}") as channel:
        call = channel.unary_unary("/longshore.v1.Agent/Create", _as_is, _as_is)
        for garbage in (b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n"):
            with pytest.raises(grpc.RpcError) as caught:
                call(garbage, timeout=20.0)
            assert caught.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(world.lab.agent.socket))
        wire.sendall(b"\0" * 4096)
    assert [one.id for one in world.lab.client.list()] == [world.holder["id"]]


def _as_is(message: bytes) -> bytes:
    return message


def _object(case: Case, world: World, spec: Mapping[str, Any]) -> str:
    if callable(case.object):
        return case.object(world)
    if case.object == "name":
        return str(spec["name"] or spec["id"])
    return str(spec["id"]) if case.object == "id" else case.object
