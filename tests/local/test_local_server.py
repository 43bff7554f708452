"""The server itself: who may open it, what is bounded, what is left when it goes."""

from __future__ import annotations

import grp
import os
import signal
import socket as sockets
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fakes.node import FakeNode, status
from longshore import errors
from longshore.local.client import LocalClient
from longshore.local.health import WATCHERS
from longshore.local.server import NAME, LocalServer
from longshore.model.spec import parse
from longshore.pb.longshore.v1 import agent_pb2, agent_pb2_grpc

SPEC = {"id": "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": "web", "image": "busybox:1"}


@contextmanager
def serving(node: FakeNode, socket: Path, group: str = "longshore") -> Iterator[LocalServer]:
    server = LocalServer(node, socket, group=group, grace=0.2)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def impatient(socket: Path) -> LocalClient:
    """Asks once, and long enough for one answer."""
    return LocalClient(socket, timeout=0.45)


def test_mode_and_group(node: FakeNode, socket: Path) -> None:
    group = next(one for one in grp.getgrall() if one.gr_gid not in (0, os.getgid()))
    with serving(node, socket, group.gr_name):
        for path in (socket, Path(f"{socket}.peer")):
            found = path.stat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o660
            assert found.st_gid == group.gr_gid


def test_a_missing_group_is_told(
    node: FakeNode, socket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(node, socket, "no-such-group"), LocalClient(socket) as client:
        assert client.node_status().name == "node-1"
    assert "no group no-such-group" in caplog.text


def test_nothing_is_left(node: FakeNode, socket: Path) -> None:
    threads = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with serving(node, socket), LocalClient(socket) as client:
            client.create({**SPEC, "id": str(uuid4())})
            next(client.logs("web", follow=True))
            client.watch()
    assert {path.name for path in socket.parent.iterdir()} == {"agent.sock.lock"}
    ours = {one.name for one in set(threading.enumerate()) - threads}
    assert not [name for name in ours if name.startswith("local-")]
    # grpc keeps an epoll set and wake-up descriptors for the life of the process.
    assert len(os.listdir("/proc/self/fd")) < descriptors + 12


def test_a_dead_agents_socket_is_replaced(node: FakeNode, socket: Path) -> None:
    for path in (socket, Path(f"{socket}.peer")):
        with sockets.socket(sockets.AF_UNIX) as one:
            one.bind(str(path))
    with serving(node, socket), LocalClient(socket) as client:
        assert client.node_status().name == "node-1"


def test_a_live_agents_socket_is_not(server: LocalServer, node: FakeNode, socket: Path) -> None:
    before = socket.stat().st_ino
    with pytest.raises(errors.HostBusy, match="another agent does"):
        LocalServer(node, socket).start()
    assert socket.stat().st_ino == before
    with LocalClient(socket) as client:
        assert client.node_status().name == "node-1"


def test_what_is_no_socket_is_left_alone(node: FakeNode, socket: Path) -> None:
    socket.write_text("mine")
    with pytest.raises(errors.HostFailed, match="it is no socket"):
        LocalServer(node, socket).start()
    assert socket.read_text() == "mine"


def test_a_path_that_is_too_long(node: FakeNode, folder: Path) -> None:
    with pytest.raises(errors.HostFailed, match="too long"):
        LocalServer(node, folder / ("x" * 100)).start()


def test_no_agent(socket: Path) -> None:
    with (
        LocalClient(socket) as client,
        pytest.raises(errors.HostUnavailable, match="cannot reach the agent at") as caught,
    ):
        client.node_status()
    assert "is longshore-agent running" in str(caught.value.hint)


def test_a_dead_agent(socket: Path) -> None:
    with sockets.socket(sockets.AF_UNIX) as one:
        one.bind(f"{socket}.peer")
    with LocalClient(socket) as client, pytest.raises(errors.HostUnavailable, match="refused"):
        client.create(SPEC)


def test_one_who_is_not_in_the_group(server: LocalServer, socket: Path) -> None:
    socket.parent.chmod(0o755)
    code = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from pathlib import Path; from longshore.local.client import LocalClient\n"
        "from longshore.errors import HostUnavailable\n"
        f"try: LocalClient(Path({str(socket)!r})).node_status()\n"
        "except HostUnavailable as error: print(error, '|', error.hint)\n"
    )
    # What only root may read is imported before the privileges go.
    code = "import longshore.local.client\n" + code
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "Permission denied" in out
    assert "group longshore" in out


def test_reading_answers_while_all_changes_hang(
    server: LocalServer, client: LocalClient, node: FakeNode, socket: Path
) -> None:
    gate = node.hold("create")
    specs = [{**SPEC, "id": str(uuid4())} for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        hanging = [pool.submit(client.create, spec) for spec in specs]
        node.wait_for("create", 2)
        assert client.node_status().name == "node-1"
        assert client.list() == []
        with impatient(socket) as other, pytest.raises(errors.AgentBusy) as caught:
            other.create(SPEC)
        assert caught.value.details == {"lane": "begin", "limit": 2}
        gate.set()
        assert all(one.result().state == "running" for one in hanging)
    assert client.start("web").state == "running"


def test_stops_with_a_long_grace_leave_room_to_delete(
    client: LocalClient, node: FakeNode, socket: Path
) -> None:
    client.create(SPEC)
    stops, deletes = node.hold("stop"), node.hold("delete")
    with ThreadPoolExecutor(4) as pool:
        hanging = [pool.submit(client.stop, "web") for _ in range(2)]
        node.wait_for("stop", 2)
        assert client.start("web").state == "running"
        hanging += [pool.submit(client.delete, "web", force=True) for _ in range(2)]
        node.wait_for("delete", 2)
        with impatient(socket) as other, pytest.raises(errors.AgentBusy, match="cannot delete"):
            other.delete("web")
        assert client.list() != []
        deletes.set()
        stops.set()
        assert [one.result(20).state for one in hanging] == ["stopped"] * 2 + ["absent"] * 2


def test_streams_are_bounded_and_starve_no_verb(
    client: LocalClient, node: FakeNode, socket: Path
) -> None:
    client.create(SPEC)
    first = client.logs("web", follow=True)
    next(first)
    second = client.watch()
    with impatient(socket) as other, pytest.raises(errors.AgentBusy, match="cannot watch"):
        next(other.watch())
    assert client.stop("web", grace=1).state == "stopped"
    assert all(chunk.data == b"" for chunk in first)
    assert next(second).state == "stopped"


def test_a_change_survives_a_restart_of_the_agent(node: FakeNode, socket: Path) -> None:
    gate = node.hold("create")
    first = LocalServer(node, socket, grace=0)
    first.start()
    with LocalClient(socket) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.create, SPEC)
        node.wait_for("create", 1)
        first.stop()
        with serving(node, socket):
            node.wait_for("create", 2)
            gate.set()
            assert asked.result().state == "running"
    assert len({request.id for request in node.requests}) == 1
    assert node.done["create"] == 1


def test_a_create_that_a_stopping_agent_lets_go_of_is_asked_again(
    server: LocalServer, node: FakeNode, socket: Path
) -> None:
    """It may still wait for its image; the next agent goes on with it."""
    node.fail("create", errors.Interrupted("cannot finish: the agent stops"))
    with LocalClient(socket) as client:
        assert client.create(SPEC).state == "running"
    assert node.calls["create"] == 2
    assert len({request.id for request in node.requests}) == 1


def test_a_deadline_names_the_request(server: LocalServer, node: FakeNode, socket: Path) -> None:
    node.hold("create")
    request_id = str(uuid4())
    with (
        LocalClient(socket, timeout=0.5) as client,
        pytest.raises(errors.DeadlineExceeded, match="may have happened") as caught,
    ):
        client.create(SPEC, request_id=request_id)
    assert caught.value.details == {"request_id": request_id}


def test_an_agent_that_is_stopped_is_found_out(folder: Path) -> None:
    socket = folder / "agent.sock"
    code = (
        "import sys; from pathlib import Path; from fakes.node import FakeNode\n"
        "from longshore.local.server import LocalServer\n"
        "LocalServer(FakeNode(), Path(sys.argv[1])).start(); print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(socket)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"up\n"
            with LocalClient(socket, timeout=1) as client:
                client.node_status()
                agent.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, agent.pid, os.WSTOPPED)
                with pytest.raises(errors.DeadlineExceeded):
                    client.node_status()
            with LocalClient(socket) as late, pytest.raises(errors.HostUnavailable) as caught:
                late.node_status()
            assert "stuck" in str(caught.value.hint)
        finally:
            agent.kill()


def test_the_caller_is_known(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    me = f"uid={os.getuid()} gid={os.getgid()} pid={os.getpid()}"
    assert node.requests[0].origin == f"local {me}"


def test_the_caller_is_logged(
    client: LocalClient, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="longshore.local"):
        client.create(SPEC)
        client.delete("web", force=True)
    told = [one for one in caplog.messages if "asked by" in one]
    assert [one.split(" asked by ")[0] for one in told] == ["create web", "delete web"]
    assert told[0].endswith(f"pid={os.getpid()}, request {node.requests[0].id}")


def test_a_caller_without_a_token_is_one_of_those_connected(
    server: LocalServer, node: FakeNode, socket: Path
) -> None:
    start(socket, node)
    assert node.requests[-1].origin == f"local uid=0 gid=0 pid={os.getpid()}"
    with another_caller(socket) as other:
        start(socket, node)
        origin = node.requests[-1].origin
    assert origin.startswith("local, one of: ")
    assert {f"pid={os.getpid()}", f"pid={other}"} <= set(origin.replace(";", "").split())


def test_a_token_is_good_for_as_long_as_its_connection(
    server: LocalServer, node: FakeNode, socket: Path
) -> None:
    with another_caller(socket):
        with sockets.socket(sockets.AF_UNIX) as greeting:
            greeting.connect(f"{socket}.peer")
            token = greeting.recv(64).decode().strip()
            start(socket, node, token)
            assert node.requests[-1].origin == f"local uid=0 gid=0 pid={os.getpid()}"
        for _ in range(200):
            start(socket, node, token)
            if "one of" in node.requests[-1].origin:
                break
        assert "one of" in node.requests[-1].origin


@contextmanager
def another_caller(socket: Path) -> Iterator[int]:
    code = (
        "import sys; from pathlib import Path; from longshore.local.client import LocalClient\n"
        "c = LocalClient(Path(sys.argv[1])); c.node_status(); print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(socket)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        yield other.pid


def start(socket: Path, node: FakeNode, token: str | None = None) -> None:
    """As a client that is not ours would."""
    metadata = [("longshore-peer", token)] if token else []
    intent = agent_pb2.Intent(request_id=str(uuid4()))
    node.containers["web"] = status(parse(SPEC), "running")
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        request = agent_pb2.StartRequest(intent=intent, ref="web")
        agent_pb2_grpc.AgentStub(channel).Start(request, metadata=metadata, timeout=10)


def test_health(server: LocalServer, socket: Path) -> None:
    serving, unknown = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
    )
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == serving
        listed = stub.List(health_pb2.HealthListRequest(), timeout=10).statuses
        assert {name: one.status for name, one in listed.items()} == {"": serving, NAME: serving}
        other = health_pb2.HealthCheckRequest(service="other")
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(other, timeout=10)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(other)
        assert next(watch).status == unknown


def test_watchers_of_the_health_starve_nobody_and_see_the_end(
    server: LocalServer, client: LocalClient, socket: Path
) -> None:
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service="")) for _ in range(WATCHERS)]
        assert {next(one).status for one in watches} == {health_pb2.HealthCheckResponse.SERVING}
        more = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        with pytest.raises(grpc.RpcError) as caught:
            next(more)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.node_status().name == "node-1"
        server.stop()
        assert {next(one).status for one in watches} == {health_pb2.HealthCheckResponse.NOT_SERVING}
