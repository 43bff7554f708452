"""The node as operators and schedulers see it: put together from what is known, asking nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from longshore.lifecycle.ports import Journal
from longshore.model.capacity import ADDRESSES, AUTOMATIC_PORTS, USER_RANGES, Stock
from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import (
    Cannot,
    ConvergeStatus,
    NeighbourStatus,
    NodeStatus,
    Resource,
    TransferStatus,
)


@dataclass(frozen=True)
class Identity:
    """What does not change while the agent runs."""

    name: str
    version: str
    boot_id: str
    kernel: str
    started_at: float
    runtime: str
    runtime_why: str
    cgroup_mode: str
    snapshotter: str
    snapshotter_why: str
    cannot: tuple[Cannot, ...]


class Node:
    """Args:
    stock: what the node can promise by limits, and then what it hands out singly.
    neighbours: one callable per neighbour; each answers at once, from what it saw last.
    transfers: images under way.
    """

    def __init__(
        self,
        identity: Identity,
        stock: Callable[[], Sequence[Stock]],
        journal: Journal,
        neighbours: Sequence[Callable[[], NeighbourStatus]],
        converge: Callable[[], ConvergeStatus],
        transfers: Callable[[], Sequence[TransferStatus]],
    ) -> None:
        self._identity = identity
        self._stock = stock
        self._journal = journal
        self._neighbours = neighbours
        self._converge = converge
        self._transfers = transfers

    def status(self) -> NodeStatus:
        records = self._journal.list()
        return NodeStatus(
            **{key: value for key, value in vars(self._identity).items() if key != "cannot"},
            cannot=self._identity.cannot,
            neighbours=tuple(look() for look in self._neighbours),
            resources=tuple(resources(self._stock(), records, self._journal.promised)),
            transfers=tuple(self._transfers()),
            containers=by_state(records),
            converge=self._converge(),
        )


def by_state(records: Sequence[Record]) -> Mapping[str, int]:
    """How many containers are in each state; states without any are left out."""
    return dict(sorted(Counter(str(record.state) for record in records).items()))


def resources(
    stock: Sequence[Stock], records: Sequence[Record], promised: Callable[[str], float]
) -> list[Resource]:
    """Claimed is what limits and claims say; a container without a limit claims nothing of it."""
    holding = [record for record in records if record.state is not State.FAILED]
    singly: Mapping[str, int] = {
        ADDRESSES: sum(len(record.facts.nics) for record in holding),
        AUTOMATIC_PORTS: _automatic(holding),
        USER_RANGES: sum(record.facts.ids is not None for record in holding),
    }
    return [
        _row(one, singly[one.name] if one.name in singly else promised(one.name)) for one in stock
    ]


def _row(one: Stock, claimed: float) -> Resource:
    return Resource(
        name=one.name,
        unit=one.unit,
        total=one.total,
        reserved=one.reserved,
        ratio=one.ratio,
        capacity=one.capacity,
        claimed=claimed,
        free=one.free(claimed),
    )


def _automatic(records: Sequence[Record]) -> int:
    return sum(port.host_port is None for record in records for port in record.spec.ports)
