"""Which address and which host port a container gets. Pure: what is taken is an argument.

The journal holds what is taken and makes each claim UNIQUE, so two choices made at the same
time from the same set cannot both be kept; the loser chooses again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from typing import NamedTuple

from longshore.errors import AddressInUse, Exhausted, InvalidSpec, PortInUse
from longshore.model.capacity import ADDRESSES, AUTOMATIC_PORTS, Lack, missing
from longshore.model.host import Nic

#: IFNAMSIZ leaves 15 characters; what nft and /proc/sys would read otherwise is left out.
_INTERFACE = re.compile(r"[a-zA-Z0-9_-]{1,15}")
_EVERYWHERE = "0.0.0.0"
_SUBNET = IPv4Network("10.89.0.0/16")
#: The smallest that every IPv4 host must accept, and the largest that a veth does.
_MTU_MIN, _MTU_MAX = 576, 65535


@dataclass(frozen=True)
class NetworkConfig:
    """One bridged network of this node.

    Args:
        gateway: the bridge's own address; None: the first of the subnet.
        mtu: bytes; None: that of the interface which the default route leaves by.
        first, last: the pool that addresses are chosen from; None: all of the subnet. A caller
            may ask for any address of the subnet by name, also one outside the pool's ends.

    Raises:
        ValueError: the values do not fit together; says which.
    """

    name: str = "default"
    bridge: str = "longshore0"
    subnet: IPv4Network = _SUBNET
    gateway: IPv4Address | None = None
    mtu: int | None = None
    first: IPv4Address | None = None
    last: IPv4Address | None = None

    def __post_init__(self) -> None:
        if self.subnet.prefixlen > 30:
            raise ValueError(f"network {self.name}: subnet {self.subnet} has no room")
        if not _INTERFACE.fullmatch(self.bridge):
            raise ValueError(f"network {self.name}: {self.bridge!r} cannot be a bridge's name")
        for what, address in (
            ("gateway", self.gateway),
            ("first", self.first),
            ("last", self.last),
        ):
            if address is not None and not self._usable(address):
                raise ValueError(f"network {self.name}: {what} {address} is not in {self.subnet}")
        low, high = self.pool
        if low > high:
            raise ValueError(f"network {self.name}: first {low} is above last {high}")
        if self.mtu is not None and not _MTU_MIN <= self.mtu <= _MTU_MAX:
            raise ValueError(f"network {self.name}: mtu {self.mtu} is not {_MTU_MIN} to {_MTU_MAX}")

    @property
    def router(self) -> IPv4Address:
        """The bridge's own address, the containers' default route."""
        return self.gateway or self.subnet.network_address + 1

    @property
    def pool(self) -> tuple[IPv4Address, IPv4Address]:
        """First and last address to choose from, both included; the gateway may lie between."""
        return (
            self.first or self.subnet.network_address + 1,
            self.last or self.subnet.broadcast_address - 1,
        )

    @property
    def size(self) -> int:
        """How many addresses the pool has."""
        low, high = self.pool
        return int(high) - int(low) + (0 if low <= self.router <= high else 1)

    def nic(self, address: str, mac: str, interface: str = "eth0") -> Nic:
        return Nic(
            network=self.name,
            interface=interface,
            mac=mac,
            address=address,
            prefix=self.subnet.prefixlen,
            gateway=str(self.router),
        )

    def _usable(self, address: IPv4Address) -> bool:
        return (
            address in self.subnet
            and address != self.subnet.network_address
            and address != self.subnet.broadcast_address
        )


def choose_address(network: NetworkConfig, taken: Collection[str], last: str | None = None) -> str:
    """A free address of the pool: the next one above `last`, the one handed out before.

    Going round and round keeps an address unused for as long as possible after its container
    is gone, while neighbours and peers still remember it.

    Raises:
        Exhausted: all are taken.
    """
    low, high = (int(end) for end in network.pool)
    busy = {int(IPv4Address(address)) for address in taken} | {int(network.router)}
    start = int(IPv4Address(last)) + 1 if last is not None else low
    if not low <= start <= high:
        start = low
    for address in chain(range(start, high + 1), range(low, start)):
        if address not in busy:
            return str(IPv4Address(address))
    raise Exhausted(
        f"cannot give an address: all of network {network.name} ({network.subnet}) are taken",
        field="nics",
        object=network.name,
        hint="delete containers that are not needed, or give the network a larger subnet",
        details=missing([Lack(ADDRESSES, "count", 1, 0)]),
    )


def check_address(
    network: NetworkConfig, address: str, taken: Collection[str], field: str = "nics[0].address"
) -> str:
    """The requested address in its canonical form.

    Raises:
        InvalidSpec: it is no address that a container of this network can have.
        AddressInUse: a container has it.
    """
    wanted = IPv4Address(address)
    why = None
    if wanted not in network.subnet:
        why = f"{wanted} is not in {network.subnet}, the subnet of network {network.name}"
    elif wanted == network.router:
        why = f"{wanted} is the gateway of network {network.name}"
    elif not network._usable(wanted):
        why = f"{wanted} is the network's or the broadcast address of {network.subnet}"
    if why:
        raise InvalidSpec(
            f"cannot give the address: {why}",
            field=field,
            object=str(wanted),
            details={"faults": [{"field": field, "why": why}]},
        )
    if str(wanted) in taken:
        raise AddressInUse(
            f"cannot give the address: {wanted} is taken",
            field=field,
            object=str(wanted),
            hint="leave the address out and one is chosen",
        )
    return str(wanted)


class HostPort(NamedTuple):
    """A port of the node: `tcp 0.0.0.0:80`."""

    protocol: str
    host_ip: str
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} {self.host_ip}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """The inverse of `str`."""
        protocol, _, rest = text.partition(" ")
        host_ip, _, port = rest.rpartition(":")
        return cls(protocol, host_ip, int(port))

    def conflicts(self, other: HostPort) -> bool:
        """Whether both cannot be published: 0.0.0.0 is every address of the node."""
        return (
            self.protocol == other.protocol
            and self.port == other.port
            and (self.host_ip == other.host_ip or _EVERYWHERE in (self.host_ip, other.host_ip))
        )


def check_port(wanted: HostPort, taken: Collection[HostPort], field: str = "ports") -> None:
    """Raises PortInUse if a container publishes that port, at this address or at all of them."""
    for other in taken:
        if wanted.conflicts(other):
            raise PortInUse(
                f"cannot publish {wanted}: a container publishes {other}",
                field=field,
                object=str(wanted),
                hint="leave host_port out and one is chosen",
            )


def choose_port(
    protocol: str,
    host_ip: str,
    ports: range,
    taken: Collection[HostPort],
    last: int | None = None,
) -> HostPort:
    """A free host port of `ports`: the next one above `last`, the one handed out before.

    Raises:
        Exhausted: all are taken.
    """
    busy = {
        other.port for other in taken if other.conflicts(HostPort(protocol, host_ip, other.port))
    }
    start = last + 1 if last is not None and last + 1 in ports else ports.start
    for port in chain(range(start, ports.stop), range(ports.start, start)):
        if port not in busy:
            return HostPort(protocol, host_ip, port)
    raise Exhausted(
        f"cannot choose a host port: all {len(ports)} from {ports.start} to {ports.stop - 1} "
        f"are taken for {protocol} at {host_ip}",
        field="ports",
        hint="delete containers that are not needed, or widen the node's port range",
        details=missing([Lack(AUTOMATIC_PORTS, "count", 1, 0)]),
    )
