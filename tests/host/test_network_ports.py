"""Published ports, seen from everywhere that they must be reachable from, and from nowhere else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host import netlab
from host.netlab import (
    KINDS,
    Box,
    Node,
    ask_tcp,
    ask_udp,
    free_port,
    node_address,
    tcp_server,
    udp_server,
)
from longshore.errors import HostUnavailable, InvalidSpec, PortInUse
from longshore.host.nftables import Nftables

SERVERS = {"tcp": tcp_server, "udp": udp_server}
ASK = {"tcp": ask_tcp, "udp": ask_udp}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with netlab.node(tmp_path_factory.mktemp("one")) as made:
        yield made


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A second agent on the same host: to the first one's containers it is the outside."""
    with netlab.node(tmp_path_factory.mktemp("other")) as made:
        yield made


@pytest.fixture
def box(node: Node) -> Iterator[Box]:
    made = node.attached()
    yield made
    node.network.unpublish(made.names)
    node.network.detach(made.names)


@pytest.fixture
def neighbour(node: Node) -> Iterator[Box]:
    made = node.attached()
    yield made
    node.network.unpublish(made.names)
    node.network.detach(made.names)


@pytest.fixture
def stranger(other: Node) -> Iterator[Box]:
    made = other.attached()
    yield made
    other.network.unpublish(made.names)
    other.network.detach(made.names)


def refused(protocol: str, host: str, port: int, box: Box | None = None) -> bool:
    """Nobody is there, said by a reset or an ICMP message, not by a silence."""
    with (
        box.socket(KINDS[protocol])
        if box
        else socket.socket(socket.AF_INET, KINDS[protocol]) as client
    ):
        client.settimeout(netlab.PATIENCE)
        try:
            client.connect((host, port))
            client.send(b"?")
            client.recv(100)
        except ConnectionRefusedError:
            return True
    return False


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_reachable_from_everywhere(
    node: Node, box: Box, neighbour: Box, stranger: Box, protocol: str
) -> None:
    port = free_port(protocol)
    node.network.publish(box.names, [box.port(port, 8080, protocol)])
    router, outer = str(node.config.router), node_address()
    with SERVERS[protocol](box, 8080):
        seen = {
            (host, who): ASK[protocol](host, port, caller)
            for who, caller in (
                ("node", None),
                ("itself", box),
                ("neighbour", neighbour),
                ("outside", stranger),
            )
            for host in ("127.0.0.1", router, outer)
            if caller is None or host != "127.0.0.1"
        }
        direct = ASK[protocol](box.nic.address, 8080, neighbour)
    assert seen == {
        ("127.0.0.1", "node"): router,
        (router, "node"): router,
        (outer, "node"): outer,
        (router, "itself"): router,
        (outer, "itself"): router,
        (router, "neighbour"): router,
        (outer, "neighbour"): router,
        # Masqueraded by the other agent on its way out of the other bridge.
        (router, "outside"): router,
        (outer, "outside"): router,
    }
    assert direct == neighbour.nic.address


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("host_ip", ["127.0.0.1", "router"])
def test_one_address_only(node: Node, box: Box, protocol: str, host_ip: str) -> None:
    router = str(node.config.router)
    at = router if host_ip == "router" else host_ip
    port = free_port(protocol)
    node.network.publish(box.names, [box.port(port, 8080, protocol, at)])
    with SERVERS[protocol](box, 8080):
        assert ASK[protocol](at, port) == router
        for elsewhere in {"127.0.0.1", router, node_address()} - {at}:
            assert refused(protocol, elsewhere, port)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_unpublished_is_closed(node: Node, box: Box, protocol: str) -> None:
    port = free_port(protocol)
    node.network.publish(box.names, [box.port(port, 8080, protocol)])
    with SERVERS[protocol](box, 8080):
        assert ASK[protocol]("127.0.0.1", port)
        node.network.unpublish(box.names)
        assert refused(protocol, "127.0.0.1", port)


def test_other_ports_and_protocols_stay_closed(node: Node, box: Box) -> None:
    port = free_port()
    node.network.publish(box.names, [box.port(port, 8080)])
    with udp_server(box, 8080), tcp_server(box, 8081):
        assert refused("udp", "127.0.0.1", port)
        assert refused("tcp", "127.0.0.1", port)


def test_what_is_not_published_is_not_reached_from_outside(
    node: Node, box: Box, stranger: Box
) -> None:
    with tcp_server(box, 8080), box.socket(socket.SOCK_DGRAM) as inner:
        inner.bind(("0.0.0.0", 8082))
        port = free_port("udp")
        node.network.publish(box.names, [box.port(port, 8082, "udp")])
        with stranger.socket(socket.SOCK_DGRAM) as client:
            client.sendto(b"past the firewall", (box.nic.address, 8082))
            client.sendto(b"by the published port", (str(node.config.router), port))
        assert inner.recv(100) == b"by the published port"


def test_containers_reach_out_under_the_nodes_address(
    node: Node, other: Node, box: Box, stranger: Box
) -> None:
    """The outside here is a second bridge, which the packets are routed to."""
    port = free_port()
    other.network.publish(stranger.names, [stranger.port(port, 8080)])
    with tcp_server(stranger, 8080):
        assert ask_tcp(str(other.config.router), port, box) == str(other.config.router)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_way_through_the_node_is_not_hijacked(
    node: Node, box: Box, neighbour: Box, tmp_path: Path, protocol: str
) -> None:
    """A port published everywhere is one of the node's addresses, not of those it routes to."""
    port = free_port(protocol)
    node.network.publish(neighbour.names, [neighbour.port(port, 8080, protocol)])
    with (
        netlab.outside(tmp_path) as machine,
        SERVERS[protocol](neighbour, 8080),
        SERVERS[protocol](machine, port),
    ):
        # Masqueraded: the machine has no route to the containers' subnet but this node.
        assert ASK[protocol](machine.nic.address, port, box) == machine.nic.gateway
        assert ASK[protocol](machine.nic.gateway, port, machine) == machine.nic.address


@pytest.mark.parametrize("before", ["nobody", "another container"])
def test_a_udp_client_that_never_pauses_follows(
    node: Node, box: Box, neighbour: Box, before: str
) -> None:
    port = free_port("udp")
    with (
        udp_server(neighbour, 8080, "old"),
        udp_server(box, 8080, "new"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
    ):
        client.settimeout(netlab.PATIENCE)
        if before == "nobody":
            silent.bind(("0.0.0.0", port))
        else:
            node.network.publish(neighbour.names, [neighbour.port(port, 8080, "udp")])
        client.sendto(b"?", ("127.0.0.1", port))
        if before == "another container":
            assert client.recv(100) == b"old"
            node.network.unpublish(neighbour.names)
        node.network.publish(box.names, [box.port(port, 8080, "udp")])
        client.sendto(b"?", ("127.0.0.1", port))
        assert client.recv(100) == b"new"


def test_an_address_that_moved_takes_no_old_udp_clients_along(node: Node) -> None:
    """The address of a container that is gone may belong to somebody else's next."""
    first, port = node.attached(), free_port("udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        with udp_server(first, 8080, "first"):
            node.network.publish(first.names, [first.port(port, 8080, "udp")])
            client.connect(("127.0.0.1", port))
            client.settimeout(netlab.PATIENCE)
            client.send(b"?")
            assert client.recv(100) == b"first"
        node.network.unpublish(first.names)
        node.network.detach(first.names)
        second = node.attached(first.nic.address)
        with udp_server(second, 8080, "second"):
            client.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                client.recv(100)
    node.network.detach(second.names)


def test_an_address_that_moved_is_found_at_once(node: Node, neighbour: Box) -> None:
    """Neighbours and the node remember the MAC of the container that had the address."""
    first = node.attached()
    with tcp_server(first, 8080):
        ask_tcp(first.nic.address, 8080, neighbour)
        ask_tcp(first.nic.address, 8080)
    node.network.detach(first.names)
    second = node.attached(first.nic.address)
    assert second.nic.mac != first.nic.mac
    with tcp_server(second, 8080):
        assert ask_tcp(second.nic.address, 8080, neighbour) == neighbour.nic.address
        assert ask_tcp(second.nic.address, 8080) == str(node.config.router)
    node.network.detach(second.names)


def test_publish_again_changes_nothing(node: Node, box: Box) -> None:
    ports = [box.port(free_port(), 80), box.port(free_port(), 81, "udp", "127.0.0.1")]
    node.network.publish(box.names, ports)
    before = node.leftovers()["elements"]
    node.network.publish(box.names, ports)
    node.network.publish(box.names, ports[:1])
    assert node.leftovers()["elements"] == before


def test_publish_follows_an_address_that_changed(node: Node, box: Box) -> None:
    port = free_port()
    node.network.publish(box.names, [box.port(port, 80)])
    node.network.publish(box.names, [box.port(port, 8080)])
    with tcp_server(box, 8080):
        assert ask_tcp("127.0.0.1", port)


def test_another_containers_port_is_refused_whole(node: Node, box: Box, neighbour: Box) -> None:
    taken, free = free_port(), free_port()
    node.network.publish(neighbour.names, [neighbour.port(taken, 80)])
    before = node.leftovers()["elements"]
    with pytest.raises(PortInUse) as refusal:
        node.network.publish(box.names, [box.port(free, 80), box.port(taken, 80)])
    assert refusal.value.object == f"tcp 0.0.0.0:{taken}"
    assert refusal.value.details == {"container": neighbour.names.id}
    assert node.leftovers()["elements"] == before


def test_an_equal_element_of_another_container_is_refused(
    node: Node, box: Box, neighbour: Box
) -> None:
    """Left by a container that had the same address: taken over, a sweep would remove it."""
    port = free_port()
    node.network.publish(neighbour.names, [replace(neighbour.port(port, 80), address="10.0.0.1")])
    with pytest.raises(PortInUse):
        node.network.publish(box.names, [replace(box.port(port, 80), address="10.0.0.1")])


def test_unpublish_takes_its_own_only(node: Node, box: Box, neighbour: Box) -> None:
    mine, theirs = free_port(), free_port()
    node.network.publish(neighbour.names, [neighbour.port(theirs, 8080)])
    before = node.leftovers()["elements"]
    node.network.publish(box.names, [box.port(mine, 8080), box.port(mine, 8080, "udp")])
    node.network.unpublish(box.names)
    node.network.unpublish(box.names)
    assert node.leftovers()["elements"] == before


def test_one_transaction_for_all_ports(
    node: Node, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: list[str] = []
    run = Nftables._run

    def noted(self: Nftables, script: str, flags: Any) -> bytes:
        scripts.append(script)
        return run(self, script, flags)

    monkeypatch.setattr(Nftables, "_run", noted)
    node.network.publish(box.names, [box.port(30000 + i, i + 1) for i in range(50)])
    assert len(scripts) == 1
    node.network.unpublish(box.names)
    assert len([one for one in scripts if one.startswith("delete")]) == 1


def test_publish_without_tables(node: Node, box: Box) -> None:
    node.nft(f"delete table inet {node.table}")
    try:
        with pytest.raises(HostUnavailable) as refusal:
            node.network.publish(box.names, [box.port(2, 80)])
    finally:
        assert node.network.prepare() is True
    assert refusal.value.retry


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("listens_at", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("asked", ["0.0.0.0", "127.0.0.1"])
def test_a_process_of_the_node_has_the_port(
    node: Node, protocol: str, listens_at: str, asked: str
) -> None:
    with socket.socket(socket.AF_INET, KINDS[protocol]) as process:
        process.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port(protocol)
        process.bind((listens_at, port))
        if protocol == "tcp":
            process.listen()
        with pytest.raises(PortInUse) as refusal:
            node.network.check_port_free(protocol, asked, port)
    assert refusal.value.object == f"{protocol} {asked}:{port}"
    node.network.check_port_free(protocol, asked, port)


def test_a_listener_at_another_address_is_no_hindrance(node: Node) -> None:
    with socket.socket() as process:
        process.bind((node_address(), 0))
        process.listen()
        node.network.check_port_free("tcp", "127.0.0.1", process.getsockname()[1])


def test_a_connection_that_is_over_holds_no_port(node: Node) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.socket() as client:
            client.connect(("127.0.0.1", port))
            server, _ = listener.accept()
            server.close()  # the side that closes first stays in TIME_WAIT
            client.recv(1)
    assert f":{port:04X} " in Path("/proc/net/tcp").read_text()
    node.network.check_port_free("tcp", "0.0.0.0", port)


def test_an_address_that_the_node_does_not_have(node: Node) -> None:
    with pytest.raises(InvalidSpec, match="no address of this node") as refusal:
        node.network.check_port_free("tcp", "192.0.2.1", 80)
    assert refusal.value.object == "tcp 192.0.2.1:80"
