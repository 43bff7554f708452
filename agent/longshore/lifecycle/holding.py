"""What the node keeps for a container that may have another version of its spec soon: what that
needs, beside what the present one has, until it is known which of them it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from longshore.errors import LongshoreError
from longshore.lifecycle.admission import Admission
from longshore.lifecycle.borrowing import hold_borrowed
from longshore.lifecycle.idclaims import hold_ids
from longshore.lifecycle.ports import Transaction
from longshore.lifecycle.volumes import claim_named
from longshore.model.addressing import HostPort
from longshore.model.host import Ids, Nic, PublishedPort
from longshore.model.names import Names
from longshore.model.nics import NicSpec, PortSpec
from longshore.model.record import Facts, Record
from longshore.model.spec import ContainerSpec
from longshore.model.versions import Held, Remake, Version


@dataclass(frozen=True)
class _Share:
    """One version's part of it. `sealed`: as the record's."""

    spec: ContainerSpec
    sealed: Mapping[str, str]
    nics: Sequence[Nic]
    ports: Sequence[PublishedPort]
    ids: Ids | None


@dataclass(frozen=True)
class Holding:
    admission: Admission

    def claim(
        self,
        tx: Transaction,
        record: Record,
        asked: ContainerSpec,
        new: ContainerSpec,
        sealed: Mapping[str, str],
        now: float,
    ) -> Facts:
        """What the new spec is to have: of addresses and automatic ports those that the container
        has, wherever it leaves the choice.

        Args:
            asked, new: as `Admission.claim`; of the secrets in `new` those have a value whose value
                is new. `sealed`: of all of them.

        Raises:
            LongshoreError: as `Admission.claim`, with nothing claimed.
        """
        before = list(_shares(tx, record.but(pending=None)))
        facts = self.admission.claim(tx, asked, _pinned(new, record), record.facts, now, sealed)
        self._hold(tx, record.id, before, now)
        return facts

    def only(self, tx: Transaction, record: Record, now: float) -> None:
        """Gives back what none of the versions has that the record still speaks of."""
        shares = list(_shares(tx, record))
        tx.release(record.id)
        self._hold(tx, record.id, shares, now)

    def _hold(self, tx: Transaction, id: str, shares: Sequence[_Share], now: float) -> None:
        """What was theirs before, and so can be nobody else's."""
        promised = dict(tx.promises(id))
        tx.claim("interface", Names(id).veth, id)
        for one in shares:
            tx.claim("name", one.spec.name, id)
            claim_named(tx, one.spec, now)
            hold_borrowed(tx, one.spec)
            hold_ids(tx, one.ids, id)
            for nic in one.nics:
                tx.claim(f"address of {nic.network}", nic.address, id)
                tx.claim(f"mac of {nic.network}", nic.mac, id)
            for port in one.ports:
                key = HostPort(port.protocol, port.host_ip, port.host_port)
                tx.claim("port", str(key), id)
            for resource, amount in self.admission.amounts(one.spec, one.sealed).items():
                promised[resource] = max(promised.get(resource, 0.0), amount)
        for resource, amount in promised.items():
            tx.promise(resource, amount, id)


def version_of(tx: Transaction, record: Record, number: int) -> Version:
    """One that its record speaks of."""
    version = tx.version(record.id, number)
    if version is None:
        raise LongshoreError(
            f"cannot find version {number} of container {record.name} in the journal",
            object=record.name,
        )
    return version


def needed(record: Record) -> set[int]:
    """Numbers of the versions that its record speaks of."""
    trial, pending = record.trial, record.pending
    return {record.version} | {one.number for one in (pending, trial and trial.previous) if one}


def held(facts: Facts, number: int, remake: Remake) -> Held:
    """A version with what was claimed for it."""
    return Held(number=number, nics=facts.nics, ports=facts.ports, ids=facts.ids, remake=remake)


def _shares(tx: Transaction, record: Record) -> Iterator[_Share]:
    facts = record.facts
    yield _Share(record.spec, record.sealed, facts.nics, facts.ports, facts.ids)
    previous = record.trial.previous if record.trial else None
    for one in (previous, record.pending):
        if one is None or one.number == record.version:
            continue
        version = version_of(tx, record, one.number)
        spec = version.spec.model_copy(update={"name": record.name})
        yield _Share(spec, version.sealed, one.nics, one.ports, one.ids)


def _pinned(new: ContainerSpec, record: Record) -> ContainerSpec:
    facts, old = record.facts, record.spec
    nics = tuple(
        _with_address(nic, facts.nics[index]) if index < len(facts.nics) else nic
        for index, nic in enumerate(new.nics)
    )
    chosen: dict[PortSpec, list[int]] = {}
    for asked, got in zip(old.ports, facts.ports, strict=False):
        if asked.host_port is None:
            chosen.setdefault(asked, []).append(got.host_port)
    ports = tuple(_with_port(port, chosen.get(port)) for port in new.ports)
    if (nics, ports) == (new.nics, new.ports):
        return new
    # What is pinned was checked when it was chosen; two of the same may be asked for since.
    return new.model_copy(update={"nics": nics, "ports": ports})


def _with_address(asked: NicSpec, has: Nic) -> NicSpec:
    if asked.address is not None or asked.network != has.network:
        return asked
    return asked.model_copy(update={"address": has.address})


def _with_port(asked: PortSpec, has: list[int] | None) -> PortSpec:
    return asked.model_copy(update={"host_port": has.pop(0)}) if has else asked
