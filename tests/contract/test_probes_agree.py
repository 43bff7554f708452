"""Probes in memory and on the kernel tell the same of a network with nothing in it, and of none."""

from __future__ import annotations

from uuid import uuid4

import pytest

from fakes.host import FakeNetwork
from fakes.probes import FakeProbes
from longshore.errors import NotFound
from longshore.host.probes import Probes as RealProbes
from longshore.lifecycle.ports import Host
from longshore.lifecycle.ports.probes import Probes
from longshore.model.names import Names
from longshore.model.probing import Where


def probes(host: Host) -> Probes:
    if isinstance(host.network, FakeNetwork):
        return FakeProbes(host.network)
    return RealProbes(host.layout)


def test_a_network_in_which_nobody_listens(host: Host) -> None:
    names, asked = Names(str(uuid4())), probes(host)
    host.network.attach(names, ())
    try:
        for ok, said in (
            asked.tcp(Where(names), 80, timeout=10.0),
            asked.http(Where(names), 80, "/", tls=False, timeout=10.0),
        ):
            assert not ok
            assert said.endswith("nobody listens")
    finally:
        host.network.detach(names)


def test_a_network_that_is_not_there(host: Host) -> None:
    where, asked = Where(Names(str(uuid4()))), probes(host)
    with pytest.raises(NotFound, match="its network is gone"):
        asked.tcp(where, 80, timeout=10.0)
    with pytest.raises(NotFound, match="its network is gone"):
        asked.http(where, 80, "/", tls=True, timeout=10.0)
