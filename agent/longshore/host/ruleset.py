"""The rules of our two nft tables, as one script that makes or mends them.

Elements of maps and sets stay as they are. Nothing in a rule names a container.
"""

from __future__ import annotations

from collections.abc import Sequence

from longshore.model.addressing import NetworkConfig

EVERYWHERE = "0.0.0.0"

#: Of table inet. Which address and port of a container is behind which port of the node:
#: at one address of the node, and at all that it has.
MAPS = {
    "published": "inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service",
    "published_everywhere": "inet_proto . inet_service : ipv4_addr . inet_service",
}
#: Of table bridge. The ports that are guarded, and what may come from them.
SETS = {"guarded": "ifname", "sources": "ifname . ether_addr . ipv4_addr"}

_INET = {
    "publish": (
        "",
        "dnat ip to meta l4proto . ip daddr . th dport map @published",
        "fib daddr type local dnat ip to meta l4proto . th dport map @published_everywhere",
    ),
    "arriving": (
        "type nat hook prerouting priority dstnat; policy accept;",
        # What comes in from outside for 127.0.0.1 is forged. Translated, it would look sound.
        "ip daddr != 127.0.0.0/8 jump publish",
    ),
    "from_node": ("type nat hook output priority -100; policy accept;", "jump publish"),
    "leaving": ("type nat hook postrouting priority srcnat; policy accept;",),
    "forwarded": ("type filter hook forward priority filter; policy accept;",),
    "forged": ("type filter hook prerouting priority raw; policy accept;",),
}

_BRIDGE = {
    "guard": (
        "",
        # The kernel takes tags off before it compares what is inside, and puts them on again.
        "ether type { 8021q, 8021ad } drop",
        "iifname . ether saddr . ip saddr @sources accept",
        "iifname . ether saddr . arp saddr ip @sources "
        "iifname . arp saddr ether . arp saddr ip @sources accept",
        # IPv6 and all else: an address in there is one that nobody gave.
        "drop",
    ),
    "from_ports": (
        "type filter hook prerouting priority dstnat; policy accept;",
        "iifname @guarded jump guard",
    ),
}


def _of_network(network: NetworkConfig) -> list[tuple[str, str]]:
    """Chain and rule, in order, for each network's bridge and subnet."""
    bridge, subnet = f'"{network.bridge}"', network.subnet
    return [
        # The bridge routes 127.0.0.0/8, so that the node reaches published ports there; from a
        # container, such a packet would reach what listens on the node's loopback only.
        ("forged", f"iifname {bridge} ip daddr 127.0.0.0/8 drop"),
        ("leaving", f"ip saddr {subnet} ip daddr != {subnet} oifname != {bridge} masquerade"),
        # A container that calls a published port, maybe its own, is answered by way of the
        # node: directly, the answer would come from an address that it never called.
        ("leaving", f"ip saddr {subnet} oifname {bridge} ct status dnat masquerade"),
        ("leaving", f"ip saddr 127.0.0.0/8 oifname {bridge} masquerade"),
        # Out of the bridge everything may go; into it only what belongs to it or was published.
        ("forwarded", f"iifname {bridge} oifname {bridge} accept"),
        ("forwarded", f"oifname {bridge} ct state established,related accept"),
        ("forwarded", f"oifname {bridge} ct status dnat accept"),
        ("forwarded", f"oifname {bridge} drop"),
    ]


def ruleset(table: str, networks: Sequence[NetworkConfig]) -> str:
    extra = [rule for network in networks for rule in _of_network(network)]
    return "\n".join(
        [
            *_table("inet", table, "map", MAPS, _INET, extra),
            *_table("bridge", table, "set", SETS, _BRIDGE, []),
        ]
    )


def _table(
    family: str,
    table: str,
    kind: str,
    holders: dict[str, str],
    chains: dict[str, tuple[str, ...]],
    extra: Sequence[tuple[str, str]],
) -> list[str]:
    name = f"{family} {table}"
    script = [f"add table {name}"]
    script += [f"add {kind} {name} {holder} {{ type {what}; }}" for holder, what in holders.items()]
    for chain, (hook, *_rules) in chains.items():
        script.append(f"add chain {name} {chain}" + (f" {{ {hook} }}" if hook else ""))
        script.append(f"flush chain {name} {chain}")
    fixed = [(chain, rule) for chain, (_hook, *rules) in chains.items() for rule in rules]
    script += [f"add rule {name} {chain} {rule}" for chain, rule in [*fixed, *extra]]
    return script
