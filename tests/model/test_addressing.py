"""Addresses and host ports: what is chosen, what is refused, and with which words."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from longshore.errors import AddressInUse, Exhausted, InvalidSpec, PortInUse
from longshore.model.addressing import (
    HostPort,
    NetworkConfig,
    check_address,
    check_port,
    choose_address,
    choose_port,
)

#: .0 is the network, .1 the gateway, .7 the broadcast address: five are left.
SMALL = NetworkConfig(subnet=IPv4Network("10.0.0.0/29"))
FIVE = [f"10.0.0.{last}" for last in range(2, 7)]


def test_the_default_network() -> None:
    network = NetworkConfig()
    assert network.router == IPv4Address("10.89.0.1")
    assert choose_address(network, []) == "10.89.0.2"
    nic = network.nic("10.89.0.2", "02:00:00:00:00:01")
    assert (nic.network, nic.interface, nic.prefix, nic.gateway) == (
        "default",
        "eth0",
        16,
        "10.89.0.1",
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"bridge": "a-name-beyond-15"}, "bridge's name"),
        ({"bridge": 'x"; drop'}, "bridge's name"),
        ({"bridge": ""}, "bridge's name"),
        ({"subnet": IPv4Network("10.0.0.0/31")}, "no room"),
        ({"gateway": IPv4Address("10.0.1.1")}, "gateway 10.0.1.1 is not in"),
        ({"gateway": IPv4Address("10.0.0.0")}, "gateway 10.0.0.0 is not in"),
        ({"first": IPv4Address("10.0.0.7")}, "first 10.0.0.7 is not in"),
        ({"last": IPv4Address("10.0.0.8")}, "last 10.0.0.8 is not in"),
        (
            {"first": IPv4Address("10.0.0.4"), "last": IPv4Address("10.0.0.3")},
            "first 10.0.0.4 is above last 10.0.0.3",
        ),
        ({"mtu": 575}, "mtu 575"),
        ({"mtu": 65536}, "mtu 65536"),
    ],
)
def test_values_that_do_not_fit_together(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(SMALL, **fields)


def test_all_addresses_once_then_exhausted() -> None:
    taken: list[str] = []
    for _ in FIVE:
        taken.append(choose_address(SMALL, taken))
    assert taken == FIVE
    with pytest.raises(Exhausted, match=r"network default \(10.0.0.0/29\)"):
        choose_address(SMALL, taken)


def test_an_address_comes_round_again_last() -> None:
    """Each container is gone before the next comes, and still no address follows itself."""
    last, seen = None, []
    for _ in range(10):
        last = choose_address(SMALL, [], last)
        seen.append(last)
    assert seen == FIVE * 2


@pytest.mark.parametrize("last", ["10.0.0.6", "192.0.2.1", "10.0.0.255"])
def test_the_end_of_the_pool_leads_to_its_beginning(last: str) -> None:
    assert choose_address(SMALL, [], last) == "10.0.0.2"


def test_the_pool_is_kept_to() -> None:
    network = replace(SMALL, first=IPv4Address("10.0.0.3"), last=IPv4Address("10.0.0.4"))
    assert choose_address(network, [], "10.0.0.4") == "10.0.0.3"
    with pytest.raises(Exhausted):
        choose_address(network, ["10.0.0.3", "10.0.0.4"])


def test_a_gateway_within_the_pool_is_skipped() -> None:
    network = replace(SMALL, gateway=IPv4Address("10.0.0.3"))
    assert choose_address(network, [], "10.0.0.2") == "10.0.0.4"
    assert choose_address(network, []) == "10.0.0.1"


def test_whatever_is_taken_the_choice_is_free() -> None:
    chance = random.Random(7)
    for _ in range(300):
        taken = set(chance.sample(FIVE, chance.randint(0, 4)))
        chosen = choose_address(SMALL, taken, chance.choice([None, *FIVE]))
        assert chosen in set(FIVE) - taken


def test_a_requested_address() -> None:
    assert check_address(SMALL, "10.0.0.5", ["10.0.0.4"]) == "10.0.0.5"


def test_a_requested_address_may_lie_outside_the_pool() -> None:
    network = replace(SMALL, last=IPv4Address("10.0.0.3"))
    assert check_address(network, "10.0.0.5", []) == "10.0.0.5"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.1.1", "not in 10.0.0.0/29"),
        ("10.0.0.1", "the gateway"),
        ("10.0.0.0", "broadcast"),
        ("10.0.0.7", "broadcast"),
    ],
)
def test_a_requested_address_that_no_container_can_have(address: str, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why) as refusal:
        check_address(SMALL, address, [])
    assert refusal.value.field == "nics[0].address"
    assert refusal.value.object == address
    assert [fault["field"] for fault in refusal.value.faults] == ["nics[0].address"]


def test_a_requested_address_that_is_taken() -> None:
    with pytest.raises(AddressInUse) as refusal:
        check_address(SMALL, "10.0.0.5", ["10.0.0.5"], "nics[1].address")
    assert (refusal.value.field, refusal.value.object) == ("nics[1].address", "10.0.0.5")


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (("tcp", "0.0.0.0", 80), ("tcp", "0.0.0.0", 80), True),
        (("tcp", "0.0.0.0", 80), ("tcp", "127.0.0.1", 80), True),
        (("tcp", "127.0.0.1", 80), ("tcp", "127.0.0.1", 80), True),
        (("tcp", "127.0.0.1", 80), ("tcp", "192.0.2.1", 80), False),
        (("tcp", "0.0.0.0", 80), ("udp", "0.0.0.0", 80), False),
        (("tcp", "0.0.0.0", 80), ("tcp", "0.0.0.0", 81), False),
    ],
)
def test_which_host_ports_conflict(
    one: tuple[str, str, int], other: tuple[str, str, int], conflict: bool
) -> None:
    assert HostPort(*one).conflicts(HostPort(*other)) is conflict
    assert HostPort(*other).conflicts(HostPort(*one)) is conflict
    if conflict:
        with pytest.raises(PortInUse) as refusal:
            check_port(HostPort(*one), [HostPort(*other)], "ports[0].host_port")
        assert refusal.value.object == f"{one[0]} {one[1]}:{one[2]}"
        assert refusal.value.field == "ports[0].host_port"
    else:
        check_port(HostPort(*one), [HostPort(*other)])


def test_host_ports_are_chosen_round_and_round() -> None:
    last, seen = None, []
    for _ in range(5):
        last = choose_port("tcp", "0.0.0.0", range(30000, 30003), [], last).port
        seen.append(last)
    assert seen == [30000, 30001, 30002, 30000, 30001]


def test_a_chosen_host_port_conflicts_with_none() -> None:
    ports = range(30000, 30004)
    taken = [
        HostPort("tcp", "127.0.0.1", 30000),
        HostPort("udp", "0.0.0.0", 30001),
        HostPort("tcp", "0.0.0.0", 30002),
    ]
    assert choose_port("tcp", "0.0.0.0", ports, taken).port == 30001
    assert choose_port("tcp", "192.0.2.1", ports, taken).port == 30000
    assert choose_port("udp", "127.0.0.1", ports, taken, 30000).port == 30002


def test_no_host_port_left() -> None:
    taken = [HostPort("tcp", "0.0.0.0", port) for port in (30000, 30001)]
    with pytest.raises(Exhausted, match="all 2 from 30000 to 30001 are taken for tcp"):
        choose_port("tcp", "127.0.0.1", range(30000, 30002), taken)
