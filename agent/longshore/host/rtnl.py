"""The route-netlink messages that bridges, veth pairs and addresses are made with."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from longshore.host.netlink import DUMP, REPLACE, Message, Netlink, message

LOOPBACK = 1
_UP = 1
_MAIN_TABLE, _STATIC, _UNICAST = 254, 4, 1
_REACHABLE = 0x02
_SKIP_STATISTICS = ("IFLA_EXT_MASK", 1 << 3)

Attribute = tuple[str, Any]


def nested(*attributes: Attribute) -> dict[str, Sequence[Attribute]]:
    return {"attrs": list(attributes)}


def link(how: int, *attributes: Attribute, index: int = 0, up: bool | None = None) -> Message:
    """Makes or changes an interface, named by its index or by IFLA_IFNAME. `up` None: as it is."""
    state = {} if up is None else {"flags": _UP if up else 0, "change": _UP}
    return message(ifinfmsg, RTM_NEWLINK, how, index=index, attrs=list(attributes), **state)


def delete_link(name: str) -> Message:
    return message(ifinfmsg, RTM_DELLINK, attrs=[("IFLA_IFNAME", name)])


def set_address(index: int, address: str, prefix: int) -> Message:
    network = IPv4Network((address, prefix), strict=False)
    return message(
        ifaddrmsg,
        RTM_NEWADDR,
        REPLACE,
        family=socket.AF_INET,
        prefixlen=prefix,
        index=index,
        attrs=[
            ("IFA_LOCAL", address),
            ("IFA_ADDRESS", address),
            ("IFA_BROADCAST", str(network.broadcast_address)),
        ],
    )


def delete_address(index: int, address: str, prefix: int) -> Message:
    return message(
        ifaddrmsg,
        RTM_DELADDR,
        family=socket.AF_INET,
        prefixlen=prefix,
        index=index,
        attrs=[("IFA_LOCAL", address)],
    )


def set_default_route(index: int, gateway: str) -> Message:
    return message(
        rtmsg,
        RTM_NEWROUTE,
        REPLACE,
        family=socket.AF_INET,
        table=_MAIN_TABLE,
        proto=_STATIC,
        type=_UNICAST,
        attrs=[("RTA_GATEWAY", gateway), ("RTA_OIF", index)],
    )


def set_neighbour(index: int, address: str, mac: str) -> Message:
    return message(
        ndmsg,
        RTM_NEWNEIGH,
        REPLACE,
        family=socket.AF_INET,
        ifindex=index,
        state=_REACHABLE,
        attrs=[("NDA_DST", address), ("NDA_LLADDR", mac)],
    )


def get_link(links: Netlink, name: str = "", index: int = 0) -> Any | None:
    """The interface of that name or index, None if there is none."""
    attributes = [("IFLA_IFNAME", name)] if name else []
    query = message(ifinfmsg, RTM_GETLINK, index=index, attrs=[*attributes, _SKIP_STATISTICS])
    try:
        return links.ask(query)[0]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def links_on(links: Netlink, master: int) -> list[Any]:
    """The interfaces that are ports of a bridge."""
    query = message(ifinfmsg, RTM_GETLINK, DUMP, attrs=[_SKIP_STATISTICS, ("IFLA_MASTER", master)])
    return [one for one in links.ask(query) if one.get_attr("IFLA_MASTER") == master]


def addresses(links: Netlink) -> list[Any]:
    """All IPv4 addresses of the namespace."""
    return links.ask(message(ifaddrmsg, RTM_GETADDR, DUMP, family=socket.AF_INET))


def routes(links: Netlink) -> list[Any]:
    """The IPv4 unicast routes of the main table."""
    answers = links.ask(message(rtmsg, RTM_GETROUTE, DUMP, family=socket.AF_INET))
    return [one for one in answers if (one["table"], one["type"]) == (_MAIN_TABLE, _UNICAST)]


def local_addresses(links: Netlink) -> list[str]:
    return [one.get_attr("IFA_LOCAL") for one in addresses(links)]
