"""What of a container's network is seen, from inside it and from the node."""

from __future__ import annotations

import socket
from typing import Any

from host.netlab import Box, Node
from longshore.host import netns, rtnl


def reaches_node(node: Node, box: Box) -> bool:
    """The container connects to the bridge's address and is seen under its own."""
    with socket.socket() as listener:
        listener.bind((str(node.config.router), 0))
        listener.listen()
        with box.socket() as client:
            client.connect(listener.getsockname())
            peer, (address, _port) = listener.accept()
            peer.close()
    return bool(address == box.nic.address)


def inside(box: Box) -> dict[str, Any]:
    """The namespace as the kernel tells it."""
    assert netns.exists(box.path)
    with netns.opened(box.path) as space:
        index = space.links.index("eth0")
        eth0 = rtnl.get_link(space.links, "eth0")
        loopback = rtnl.get_link(space.links, "lo")
        return {
            "addresses": [
                (one.get_attr("IFA_LOCAL"), one["prefixlen"])
                for one in rtnl.addresses(space.links)
                if one["index"] == index
            ],
            "gateways": [one.get_attr("RTA_GATEWAY") for one in rtnl.routes(space.links)],
            "mac": eth0 and eth0.get_attr("IFLA_ADDRESS"),
            "mtu": eth0 and eth0.get_attr("IFLA_MTU"),
            "loopback_up": bool(loopback and loopback["flags"] & 1),
        }
