"""The veth pair that joins a container's namespace to a bridge."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from longshore.host import bridge, rtnl, sysctl
from longshore.host.netlink import CHANGE, CREATE, Netlink
from longshore.model.host import Nic


def plug(host: Netlink, inside: Netlink, namespace: int, name: str, nic: Nic, onto: str) -> None:
    """A new pair: the end called `name` on the bridge, the other one ready in the namespace.

    Raises:
        OSError: EEXIST: `name` is in use; ENODEV: the bridge is missing.
    """
    master, mtu = bridge.required(host, onto)
    peer = rtnl.nested(
        ("IFLA_IFNAME", nic.interface),
        ("IFLA_NET_NS_FD", namespace),
        ("IFLA_ADDRESS", nic.mac),
        ("IFLA_MTU", mtu),
    )
    pair = rtnl.nested(
        ("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", rtnl.nested(("VETH_INFO_PEER", peer)))
    )
    host.request(
        rtnl.link(
            CREATE,
            ("IFLA_IFNAME", name),
            # Set, so that udev does not find it random and change it; high, as libvirt has it.
            ("IFLA_ADDRESS", "fe" + nic.mac[2:]),
            ("IFLA_MTU", mtu),
            ("IFLA_MASTER", master),
            ("IFLA_LINKINFO", pair),
            up=True,
        )
    )
    _join(host, name, nic, master)
    _configure(inside, nic)


def is_plugged(host: Netlink, inside: Netlink, name: str, nic: Nic) -> bool:
    """Whether both ends are there, are each other's peer, and the inner one has its MAC."""
    near, far = rtnl.get_link(host, name), rtnl.get_link(inside, nic.interface)
    return (
        near is not None
        and far is not None
        and near.get_attr("IFLA_LINK") == far["index"]
        and far.get_attr("IFLA_LINK") == near["index"]
        and far.get_attr("IFLA_ADDRESS") == nic.mac
    )


def mend(host: Netlink, inside: Netlink, name: str, nic: Nic, onto: str) -> None:
    """Brings a plugged pair to what `plug` makes; what is right already stays untouched."""
    master, _mtu = bridge.required(host, onto)
    host.request(rtnl.link(CHANGE, ("IFLA_IFNAME", name), ("IFLA_MASTER", master), up=True))
    _join(host, name, nic, master)
    far = inside.index(nic.interface)
    wrong = [
        rtnl.delete_address(one["index"], one.get_attr("IFA_LOCAL"), one["prefixlen"])
        for one in rtnl.addresses(inside)
        if one["index"] == far and one.get_attr("IFA_LOCAL") != nic.address
    ]
    if wrong:
        inside.request(*wrong)
    _configure(inside, nic)


def down(host: Netlink, name: str) -> None:
    """Nothing passes any more. Takes 0.2 ms; an interface that is not there is fine."""
    with _absent_is_fine():
        host.request(rtnl.link(CHANGE, ("IFLA_IFNAME", name), up=False))


def delete(links: Netlink, name: str) -> None:
    """Takes 15 to 25 ms, which the kernel spends waiting; one that is not there is fine."""
    with _absent_is_fine():
        links.request(rtnl.delete_link(name))


def loopback_up(inside: Netlink) -> None:
    inside.request(rtnl.link(CHANGE, index=rtnl.LOOPBACK, up=True))


def _join(host: Netlink, name: str, nic: Nic, master: int) -> None:
    # The port has no carrier yet, so it has not made itself an IPv6 address.
    sysctl.ensure(f"net/ipv6/conf/{name}/disable_ipv6", "1")
    # Hairpin: where bridged frames are NATed (br_netfilter), a container that calls its own
    # published port is answered through the port it came by.
    slave = rtnl.nested(("IFLA_BRPORT_MODE", 1))
    info = rtnl.nested(("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", slave))
    host.request(
        rtnl.link(CHANGE, ("IFLA_IFNAME", name), ("IFLA_LINKINFO", info)),
        # The node may know the address under the MAC of a container that is gone.
        rtnl.set_neighbour(master, nic.address, nic.mac),
    )


def _configure(inside: Netlink, nic: Nic) -> None:
    index = inside.index(nic.interface)
    if index is None:
        raise OSError(errno.ENODEV, f"{nic.interface} is missing in the namespace")
    inside.request(
        rtnl.link(CHANGE, index=rtnl.LOOPBACK, up=True),
        rtnl.set_address(index, nic.address, nic.prefix),
        rtnl.link(CHANGE, index=index, up=True),
        rtnl.set_default_route(index, nic.gateway),
    )


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
