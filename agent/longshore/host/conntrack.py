"""Connections that the kernel remembers, where they keep a published UDP port from moving.

Address translation is decided at a flow's first packet. A UDP client that never pauses keeps
its flow alive, and with it the container that the port led to before, or none; and once the
address has gone to another container, that one gets the packets.
"""

from __future__ import annotations

from collections.abc import Collection
from socket import AF_INET, IPPROTO_UDP
from typing import Any

from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg

from longshore.host.netlink import DUMP, NETLINK_NETFILTER, Netlink, message

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
#: Parts of a tuple that the kernel compares (CTA_FILTER_F_*): the protocol, and one port. It
#: walks the whole table for one pattern (10 ms), so addresses are compared here.
_PROTOCOL, _PORT = 1 << 3, {"SRC": 1 << 4, "DST": 1 << 5}


def forget_to(addresses: Collection[str], port: int) -> None:
    """Forgets UDP flows that were sent to `port` at one of the node's addresses."""
    _forget("ORIG", "DST", addresses, port)


def forget_from(address: str, port: int) -> None:
    """Forgets UDP flows that a container's `port` answers."""
    _forget("REPLY", "SRC", [address], port)


def _forget(side: str, end: str, addresses: Collection[str], port: int) -> None:
    protocol = [("CTA_PROTO_NUM", IPPROTO_UDP), (f"CTA_PROTO_{end}_PORT", port)]
    query = message(
        nfct_msg,
        _GET,
        DUMP,
        nfgen_family=AF_INET,
        attrs=[
            (f"CTA_TUPLE_{side}", {"attrs": [("CTA_TUPLE_PROTO", {"attrs": protocol})]}),
            (
                "CTA_FILTER",
                {"attrs": [(f"CTA_FILTER_{side}_FLAGS", _PROTOCOL | _PORT[end])]},
            ),
        ],
    )
    with Netlink(NETLINK_NETFILTER) as netlink:
        for flow in netlink.ask(query):
            if _address(flow, side, end) not in addresses:
                continue
            try:
                netlink.request(message(nfct_msg, _DELETE, nfgen_family=AF_INET, attrs=_key(flow)))
            except FileNotFoundError:
                continue  # it timed out in between


def _address(flow: Any, side: str, end: str) -> str:
    addresses = flow.get_attr(f"CTA_TUPLE_{side}").get_attr("CTA_TUPLE_IP")
    return str(addresses.get_attr(f"CTA_IP_V4_{end}"))


def _key(flow: Any) -> list[tuple[str, Any]]:
    """The attributes that name exactly this flow; its id keeps a successor from being hit."""
    return [(name, flow.get_attr(name)) for name in ("CTA_TUPLE_ORIG", "CTA_ID")]
