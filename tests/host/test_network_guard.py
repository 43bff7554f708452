"""What a container may not do on the bridge, whatever it sends."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from host import netlab
from host.netlab import Box, Node, free_port, mac_of, outside
from longshore.host import rtnl
from longshore.host.netlink import Netlink

BROADCAST = b"\xff" * 6
FORGED_MAC = bytes.fromhex("020000000001")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with netlab.node(tmp_path_factory.mktemp("guard")) as made:
        yield made


@pytest.fixture(scope="module")
def boxes(node: Node) -> tuple[Box, Box]:
    return node.attached(), node.attached()


def mac(box: Box) -> bytes:
    return bytes.fromhex(box.nic.mac.replace(":", ""))


def address(box: Box) -> bytes:
    return IPv4Address(box.nic.address).packed


def ipv4(source: bytes, target: bytes, port: int, word: bytes) -> bytes:
    datagram = struct.pack("!HHHH", 9, port, 8 + len(word), 0) + word
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, source, target
    )
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header[:10] + struct.pack("!H", checksum) + header[12:] + datagram


def frame(source: bytes, kind: int, body: bytes, target: bytes = BROADCAST) -> bytes:
    return target + source + struct.pack("!H", kind) + body


def arp(sender_mac: bytes, sender: bytes, word: bytes) -> bytes:
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
    return fixed + sender_mac + sender + BROADCAST + b"\0\0\0\0" + word


def ip_frame(box: Box, word: bytes, *, source: bytes | None = None, by: bytes = b"") -> bytes:
    body = ipv4(source or address(box), b"\xff" * 4, 9, word)
    return frame(by or mac(box), 0x0800, body)


FORGED: dict[str, Callable[[Box, Box, bytes], bytes]] = {
    "address of nobody": lambda me, _, w: ip_frame(me, w, source=bytes([192, 0, 2, 1])),
    "address of a neighbour": lambda me, it, w: ip_frame(me, w, source=address(it)),
    "address 0.0.0.0": lambda me, _, w: ip_frame(me, w, source=bytes(4) or None),
    "own address, forged MAC": lambda me, _, w: ip_frame(me, w, by=FORGED_MAC),
    "MAC and address of a neighbour": lambda me, it, w: ip_frame(
        me, w, source=address(it), by=mac(it)
    ),
    "ARP for a neighbour": lambda me, it, w: frame(mac(me), 0x0806, arp(mac(me), address(it), w)),
    "ARP with a forged MAC inside": lambda me, _, w: frame(
        mac(me), 0x0806, arp(FORGED_MAC, address(me), w)
    ),
    "ARP under a forged MAC": lambda me, _, w: frame(
        FORGED_MAC, 0x0806, arp(mac(me), address(me), w)
    ),
    "IPv6": lambda me, _, w: frame(mac(me), 0x86DD, b"\x60" + bytes(39) + w),
    "IPv4 in a VLAN": lambda me, _, w: frame(
        mac(me), 0x8100, b"\0\x05\x08\0" + ipv4(address(me), b"\xff" * 4, 9, w)
    ),
    "another protocol": lambda me, _, w: frame(mac(me), 0x88B5, w),
}
HONEST: dict[str, Callable[[Box, bytes], bytes]] = {
    "IPv4": ip_frame,
    "ARP": lambda me, w: frame(mac(me), 0x0806, arp(mac(me), address(me), w)),
}


def first_word(receiver: socket.socket, words: tuple[bytes, ...]) -> bytes:
    """The first of `words` that comes in; other frames of the host pass by."""
    while True:
        data = receiver.recv(2000)
        for word in words:
            if word in data:
                return word


@pytest.mark.parametrize("honest", HONEST)
@pytest.mark.parametrize("forged", FORGED)
def test_forged_frames_reach_nobody(boxes: tuple[Box, Box], forged: str, honest: str) -> None:
    """Frames keep their order, so what comes in after the honest one cannot be on its way."""
    me, neighbour = boxes
    false, true = b"longshore-forged", b"longshore-honest"
    with me.raw() as sender, neighbour.raw() as receiver:
        for _ in range(50):
            sender.send(HONEST[honest](me, b"longshore-warmup"))
            receiver.settimeout(0.1)
            try:
                assert first_word(receiver, (b"longshore-warmup",))
                break
            except TimeoutError:
                continue  # the port does not forward yet
        receiver.settimeout(netlab.PATIENCE)
        sender.send(FORGED[forged](me, neighbour, false))
        sender.send(HONEST[honest](me, true))
        assert first_word(receiver, (false, true)) == true


def test_a_second_address_of_ones_own_making_is_of_no_use(node: Node) -> None:
    """Root in a container with NET_ADMIN adds an address; the bridge lets none of it out."""
    box, victim = node.attached(), node.attached()
    stolen = str(node.config.subnet[-2])
    forged = ipv4(
        IPv4Address(stolen).packed, IPv4Address(str(node.config.router)).packed, 9, b"stolen"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, box.raw() as sender:
        listener.bind((str(node.config.router), 9))
        listener.settimeout(netlab.PATIENCE)
        bridge = mac_of(node.config.bridge)
        sender.send(frame(mac(box), 0x0800, forged, bridge))
        with victim.socket(socket.SOCK_DGRAM) as client:
            client.sendto(b"honest", (str(node.config.router), 9))
        # From two ports there is no order: the honest one first, then one more from the box.
        assert listener.recv(100) == b"honest"
        with box.socket(socket.SOCK_DGRAM) as client:
            client.sendto(b"own", (str(node.config.router), 9))
        assert listener.recv(100) == b"own"


def test_the_nodes_loopback_is_out_of_reach(node: Node) -> None:
    """route_localnet lets the bridge route 127.0.0.0/8; from a container nothing of it passes."""
    box = node.attached()
    router = IPv4Address(str(node.config.router)).packed
    bridge = mac_of(node.config.bridge)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as private,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as public,
        box.raw() as sender,
    ):
        private.bind(("127.0.0.1", 0))
        public.bind((str(node.config.router), 0))
        public.settimeout(netlab.PATIENCE)
        for listener, target in ((private, bytes([127, 0, 0, 1])), (public, router)):
            port = listener.getsockname()[1]
            sender.send(frame(mac(box), 0x0800, ipv4(address(box), target, port, b"in"), bridge))
        assert public.recv(100) == b"in"
        with pytest.raises(BlockingIOError):
            private.recv(100, socket.MSG_DONTWAIT)


@pytest.mark.parametrize("origin", ["container", "outside"])
def test_a_port_published_at_loopback_is_out_of_reach(
    node: Node, tmp_path: Path, origin: str
) -> None:
    """Address translation comes before the kernel's check for forged loopback packets."""
    server = node.attached()
    private, public = free_port("udp"), free_port("udp")
    node.network.publish(
        server.names,
        [server.port(private, 8080, "udp", "127.0.0.1"), server.port(public, 8080, "udp")],
    )
    with (
        server.socket(socket.SOCK_DGRAM) as inner,
        nullcontext(node.attached()) if origin == "container" else outside(tmp_path) as sender,
        sender.raw() as raw,
    ):
        inner.bind(("0.0.0.0", 8080))
        way_in = mac_of(node.config.bridge if origin == "container" else wire(sender))
        for target, port, word in (
            ("127.0.0.1", private, b"forged"),
            ("127.0.0.1", public, b"forged"),
            (sender.nic.gateway, public, b"honest"),
        ):
            packed = IPv4Address(target).packed
            raw.send(frame(mac(sender), 0x0800, ipv4(address(sender), packed, port, word), way_in))
        assert inner.recv(100) == b"honest"


def wire(machine: Box) -> str:
    """The node's interface that has the address which the machine has for its gateway."""
    with Netlink() as host:
        (index,) = [
            one["index"]
            for one in rtnl.addresses(host)
            if one.get_attr("IFA_LOCAL") == machine.nic.gateway
        ]
    return socket.if_indextoname(index)
