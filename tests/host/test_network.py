"""The network on the real kernel: what is made, and what is left behind."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host import netlab
from host.netlab import Box, Node
from host.netseen import inside, reaches_node
from longshore.errors import HostFailed, HostUnavailable, InvalidSpec
from longshore.host import rtnl
from longshore.host.netlink import Netlink
from longshore.host.network import Network
from longshore.host.nftables import Nftables
from longshore.lifecycle import ports
from longshore.model.host import Nic

NOTHING: dict[str, list[str]] = {"mounts": [], "files": [], "elements": []}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with netlab.node(tmp_path / "one") as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Node]:
    """A second agent on the same host."""
    with netlab.node(tmp_path / "other") as made:
        yield made


def test_satisfies_lifecycle(node: Node) -> None:
    network: ports.Network = node.network
    assert network.owned() == set()


def test_attach_makes_all_of_it(node: Node) -> None:
    box = node.attached()
    seen = inside(box)
    assert seen["addresses"] == [(box.nic.address, 24)]
    assert str(node.config.router) in seen["gateways"]
    assert seen["mac"] == box.nic.mac
    assert seen["loopback_up"]
    port = Path("/sys/class/net", box.names.veth)
    assert (port / "master").resolve().name == node.config.bridge
    assert (port / "brport/hairpin_mode").read_text().strip() == "1"
    assert port.joinpath("mtu").read_text().strip() == str(seen["mtu"])
    for name in (box.names.veth, node.config.bridge):
        assert name not in Path("/proc/net/if_inet6").read_text()
    assert reaches_node(node, box)


def test_mtu_of_the_configuration(tmp_path: Path, node: Node) -> None:
    config = replace(node.config, mtu=1280)
    network = Network(node.layout, [config], table=node.table)
    assert network.prepare() is False
    box = node.container()
    network.attach(box.names, [box.nic])
    network.close()
    assert inside(box)["mtu"] == 1280


def test_without_interfaces_there_is_loopback(node: Node) -> None:
    box = node.container()
    node.network.attach(box.names, [])
    seen = inside(box)
    assert seen["loopback_up"]
    assert seen["mac"] is None
    assert not Path("/sys/class/net", box.names.veth).exists()
    node.network.detach(box.names)
    assert node.leftovers() == NOTHING


@pytest.mark.parametrize(
    ("nics", "field"),
    [
        (lambda nic: [nic, replace(nic, interface="eth1")], "nics"),
        (lambda nic: [replace(nic, network="storage")], "nics[0].network"),
    ],
)
def test_what_cannot_be_attached(node: Node, nics: Callable[[Nic], list[Nic]], field: str) -> None:
    box = node.container()
    with pytest.raises(InvalidSpec) as refusal:
        node.network.attach(box.names, nics(box.nic))
    assert refusal.value.field == field
    assert node.leftovers() == NOTHING


def test_detach_and_attach_at_once(node: Node) -> None:
    box = node.container()
    for _ in range(20):
        node.network.attach(box.names, [box.nic])
        node.network.detach(box.names)
        assert node.leftovers() == NOTHING
    node.network.attach(box.names, [box.nic])
    assert reaches_node(node, box)
    node.network.detach(box.names)
    node.network.detach(box.names)


def test_detach_cuts_off_a_process_that_stayed(node: Node) -> None:
    box = node.attached()
    with box.socket(socket.SOCK_DGRAM) as stayed:
        node.network.detach(box.names)
        flags = int(Path("/sys/class/net", box.names.veth, "flags").read_text(), 16)
        assert not flags & 1
        node.network.attach(box.names, [box.nic])
        assert reaches_node(node, box)
        # Its interface is gone with the pair, and with it every route out.
        with pytest.raises(OSError, match="unreachable"):
            stayed.sendto(b"?", (str(node.config.router), 9))


def test_detach_of_what_never_was(node: Node) -> None:
    box = node.container()
    node.network.unpublish(box.names)
    node.network.detach(box.names)
    assert node.leftovers() == NOTHING


def test_a_failed_attach_is_undone_by_detach(node: Node) -> None:
    with Netlink() as host:
        host.request(rtnl.delete_link(node.config.bridge))
    box = node.container()
    with pytest.raises(HostFailed, match=r"cannot attach the network: bridge .* is missing"):
        node.network.attach(box.names, [box.nic])
    node.network.detach(box.names)
    assert node.leftovers() == NOTHING
    assert not Path("/sys/class/net", box.names.veth).exists()


def test_attach_without_tables_is_refused(node: Node) -> None:
    """Unguarded, a container could take its neighbours' addresses."""
    node.nft(f"delete table bridge {node.table}")
    box = node.container()
    with pytest.raises(HostUnavailable, match="missing or incomplete"):
        node.network.attach(box.names, [box.nic])
    assert node.leftovers() == NOTHING


def test_requests_of_one_attach(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one start costs, in exchanges with the kernel and in messages."""
    exchanges: list[int] = []
    scripts: list[str] = []
    queries: list[Any] = []
    sockets: list[Any] = []
    request, run, ask, socketed = Netlink.request, Nftables._run, Netlink.ask, Netlink.__init__

    def counted(self: Netlink, *messages: Any) -> None:
        exchanges.append(len(messages))
        request(self, *messages)

    def asked(self: Netlink, query: Any) -> list[Any]:
        queries.append(query)
        return ask(self, query)

    def opened(self: Netlink, *protocol: int) -> None:
        sockets.append(self)
        socketed(self, *protocol)

    def noted(self: Nftables, script: str, flags: Any) -> bytes:
        scripts.append(script)
        return run(self, script, flags)

    monkeypatch.setattr(Netlink, "request", counted)
    monkeypatch.setattr(Netlink, "ask", asked)
    monkeypatch.setattr(Netlink, "__init__", opened)
    monkeypatch.setattr(Nftables, "_run", noted)
    box = node.container()
    node.network.open(box.names)
    assert sockets == [], "a create has nothing to ask yet"
    node.network.attach(box.names, [box.nic])
    assert exchanges == [1, 2, 4]
    assert (len(queries), len(sockets)) == (0, 2)
    assert len(scripts) == 1
    scripts.clear()
    node.network.publish(box.names, [box.port(2, 80), box.port(3, 81), box.port(2, 80, "udp")])
    assert len(scripts) == 1


def test_nothing_is_forked_or_kept_open(node: Node) -> None:
    box = node.container()
    node.network.attach(box.names, [box.nic])
    node.network.detach(box.names)
    forked: list[int] = []
    os.register_at_fork(before=lambda: forked.append(1))
    before = (len(os.listdir("/proc/self/fd")), threading.active_count())
    for _ in range(20):
        node.network.attach(box.names, [box.nic])
        node.network.publish(box.names, [box.port(2, 80, "udp")])
        node.network.unpublish(box.names)
        node.network.detach(box.names)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    assert forked == []


def test_many_at_once(node: Node) -> None:
    boxes = [node.container() for _ in range(40)]

    def live(box: Box) -> bool:
        ports = [box.port(20000 + boxes.index(box), 80, protocol) for protocol in ("tcp", "udp")]
        node.network.attach(box.names, [box.nic])
        node.network.publish(box.names, ports)
        reached = reaches_node(node, box)
        node.network.unpublish(box.names)
        node.network.detach(box.names)
        return reached

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(live, boxes)) == [True] * 40
    assert node.leftovers() == NOTHING
    assert node.network.owned() == set()
    wait_until(lambda: not os.listdir(f"/sys/class/net/{node.config.bridge}/brif"))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + netlab.PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_kernel_removes_the_pair_after_detach(node: Node) -> None:
    box = node.attached()
    node.network.detach(box.names)
    wait_until(lambda: not Path("/sys/class/net", box.names.veth).exists())


def test_owned_names_whatever_is_left(node: Node) -> None:
    attached, file_only, published = node.attached(), node.container(), node.attached()
    file_only.path.touch()
    node.layout.namespaces.joinpath("not-a-container").touch()
    node.network.publish(published.names, [published.port(2, 80)])
    node.network.detach(published.names)
    ids = {attached.names.id, file_only.names.id, published.names.id}
    assert node.network.owned() == ids
    node.network.detach(file_only.names)
    node.network.unpublish(published.names)
    assert node.network.owned() == {attached.names.id}
    node.layout.namespaces.joinpath("not-a-container").unlink()


def test_orphans_of_this_agent_only(node: Node, other: Node) -> None:
    kept, orphan, foreign = node.attached(), node.attached(), other.attached()
    assert node.network.orphan_interfaces(lambda: {kept.names.veth}) == {orphan.names.veth}
    assert node.network.orphan_interfaces(lambda: {kept.names.veth}) == set()
    assert reaches_node(node, kept)
    assert reaches_node(other, foreign)


def test_prepare_refuses_a_subnet_of_the_node(node: Node, tmp_path: Path) -> None:
    config = replace(node.config, bridge=node.config.bridge + "b")
    network = Network(node.layout, [config], table=node.table)
    with pytest.raises(HostFailed, match="overlaps"):
        network.prepare()
    network.close()
    assert not Path("/sys/class/net", config.bridge).exists()


def test_prepare_refuses_an_interface_that_is_no_bridge(node: Node) -> None:
    box = node.attached()
    config = replace(node.config, bridge=box.names.veth)
    network = Network(node.layout, [config], table=node.table)
    with pytest.raises(HostFailed, match="another kind of interface"):
        network.prepare()
    network.close()
    assert reaches_node(node, box)


def test_prepare_keeps_what_is_published(node: Node) -> None:
    box = node.attached()
    node.network.publish(box.names, [box.port(2, 80)])
    before = node.leftovers()["elements"]
    assert node.network.prepare() is False
    assert node.leftovers()["elements"] == before


def test_findings_name_who_drops_forwarded_traffic(node: Node) -> None:
    def drops() -> list[str]:
        return [one for one in node.network.findings() if f"{node.table}_x" in one]

    assert drops() == []
    node.nft(
        f"add table ip {node.table}_x; add chain ip {node.table}_x FORWARD "
        "{ type filter hook forward priority 0; policy drop; }"
    )
    try:
        found = drops()
    finally:
        node.nft(f"delete table ip {node.table}_x")
    assert len(found) == 1
    assert f"table ip {node.table}_x, chain FORWARD" in found[0]
    assert "DOCKER-USER" in found[0]


def test_findings_name_a_missing_bridge(node: Node) -> None:
    assert not any(node.config.bridge in one for one in node.network.findings())
    with Netlink() as host:
        host.request(rtnl.delete_link(node.config.bridge))
    assert any(f"bridge {node.config.bridge}" in one for one in node.network.findings())
