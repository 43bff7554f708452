"""How much a node has to promise, and what of it a container is short of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from longshore.errors import Exhausted
from longshore.model.limits import Limits
from longshore.model.sizes import with_unit

DISK = "disk"
#: What containers are promised by their limits, in the order in which people are told; the unit.
PROMISED: Mapping[str, str] = {
    "cpus": "cores",
    "memory": "bytes",
    "pids": "count",
    DISK: "bytes",
}
#: Memory that their secrets may take, in bytes.
SECRETS = "secrets"
#: Disk of their logs, where it is not that of their layers.
LOGS = "logs"
#: What containers get one by one, beside what their limits promise.
ADDRESSES, AUTOMATIC_PORTS, USER_RANGES = "addresses", "automatic ports", "user id ranges"
#: Sums of cores are sums of binary fractions: ten times 0.1 must fit into 1.
_DIGITS = 6


@dataclass(frozen=True)
class Share:
    """What of a resource is kept back, and how often the rest may be promised."""

    reserved: float
    ratio: float


@dataclass(frozen=True)
class Stock:
    """One thing that a node can run out of.

    Attributes:
        unit: cores, bytes or count.
        total: what the node has.
        reserved: kept from containers.
        ratio: how often the rest may be promised.
    """

    name: str
    unit: str
    total: float
    reserved: float = 0.0
    ratio: float = 1.0

    @property
    def capacity(self) -> float:
        """What may be promised to all containers together."""
        return max(0.0, self.total - self.reserved) * self.ratio

    def free(self, promised: float) -> float:
        """Below 0 when more is promised than may be now: the node has shrunk since."""
        return round(self.capacity - promised, _DIGITS)


@dataclass(frozen=True)
class Lack:
    """What a container asked for, and what there was of it."""

    resource: str
    unit: str
    asked: float
    free: float

    @property
    def why(self) -> str:
        asked, free = (with_unit(value, self.unit) for value in (self.asked, self.free))
        return f"not enough {self.resource}: asked {asked}, {free} free"


def amounts(
    limits: Limits, secrets: int = 0, beside: Mapping[str, float] | None = None
) -> Mapping[str, float]:
    """What a container with these has to be promised; what it has no limit of is left out.

    It may use that all the same: whoever wants it counted gives the node a default flavor.

    Args:
        secrets: bytes of memory that their files take.
        beside: what each container takes, of which resource, whatever its limits.
    """
    wanted = {name: getattr(limits, name) for name in PROMISED}
    wanted[SECRETS] = secrets or None
    for name, amount in (beside or {}).items():
        wanted[name] = (wanted.get(name) or 0) + amount
    return {name: float(value) for name, value in wanted.items() if value is not None}


def lacks(
    wanted: Mapping[str, float], stock: Sequence[Stock], promised: Callable[[str], float]
) -> Iterator[Lack]:
    """Args:
    promised: how much of a resource the other containers hold.
    """
    for one in stock:
        amount = wanted.get(one.name)
        if amount is None:
            continue
        # However often the node may be promised: nobody can use more than all of it.
        free = min(one.free(promised(one.name)), one.total)
        if round(amount - free, _DIGITS) > 0:
            yield Lack(one.name, one.unit, amount, max(0.0, free))


def exhausted(name: str, lacking: Sequence[Lack]) -> Exhausted:
    """The error that tells all of them, its message the first."""
    first = lacking[0]
    more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
    return Exhausted(
        f"cannot create container {name}: {first.why}{more}",
        field=_field(first),
        object=name,
        hint="delete containers that are not needed, ask for less, or choose another node",
        details={
            **missing(lacking),
            "faults": [{"field": _field(one), "why": one.why} for one in lacking],
        },
    )


def _field(one: Lack) -> str | None:
    special = {SECRETS: SECRETS, LOGS: None}
    return special.get(one.resource, f"limits.{one.resource}")


def missing(lacking: Sequence[Lack]) -> dict[str, Any]:
    """Of an Exhausted's details: the first of them, and in `missing` all."""
    return {**asdict(lacking[0]), "missing": [asdict(one) for one in lacking]}
