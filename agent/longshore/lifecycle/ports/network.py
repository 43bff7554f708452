"""The network of this node, and what of it belongs to a container."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from longshore.model.host import (
    Ids,
    Nic,
    PublishedPort,
)
from longshore.model.names import Names


class Network(Protocol):
    def prepare(self) -> bool:
        """Makes or mends what all containers share: bridges, forwarding, the nft table.

        Returns whether something was missing: then every container must be looked at again.
        """

    def open(self, names: Names, ids: Ids | None = None) -> None:
        """Makes the netns, with nothing in it yet; with `ids` it belongs to the container's user
        namespace, which is there. One that is there stays."""

    def attach(self, names: Names, nics: Sequence[Nic]) -> None:
        """Makes the netns (with loopback up) and the interfaces in it.

        Mends a netns that lacks an interface; never replaces a netns that is there, because a
        running task would keep the old one.
        """

    def detach(self, names: Names) -> None: ...

    def publish(self, names: Names, ports: Sequence[PublishedPort]) -> None:
        """All of them in one transaction; what is published already stays."""

    def unpublish(self, names: Names) -> None: ...

    def check_port_free(self, protocol: str, host_ip: str, host_port: int) -> None:
        """Raises PortInUse if a process of the node listens there."""

    def owned(self) -> set[str]: ...

    def orphan_interfaces(self, keep: Callable[[], set[str]]) -> set[str]:
        """Removes the veths on our bridge whose name is not in `keep`; returns their names.

        Asks `keep` after it has listed them, so that one made meanwhile is not seen at all.
        """
