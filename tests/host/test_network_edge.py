"""How the kernel's and the library's refusals and silences come out at the edge."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.errors import (
    DeadlineExceeded,
    HostBusy,
    HostFailed,
    HostUnavailable,
    LongshoreError,
)
from longshore.host import netlink, netns, nftables, rtnl, sysctl
from longshore.host.netlink import CREATE, Netlink, translated
from longshore.host.network import Network
from longshore.host.nftables import Nftables, Refused
from longshore.model.layout import Layout


@pytest.fixture
def nft() -> Iterator[Nftables]:
    made = Nftables()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("number", "kind", "retry"),
    [
        (errno.EBUSY, HostBusy, True),
        (errno.EPERM, HostUnavailable, True),
        (errno.EOPNOTSUPP, HostUnavailable, True),
        (errno.EINVAL, HostFailed, False),
    ],
)
def test_a_refusal(number: int, kind: type[LongshoreError], retry: bool) -> None:
    with pytest.raises(LongshoreError) as seen, translated("attach the network", "it"):
        raise OSError(number, os.strerror(number))
    assert type(seen.value) is kind
    assert seen.value.message == f"cannot attach the network: {os.strerror(number)}"
    assert (seen.value.object, seen.value.retry) == ("it", retry)


def test_the_kernel_says_why() -> None:
    """Its own words (NETLINK_EXT_ACK) and not only the name of a number."""
    kind = ("IFLA_LINKINFO", rtnl.nested(("IFLA_INFO_KIND", "no-such-kind")))
    with Netlink() as host, pytest.raises(OSError, match="Unknown device type") as refusal:
        host.request(rtnl.link(CREATE, ("IFLA_IFNAME", "no-such-link"), kind))
    assert refusal.value.errno == errno.EOPNOTSUPP


def test_the_first_refusal_of_a_batch_is_raised_and_the_rest_is_done() -> None:
    with Netlink() as host:
        kind = ("IFLA_LINKINFO", rtnl.nested(("IFLA_INFO_KIND", "bridge")))
        name = ("IFLA_IFNAME", f"lt{os.getpid() % 10**8}")
        with pytest.raises(FileExistsError):
            host.request(
                rtnl.link(CREATE, ("IFLA_IFNAME", "lo"), kind),
                rtnl.link(CREATE, name, kind),
                rtnl.delete_link("no-such-link"),
            )
        assert host.index(name[1])
        host.request(rtnl.delete_link(name[1]))


def test_a_silent_kernel_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "DEADLINE", 0.05)
    monkeypatch.setattr(Netlink, "_send", lambda _self, _messages: 1)
    with Netlink() as host, pytest.raises(DeadlineExceeded, match="no answer from the kernel"):
        translated("attach the network")(host.request)(rtnl.delete_link("no-such-link"))


def test_a_stuck_namespace_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "DEADLINE", 0.05)
    ended = threading.Event()
    with pytest.raises(DeadlineExceeded), translated("attach the network"):
        netns.in_thread(ended.wait)
    ended.set()


def test_a_busy_firewall_is_not_waited_for(nft: Nftables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "DEADLINE", 0.05)
    with nft._lock, pytest.raises(DeadlineExceeded):
        nft.run("list tables")


def test_a_transaction_is_all_or_nothing(nft: Nftables) -> None:
    table = f"lt_{os.getpid()}"
    with pytest.raises(Refused) as refusal:
        nft.run(f"add table inet {table}; delete chain inet {table} nobody")
    assert refusal.value.missing
    assert not refusal.value.present
    assert nft.list(f"table inet {table}") == []


def test_what_the_library_cannot_read_is_one_line(nft: Nftables) -> None:
    with pytest.raises(Refused, match="syntax error") as refusal:
        nft.run("add nonsense\nadd more")
    assert "\n" not in str(refusal.value)


def test_many_transactions_keep_no_memory(nft: Nftables) -> None:
    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    table = f"lt_{os.getpid()}"
    nft.run(f"add table inet {table}; add set inet {table} s {{ type ipv4_addr; }}")
    try:
        for turn in range(2):
            if turn:
                before = pages()
            for _ in range(500):
                nft.run(f"add element inet {table} s {{ 192.0.2.1 }}")
                nft.run(f"delete element inet {table} s {{ 192.0.2.1 }}")
                nft.list(f"set inet {table} s")
        grown = pages() - before
    finally:
        nft.run(f"delete table inet {table}")
    assert grown < 100, "pages of 4 KiB, after 1500 calls"


def test_after_close_nothing_is_touched(tmp_path: Path) -> None:
    network = Network(Layout(tmp_path, tmp_path), table="lt_closed")
    network.close()
    with pytest.raises(HostUnavailable):
        network.owned()


@pytest.mark.parametrize("table", ["", "a b", "x;flush ruleset", "1st", "a" * 65])
def test_what_cannot_be_a_tables_name(tmp_path: Path, table: str) -> None:
    with pytest.raises(ValueError, match="cannot be an nft table's name"):
        Network(Layout(tmp_path, tmp_path), table=table)


def test_a_setting_that_the_kernel_lacks() -> None:
    assert sysctl.read("net/ipv4/no_such_setting") is None
    assert sysctl.ensure("net/ipv4/no_such_setting", "1") is False
    assert sysctl.ensure("kernel/ostype", sysctl.read("kernel/ostype") or "") is True
    assert sysctl.ensure("kernel/ostype", "another") is False
