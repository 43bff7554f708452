"""What network tests need beside the agent's own code: programs inside a namespace, and an audit.

A program is a thread that moves into the container's namespace, opens its sockets there and
goes on using them: a socket stays where it was opened.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from uuid import uuid4

from longshore.errors import HostFailed
from longshore.host import netns, rtnl, veth
from longshore.host.netlink import CHANGE, CREATE, Netlink
from longshore.host.network import Network
from longshore.host.nftables import Nftables
from longshore.model.addressing import NetworkConfig, choose_address
from longshore.model.host import Nic, PublishedPort
from longshore.model.layout import Layout
from longshore.model.names import Names

PATIENCE = 5.0
Socket = socket.socket
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True)
class Node:
    """A network of this test's own on the real kernel."""

    network: Network
    config: NetworkConfig
    layout: Layout
    table: str
    given: list[str]

    def container(self, address: str | None = None) -> Box:
        names = Names(str(uuid4()))
        chosen = address or choose_address(self.config, self.given)
        self.given.append(chosen)
        return Box(names, self.config.nic(chosen, names.mac), self.layout.netns(names))

    def attached(self, address: str | None = None) -> Box:
        box = self.container(address)
        self.network.attach(box.names, [box.nic])
        return box

    def nft(self, script: str) -> None:
        """What an administrator might do to the tables."""
        nft = Nftables()
        nft.run(script)
        nft.close()

    def leftovers(self) -> dict[str, list[str]]:
        """What of ours is on the host, by kind; all empty after a clean detach."""
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        nft = Nftables()
        elements = [
            str(element)
            for family, kind in (("inet", "map"), ("bridge", "set"))
            for one in nft.list(f"table {family} {self.table}")
            for element in one.get(kind, {}).get("elem", [])
        ]
        nft.close()
        folder = self.layout.namespaces
        return {
            "mounts": [line for line in mounts if str(self.layout.run_dir) in line],
            "files": [path.name for path in folder.iterdir()] if folder.exists() else [],
            "elements": elements,
        }


@dataclass(frozen=True)
class Box:
    """One container's network, without the container."""

    names: Names
    nic: Nic
    path: Path

    def port(
        self, host_port: int, inner: int, protocol: str = "tcp", host_ip: str = "0.0.0.0"
    ) -> PublishedPort:
        return PublishedPort(protocol, host_ip, host_port, self.nic.address, inner)

    def socket(self, kind: int = socket.SOCK_STREAM) -> Socket:
        def work() -> Socket:
            netns.enter(self.path)
            made = socket.socket(socket.AF_INET, kind)
            made.settimeout(PATIENCE)
            return made

        return netns.in_thread(work)

    def raw(self) -> Socket:
        """A packet socket on eth0: what CAP_NET_RAW lets a container do."""

        def work() -> Socket:
            netns.enter(self.path)
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind(("eth0", 3))
            made.settimeout(PATIENCE)
            return made

        return netns.in_thread(work)


@contextmanager
def tcp_server(box: Box, port: int) -> Iterator[None]:
    """Answers each connection with the address that it sees the caller have."""
    listener = box.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen()

    def answer() -> None:
        peer, (address, _) = listener.accept()
        with peer:
            peer.sendall(address.encode())

    with _answering(listener, answer):
        yield


@contextmanager
def udp_server(box: Box, port: int, word: str = "") -> Iterator[None]:
    """Answers each datagram with `word`, or with the address that it sees the caller have."""
    bound = box.socket(socket.SOCK_DGRAM)
    bound.bind(("0.0.0.0", port))

    def answer() -> None:
        _, caller = bound.recvfrom(100)
        bound.sendto((word or caller[0]).encode(), caller)

    with _answering(bound, answer):
        yield


@contextmanager
def _answering(held: socket.socket, answer: Callable[[], None]) -> Iterator[None]:
    ended = threading.Event()
    held.settimeout(0.02)

    def serve() -> None:
        while not ended.is_set():
            try:
                answer()
            except TimeoutError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)
        held.close()
        assert not thread.is_alive()


def ask_tcp(host: str, port: int, box: Box | None = None) -> str:
    """What the server says; from inside `box` or from the node. Raises OSError."""
    with box.socket() if box else socket.socket() as client:
        client.settimeout(PATIENCE)
        client.connect((host, port))
        return client.recv(100).decode()


def ask_udp(host: str, port: int, box: Box | None = None) -> str:
    """A bridge port forwards only once the kernel has noticed its carrier: ask again."""
    kind = socket.SOCK_DGRAM
    with box.socket(kind) if box else socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(0.25)
        for _ in range(20):
            client.sendto(b"?", (host, port))
            try:
                return client.recv(100).decode()
            except TimeoutError:
                continue
    raise TimeoutError(f"no answer from {host}:{port}")


def node_address() -> str:
    """An address of this node that is neither loopback nor on a bridge of ours."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    """An agent's network under names that no other run uses; afterwards nothing of it is left."""
    tag = uuid4().hex[:6]
    network = None
    while network is None:
        subnet = IPv4Network((f"10.{random.randint(180, 249)}.{random.randint(0, 255)}.0", 24))
        config = NetworkConfig(bridge=f"lt{tag}", subnet=subnet)
        layout = Layout(folder / "state", folder / "run")
        network = Network(layout, [config], table=f"lt_{tag}")
        try:
            network.prepare()
        except HostFailed:  # another run has that subnet
            network.close()
            network = None
    made = Node(network, config, layout, f"lt_{tag}", [])
    try:
        yield made
    finally:
        for id in network.owned():
            network.unpublish(Names(id))
            network.detach(Names(id))
        network.teardown()
        network.close()
    assert not any(made.leftovers().values())
    assert not Path("/sys/class/net", config.bridge).exists()


@contextmanager
def outside(folder: Path) -> Iterator[Box]:
    """A machine on a wire of its own to the node, which no agent knows of."""
    names, tag = Names(str(uuid4())), uuid4().hex[:6]
    third = f"10.{random.randint(100, 179)}.{random.randint(0, 255)}"
    config = NetworkConfig(bridge=f"wire{tag}", subnet=IPv4Network(f"{third}.0/24"))
    nic, path = config.nic(f"{third}.2", names.mac), folder / names.id
    with netns.opened(path) as space, Netlink() as host:
        peer = rtnl.nested(("IFLA_IFNAME", "eth0"), ("IFLA_NET_NS_FD", space.fd))
        pair = rtnl.nested(
            ("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", rtnl.nested(("VETH_INFO_PEER", peer)))
        )
        host.request(
            rtnl.link(CREATE, ("IFLA_IFNAME", config.bridge), ("IFLA_LINKINFO", pair), up=True)
        )
        near, far = host.index(config.bridge) or 0, space.links.index("eth0") or 0
        host.request(rtnl.set_address(near, nic.gateway, nic.prefix))
        space.links.request(
            rtnl.link(CHANGE, index=far, up=True),
            rtnl.set_address(far, nic.address, nic.prefix),
            rtnl.set_default_route(far, nic.gateway),
        )
    try:
        yield Box(names, nic, path)
    finally:
        with Netlink() as host:
            veth.delete(host, config.bridge)
        netns.remove(path)


def mac_of(interface: str) -> bytes:
    """Of an interface of the node."""
    with Netlink() as host:
        link = rtnl.get_link(host, interface)
    assert link is not None
    return bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", ""))


def free_port(protocol: str = "tcp") -> int:
    """Below those that the kernel hands out, so that no other program of the host takes it."""
    while True:
        port = random.randint(12000, 31000)
        with socket.socket(socket.AF_INET, KINDS[protocol]) as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def bind_over(path: Path, source: Path) -> None:
    assert ctypes.CDLL(None).mount(os.fsencode(source), os.fsencode(path), None, 0x1000, None) == 0
