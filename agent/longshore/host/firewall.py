"""Published ports, masquerading and spoofing protection: two nft tables of our own.

The rules are fixed; what a container has is elements of maps and sets, each with the
container's id as its comment. So no rule can outlive its container, a change is one
transaction, and what belongs to whom can be read back from the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from socket import IPPROTO_TCP, IPPROTO_UDP
from typing import Any

from longshore.errors import HostFailed, HostUnavailable, PortInUse
from longshore.host.nftables import Nftables, Refused
from longshore.host.ruleset import EVERYWHERE, MAPS, SETS, ruleset
from longshore.model.addressing import NetworkConfig
from longshore.model.host import Nic, PublishedPort
from longshore.model.names import Names, is_container_id

#: By number: names need /etc/protocols, which a small host may lack.
_PROTOCOLS = {"tcp": IPPROTO_TCP, "udp": IPPROTO_UDP}
_NAMES = {str(number): name for name, number in _PROTOCOLS.items()}


@dataclass(frozen=True)
class Element:
    """One element of a set (`value` empty) or map, as nft writes it; `owner` is its comment."""

    holder: str
    key: str
    value: str
    owner: str

    @property
    def text(self) -> str:
        value = f" : {self.value}" if self.value else ""
        return f'{{ {self.key} comment "{self.owner}"{value} }}'


@dataclass(frozen=True)
class Firewall:
    nft: Nftables
    table: str

    def prepare(self, networks: Sequence[NetworkConfig]) -> bool:
        """Makes or mends tables and rules, elements stay; whether a table had been missing."""
        there = {(one["table"]["family"], one["table"]["name"]) for one in self.nft.list("tables")}
        with self._refused("prepare the firewall"):
            self.nft.run(ruleset(self.table, networks))
        return not {("inet", self.table), ("bridge", self.table)} <= there

    def guard(self, names: Names, nics: Sequence[Nic]) -> None:
        """From the container's port only frames with its own MAC and addresses pass."""
        wanted = [
            Element("guarded", f'"{names.veth}"', "", names.id),
            *(
                Element("sources", f'"{names.veth}" . {nic.mac} . {nic.address}', "", names.id)
                for nic in nics
            ),
        ]
        with self._refused("guard the interface", names.id):
            try:
                self.nft.run(self._create("bridge", wanted))
            except Refused as refused:
                if not refused.present:
                    raise
                mine = [one for one in self._elements("bridge") if one.owner == names.id]
                self._replace("bridge", mine, wanted)

    def unguard(self, names: Names) -> None:
        with self._refused("release the interface", names.id):
            self._remove("bridge", names)

    def publish(self, names: Names, ports: Sequence[PublishedPort]) -> None:
        """Raises PortInUse if another container has one of them."""
        if not ports:
            return
        wanted = [_element(names, port) for port in ports]
        with self._refused("publish the ports", names.id):
            try:
                self.nft.run(self._create("inet", wanted))
            except Refused as refused:
                if not refused.present:
                    raise
                keys = {(one.holder, one.key) for one in wanted}
                there = [one for one in self._elements("inet") if (one.holder, one.key) in keys]
                for one in there:
                    if one.owner != names.id:
                        raise _port_in_use(one) from refused
                self._replace("inet", there, wanted)

    def unpublish(self, names: Names) -> list[PublishedPort]:
        """Returns what it took away."""
        with self._refused("withdraw the ports", names.id):
            return [_port(element) for element in self._remove("inet", names)]

    def owned(self) -> set[str]:
        with self._refused("list the firewall"):
            found = [*self._elements("inet"), *self._elements("bridge")]
        return {one.owner for one in found if is_container_id(one.owner)}

    def blockers(self) -> list[str]:
        """Chains of others that drop forwarded traffic unless a rule of theirs accepts it."""
        with self._refused("list the firewall"):
            chains = [one["chain"] for one in self.nft.list("chains")]
        return [
            f"table {chain['family']} {chain['table']}, chain {chain['name']}"
            for chain in chains
            if chain.get("hook") == "forward"
            and chain.get("policy") == "drop"
            and chain["table"] != self.table
        ]

    def teardown(self) -> None:
        with self._refused("remove the firewall"):
            for family in ("inet", "bridge"):
                # Adding it first makes deleting it work whether or not it is there.
                self.nft.run(f"add table {family} {self.table}; delete table {family} {self.table}")

    def _elements(self, family: str) -> list[Element]:
        kinds = [("map", name) for name in MAPS] if family == "inet" else [("set", n) for n in SETS]
        return [
            _parsed(holder, one)
            for kind, holder in kinds
            for found in self.nft.list(f"{kind} {family} {self.table} {holder}")
            for one in found[kind].get("elem", [])
        ]

    def _remove(self, family: str, names: Names) -> list[Element]:
        mine = [one for one in self._elements(family) if one.owner == names.id]
        self._replace(family, mine, [])
        return mine

    def _replace(self, family: str, old: Sequence[Element], new: Sequence[Element]) -> None:
        script = [
            f"delete element {family} {self.table} {one.holder} {{ {one.key} }}"
            for one in old
            if one not in new
        ]
        fresh = [one for one in new if one not in old]
        if script or fresh:
            self.nft.run("\n".join([*script, self._create(family, fresh)]))

    def _create(self, family: str, elements: Sequence[Element]) -> str:
        """`create` and not `add`, which would take another's equal element for ours."""
        return "\n".join(
            f"create element {family} {self.table} {one.holder} {one.text}" for one in elements
        )

    @contextmanager
    def _refused(self, action: str, object: str | None = None) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            if refused.missing:
                raise HostUnavailable(
                    f"cannot {action}: nft table {self.table} is missing or incomplete",
                    object=object,
                    hint="the agent makes it again at its next tick",
                ) from refused
            raise HostFailed(f"cannot {action}: {refused}", object=object) from refused


def _element(names: Names, port: PublishedPort) -> Element:
    protocol = _PROTOCOLS[port.protocol]
    value = f"{port.address} . {port.container_port}"
    if port.host_ip == EVERYWHERE:
        return Element("published_everywhere", f"{protocol} . {port.host_port}", value, names.id)
    return Element("published", f"{protocol} . {port.host_ip} . {port.host_port}", value, names.id)


def _port(element: Element) -> PublishedPort:
    protocol, *host_ip, host_port = element.key.split(" . ")
    address, container_port = element.value.split(" . ")
    return PublishedPort(
        protocol=_NAMES.get(protocol, protocol),
        host_ip=host_ip[0] if host_ip else EVERYWHERE,
        host_port=int(host_port),
        address=address,
        container_port=int(container_port),
    )


def _port_in_use(element: Element) -> PortInUse:
    port = _port(element)
    name = f"{port.protocol} {port.host_ip}:{port.host_port}"
    return PortInUse(
        f"cannot publish {name}: container {element.owner} has it",
        object=name,
        details={"container": element.owner},
    )


def _parsed(holder: str, element: Any) -> Element:
    """From libnftables' JSON: an element, or a pair of element and value; bare if no comment."""
    key, value = element if isinstance(element, list) else (element, None)
    body = key["elem"] if isinstance(key, dict) and "elem" in key else {"val": key}
    text = _joined(body["val"])
    if holder in SETS:
        port, _, rest = text.partition(" . ")
        text = f'"{port}"' + (f" . {rest}" if rest else "")
    return Element(holder, text, _joined(value) if value else "", body.get("comment", ""))


def _joined(value: Any) -> str:
    parts = value["concat"] if isinstance(value, dict) else [value]
    return " . ".join(str(part) for part in parts)
