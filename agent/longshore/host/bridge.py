"""The bridge that the containers of one network meet on, and that the node itself is on."""

from __future__ import annotations

import errno
import socket
import struct
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from longshore.errors import HostFailed
from longshore.host import rtnl, sysctl
from longshore.host.netlink import CHANGE, CREATE, Netlink
from longshore.model.addressing import NetworkConfig
from longshore.model.host import Nic

_ETHERNET_MTU = 1500


def ensure(host: Netlink, network: NetworkConfig) -> bool:
    """Makes or mends it; whether it had been missing or without its address.

    Raises:
        HostFailed: the name belongs to another kind of interface, or the node reaches a part of
            the subnet some other way, which the bridge would cut off.
    """
    name, address = network.bridge, str(network.router)
    found = rtnl.get_link(host, name)
    if found is not None and not _is_bridge(found):
        raise HostFailed(
            f"cannot use {name} as a bridge: it is another kind of interface",
            object=name,
            hint="give the network another bridge name",
        )
    complete = found is not None and any(
        one["index"] == found["index"] and one.get_attr("IFA_LOCAL") == address
        for one in rtnl.addresses(host)
    )
    if not complete:
        _refuse_overlap(host, network)
    if found is None:
        _make(host, name)
    for setting, value in sysctls(name).items():
        sysctl.ensure(setting, value)
    index, mtu = required(host, name)
    # Set by a change: given at its making, the bridge would forget it with its last port.
    wanted = network.mtu or (uplink_mtu(host) if found is None else mtu)
    host.request(
        rtnl.link(CHANGE, ("IFLA_MTU", wanted), index=index, up=True),
        rtnl.set_address(index, address, network.subnet.prefixlen),
    )
    return not complete


def remove(host: Netlink, name: str) -> None:
    found = rtnl.get_link(host, name)
    if found is not None and _is_bridge(found):
        host.request(rtnl.delete_link(name))


def required(host: Netlink, name: str) -> tuple[int, int]:
    """Index and MTU. Raises OSError (ENODEV) where the bridge is missing."""
    index, mtu = host.index(name), host.mtu(name)
    if index is None or mtu is None:
        raise OSError(errno.ENODEV, f"bridge {name} is missing")
    return index, mtu


def ports(host: Netlink, name: str) -> list[str]:
    """Names of the interfaces on it; none if there is no such bridge."""
    index = host.index(name)
    if index is None:
        return []
    return [one.get_attr("IFLA_IFNAME") for one in rtnl.links_on(host, index)]


def announce(raw: socket.socket, name: str, nic: Nic) -> None:
    """A gratuitous ARP to all ports, for those who knew the address under another MAC.

    Sent from the bridge, because a new port forwards only some time after it came up. `raw` is a
    packet socket that receives nothing; it is kept open, because closing one takes 10 ms.
    """
    mac, address = bytes.fromhex(nic.mac.replace(":", "")), IPv4Address(nic.address).packed
    header = b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
    raw.sendto(header + mac + address + bytes(6) + address, (name, 0))


def sysctls(name: str) -> dict[str, str]:
    """What the bridge needs: 127.0.0.1 leads to published ports; no IPv6 on it."""
    return {
        f"net/ipv4/conf/{name}/route_localnet": "1",
        f"net/ipv6/conf/{name}/disable_ipv6": "1",
    }


def _make(host: Netlink, name: str) -> None:
    host.request(
        rtnl.link(
            CREATE,
            ("IFLA_IFNAME", name),
            # A bridge without an address of its own takes its lowest port's, and changes it.
            ("IFLA_ADDRESS", _mac(name)),
            ("IFLA_LINKINFO", rtnl.nested(("IFLA_INFO_KIND", "bridge"))),
        )
    )


def uplink_mtu(host: Netlink) -> int:
    """Bytes; that of the interface which the default route with the lowest metric leaves by."""
    defaults = [route for route in rtnl.routes(host) if route["dst_len"] == 0]
    defaults.sort(key=lambda route: route.get_attr("RTA_PRIORITY") or 0)
    for route in defaults:
        hops = route.get_attr("RTA_MULTIPATH") or [{"oif": 0}]
        uplink = rtnl.get_link(host, index=route.get_attr("RTA_OIF") or hops[0]["oif"])
        if uplink is not None:
            return int(uplink.get_attr("IFLA_MTU"))
    return _ETHERNET_MTU


def _is_bridge(link: Any) -> bool:
    info = link.get_attr("IFLA_LINKINFO")
    return info is not None and info.get_attr("IFLA_INFO_KIND") == "bridge"


def _refuse_overlap(host: Netlink, network: NetworkConfig) -> None:
    own = host.index(network.bridge)
    for route in rtnl.routes(host):
        if not route["dst_len"] or route.get_attr("RTA_OIF") == own:
            continue
        other = IPv4Network((route.get_attr("RTA_DST"), route["dst_len"]))
        if other.overlaps(network.subnet):
            raise HostFailed(
                f"cannot make network {network.name}: its subnet {network.subnet} overlaps "
                f"{other}, which this node has a route to",
                object=network.name,
                hint="configure another subnet for the network",
            )


def _mac(name: str) -> str:
    """The same after a repair, so that containers' neighbour entries stay right."""
    digest = sha256(f"{socket.gethostname()} {name}".encode()).hexdigest()
    return "02:" + ":".join(digest[i : i + 2] for i in range(0, 10, 2))
