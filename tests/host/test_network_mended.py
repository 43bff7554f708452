"""The network on the real kernel: attached again, whatever was lost or changed is mended."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host import netlab
from host.netlab import Box, Node
from host.netseen import inside, reaches_node
from longshore.host import netns, rtnl, veth
from longshore.host.netlink import CREATE, Netlink


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with netlab.node(tmp_path / "one") as made:
        yield made


def test_attach_again_changes_nothing(node: Node) -> None:
    box = node.attached()
    before = (inside(box), socket.if_nametoindex(box.names.veth), box.path.stat().st_ino)
    node.network.attach(box.names, [box.nic])
    assert (inside(box), socket.if_nametoindex(box.names.veth), box.path.stat().st_ino) == before


def lose_pair(node: Node, box: Box) -> None:
    with Netlink() as host:
        veth.delete(host, box.names.veth)


def lose_address(node: Node, box: Box) -> None:
    with netns.opened(box.path) as space:
        index = space.links.index("eth0") or 0
        space.links.request(rtnl.delete_address(index, box.nic.address, 24))


def lose_loopback(node: Node, box: Box) -> None:
    with netns.opened(box.path) as space:
        space.links.request(rtnl.link(0, index=rtnl.LOOPBACK, up=False))


def have_another_address(node: Node, box: Box) -> None:
    with netns.opened(box.path) as space:
        index = space.links.index("eth0") or 0
        wrong = str(node.config.subnet[-2])
        space.links.request(rtnl.set_address(index, wrong, 24))


def leave_the_bridge(node: Node, box: Box) -> None:
    with Netlink() as host:
        host.request(rtnl.link(0, ("IFLA_IFNAME", box.names.veth), ("IFLA_MASTER", 0)))


def have_another_pair(node: Node, box: Box) -> None:
    """The name on the host belongs to a pair whose other end is not the container's."""
    lose_pair(node, box)
    with Netlink() as host:
        info = rtnl.nested(("IFLA_INFO_KIND", "veth"))
        host.request(rtnl.link(CREATE, ("IFLA_IFNAME", box.names.veth), ("IFLA_LINKINFO", info)))


def lose_the_bridge(node: Node, box: Box) -> None:
    with Netlink() as host:
        host.request(rtnl.delete_link(node.config.bridge))
    assert node.network.prepare() is True


def lose_the_tables(node: Node, box: Box) -> None:
    node.nft(f"delete table inet {node.table}; delete table bridge {node.table}")
    assert node.network.prepare() is True


@pytest.mark.parametrize(
    "harm",
    [
        lose_pair,
        lose_address,
        lose_loopback,
        have_another_address,
        leave_the_bridge,
        have_another_pair,
        lose_the_bridge,
        lose_the_tables,
    ],
)
def test_attach_mends(node: Node, harm: Callable[[Node, Box], None]) -> None:
    box = node.attached()
    whole, space = (inside(box), node.leftovers()["elements"]), box.path.stat().st_ino
    harm(node, box)
    node.network.attach(box.names, [box.nic])
    assert (inside(box), node.leftovers()["elements"]) == whole
    assert box.path.stat().st_ino == space, "a running task would be left in the old namespace"
    assert reaches_node(node, box)
    assert node.network.prepare() is False


def test_another_address_replaces_the_first(node: Node) -> None:
    box = node.attached()
    moved = replace(box, nic=replace(box.nic, address=str(node.config.subnet[-3])))
    node.network.attach(box.names, [moved.nic])
    assert inside(box)["addresses"] == [(moved.nic.address, 24)]
    assert f"'{box.nic.address}'" not in str(node.leftovers()["elements"])
    assert reaches_node(node, moved)


@pytest.mark.parametrize("content", ["file", "mount"])
def test_what_is_no_namespace_is_replaced(node: Node, tmp_path: Path, content: str) -> None:
    """The agent died between making the file and binding the namespace to it."""
    box = node.container()
    box.path.parent.mkdir(parents=True, exist_ok=True)
    box.path.touch()
    if content == "mount":
        (tmp_path / "something").touch()
        netlab.bind_over(box.path, tmp_path / "something")
    node.network.attach(box.names, [box.nic])
    assert reaches_node(node, box)
