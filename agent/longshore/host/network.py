"""A container's network: its namespace, its interface on a bridge, and its published ports.

Satisfies lifecycle's Network. Nothing is remembered here: what belongs to a container is found
by its names, or by the comment on an nft element.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from longshore.errors import HostFailed, InvalidSpec, PortInUse
from longshore.host import bridge, conntrack, netns, rtnl, sysctl, veth
from longshore.host.firewall import Firewall
from longshore.host.netlink import Netlink, translated
from longshore.host.netns import Inside
from longshore.host.nftables import Nftables
from longshore.host.ruleset import EVERYWHERE
from longshore.model.addressing import NetworkConfig
from longshore.model.host import Ids, Nic, PublishedPort
from longshore.model.layout import Layout
from longshore.model.names import NFT_TABLE, Names, is_container_id, is_veth

_FORWARDING = "net/ipv4/ip_forward"
_LEGACY_TABLES = Path("/proc/net/ip_tables_names")
_SOCKETS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Network:
    """Safe to use from several threads, as long as no two of them act on one container."""

    def __init__(
        self,
        layout: Layout,
        networks: Sequence[NetworkConfig] = (NetworkConfig(),),
        table: str = "longshore",
    ) -> None:
        """`table`: name of our two nft tables; another agent on this host needs another one.

        Raises:
            HostUnavailable: libnftables is not installed.
            ValueError: `table` cannot be a table's name.
        """
        if not re.fullmatch(NFT_TABLE, table):
            raise ValueError(f"{table!r} cannot be an nft table's name")
        self._layout = layout
        self._networks = {network.name: network for network in networks}
        self._nft = Nftables()
        self._firewall = Firewall(self._nft, table)
        with translated("open a packet socket"):
            self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)

    def prepare(self) -> bool:
        """Makes or mends bridges, forwarding and the nft tables.

        Returns:
            Whether something was missing: then containers may have lost their part of it, and
            `attach` and `publish` bring it back.
        """
        missing = False
        for network in self._networks.values():
            with translated("prepare the network", network.name), Netlink() as host:
                missing |= bridge.ensure(host, network)
        sysctl.ensure(_FORWARDING, "1")
        return self._firewall.prepare(tuple(self._networks.values())) or missing

    def open(self, names: Names, ids: Ids | None = None) -> None:
        """Makes the namespace, unless it is there; with `ids` in the container's user namespace."""
        with translated("make the network namespace", names.id):
            netns.ensure(self._layout.netns(names), self._layout.userns(names) if ids else None)

    def attach(self, names: Names, nics: Sequence[Nic]) -> None:
        """Makes or mends the namespace and the interface in it."""
        if len(nics) > 1:
            raise InvalidSpec(
                "cannot attach the network: a container has one interface at most", field="nics"
            )
        bridges = [self._network(nic).bridge for nic in nics]
        if nics:
            # Before the port exists, so that not one frame passes unguarded.
            self._firewall.guard(names, nics)
        path = self._layout.netns(names)
        with (
            translated("attach the network", names.id),
            netns.opened(path) as inside,
            Netlink() as host,
        ):
            if not nics:
                veth.loopback_up(inside.links)
            for nic, onto in zip(nics, bridges, strict=True):
                self._plug(host, inside, names.veth, nic, onto)
                bridge.announce(self._raw, onto, nic)

    def detach(self, names: Names) -> None:
        """Lets go of the namespace; the kernel removes the pair some 100 ms later.

        Until then nothing passes through it, and `attach` replaces what is left of it.
        """
        with translated("detach the network", names.id), Netlink() as host:
            veth.down(host, names.veth)
            netns.remove(self._layout.netns(names))
        self._firewall.unguard(names)

    def publish(self, names: Names, ports: Sequence[PublishedPort]) -> None:
        """All in one transaction. Raises PortInUse if another container has one of them."""
        self._firewall.publish(names, ports)
        udp = [port for port in ports if port.protocol == "udp"]
        if udp:
            with translated("publish the ports", names.id), Netlink() as host:
                local = rtnl.local_addresses(host)
                for port in udp:
                    at = local if port.host_ip == EVERYWHERE else [port.host_ip]
                    conntrack.forget_to(at, port.host_port)

    def unpublish(self, names: Names) -> None:
        withdrawn = self._firewall.unpublish(names)
        with translated("withdraw the ports", names.id):
            for port in withdrawn:
                if port.protocol == "udp":
                    conntrack.forget_from(port.address, port.container_port)

    def check_port_free(self, protocol: str, host_ip: str, host_port: int) -> None:
        """Raises PortInUse if a process of the node has that port, at this or at any address."""
        name = f"{protocol} {host_ip}:{host_port}"
        try:
            with socket.socket(socket.AF_INET, _SOCKETS[protocol]) as probe:
                if protocol == "tcp":
                    # What a server's past connections (TIME_WAIT) hold, its successor may take.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host_ip, host_port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(
                    f"cannot publish {name}: a process of this node uses it",
                    field="ports",
                    object=name,
                ) from error
            if error.errno == errno.EADDRNOTAVAIL:
                why = f"{host_ip} is no address of this node"
                raise InvalidSpec(
                    f"cannot publish {name}: {why}",
                    field="ports",
                    object=name,
                    details={"faults": [{"field": "ports", "why": why}]},
                ) from error
            raise HostFailed(f"cannot publish {name}: {error.strerror}", object=name) from error

    def owned(self) -> set[str]:
        """Container ids that have a namespace file or an nft element."""
        files: set[str] = set()
        with translated("list the namespaces"), suppress(FileNotFoundError):
            files = {path.name for path in self._layout.namespaces.iterdir()}
        return {name for name in files if is_container_id(name)} | self._firewall.owned()

    def orphan_interfaces(self, keep: Callable[[], set[str]]) -> set[str]:
        """Removes the veths on our bridges whose name is not in `keep`; returns their names.

        `keep` is asked after they were listed, so that one made meanwhile is not seen at all.
        """
        with translated("remove orphaned interfaces"), Netlink() as host:
            there = {
                port
                for network in self._networks.values()
                for port in bridge.ports(host, network.bridge)
                if is_veth(port)
            }
            orphans = there - keep() if there else set()
            for port in orphans:
                veth.delete(host, port)
        return orphans

    def findings(self) -> list[str]:
        """What keeps containers from being reached or from reaching out, one sentence each."""
        found = []
        if sysctl.read(_FORWARDING) != "1":
            found.append("IPv4 forwarding is off and cannot be set: containers reach the node only")
        with translated("look at the network"), Netlink() as host:
            for network in self._networks.values():
                if host.index(network.bridge) is None:
                    found.append(f"bridge {network.bridge} of network {network.name} is missing")
                elif sysctl.read(f"net/ipv4/conf/{network.bridge}/route_localnet") != "1":
                    found.append(
                        f"route_localnet of bridge {network.bridge} is off and cannot be set: "
                        "published ports are not reachable at 127.0.0.1"
                    )
        found += [
            f"{chain} drops forwarded traffic unless it has a rule that accepts it: published "
            "ports and the way out may be blocked; accept the bridge there (Docker: DOCKER-USER)"
            for chain in self._firewall.blockers()
        ]
        with suppress(OSError):
            if "filter" in _LEGACY_TABLES.read_text().split():
                found.append(
                    "legacy iptables is in use: if its FORWARD chain drops by default, published "
                    "ports and the way out are blocked, and this cannot be seen from here"
                )
        return found

    def teardown(self) -> None:
        """Removes bridges and tables, for a node that is given up. Forwarding stays as it is."""
        self.orphan_interfaces(set)
        with translated("remove the network"), Netlink() as host:
            for network in self._networks.values():
                bridge.remove(host, network.bridge)
        self._firewall.teardown()

    def close(self) -> None:
        """Frees what the agent holds; touches nothing on the host."""
        self._raw.close()
        self._nft.close()

    def _network(self, nic: Nic) -> NetworkConfig:
        try:
            return self._networks[nic.network]
        except KeyError:
            raise InvalidSpec(
                f"cannot attach the network: there is no network {nic.network} on this node",
                field="nics[0].network",
                object=nic.network,
                hint="networks here: " + ", ".join(sorted(self._networks)),
            ) from None

    def _plug(self, host: Netlink, inside: Inside, name: str, nic: Nic, onto: str) -> None:
        if inside.links.index(nic.interface) is not None:
            if veth.is_plugged(host, inside.links, name, nic):
                veth.mend(host, inside.links, name, nic, onto)
                return
            veth.delete(inside.links, nic.interface)
        try:
            veth.plug(host, inside.links, inside.fd, name, nic, onto)
        except FileExistsError:
            # Left over from before; its namespace is on its way out, or gone from our sight.
            veth.delete(host, name)
            veth.plug(host, inside.links, inside.fd, name, nic, onto)
