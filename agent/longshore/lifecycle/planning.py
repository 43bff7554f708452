"""What a change of a container would take, and whether the node would take it. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longshore.errors import ContainerNotFound, LongshoreError
from longshore.lifecycle.admission import Admission
from longshore.lifecycle.borrowing import with_borrowed
from longshore.lifecycle.holding import Holding
from longshore.lifecycle.ports import Journal
from longshore.model import patches
from longshore.model.record import Record
from longshore.model.spec import ContainerSpec
from longshore.model.status import ErrorStatus, FieldChange, PlanStatus


class _Undone(Exception):
    """The node would take it: whatever was claimed for the answer is rolled back."""


@dataclass(frozen=True)
class Planned:
    """Another spec for a container.

    Args:
        asked: the new one, without what flavor and `volumes_from` add. `after`: with it.
        changes: against the one that it has now.
        sealed: values of secrets that `after` has, and those that stay as they are, encrypted.
    """

    asked: ContainerSpec
    after: ContainerSpec
    changes: Sequence[FieldChange]
    sealed: Mapping[str, str]

    @property
    def when(self) -> str:
        return patches.most(self.changes)


@dataclass(frozen=True)
class Planning:
    journal: Journal
    admission: Admission
    holding: Holding
    now: Callable[[], float]

    def plan(self, ref: str, patch: Mapping[str, Any]) -> PlanStatus:
        """Raises:
        InvalidSpec: what comes out is no spec; with every fault.
        ContainerNotFound: there is none; or none that the new one has volumes from.
        HostFailed: it cannot be told just now, because a neighbour does not answer.
        """
        record = self.journal.get(self.journal.find(ref))
        if record is None:
            raise ContainerNotFound(f"cannot find container {ref}: there is none", object=ref)
        planned = self.patched(record, patch)
        error = self._refusal(record, planned) if planned.changes else None
        status = None if error is None else ErrorStatus(**error.to_dict())
        return PlanStatus(when=planned.when, changes=tuple(planned.changes), error=status)

    def patched(self, record: Record, patch: Mapping[str, Any]) -> Planned:
        """Of the version that waits for its next start, if one does. Raises InvalidSpec,
        ContainerNotFound, HostBusy."""
        base, sealed = record.spec, record.sealed
        if record.pending is not None:
            with self.journal.transaction(durable=False) as tx:
                version = tx.version(record.id, record.pending.number)
            if version is not None:
                base = version.spec.model_copy(update={"name": record.name})
                sealed = version.sealed
        return self.planned(record, patches.apply(self.as_asked(base), patch), sealed)

    def planned(self, record: Record, asked: ContainerSpec, sealed: Mapping[str, str]) -> Planned:
        """`sealed`: what its secrets without a value stand for. Raises as `patched`."""
        after = with_borrowed(self.admission.filled(asked), self.journal)
        kept = {
            one.name: sealed[one.name]
            for one in after.secrets
            if one.value is None and one.name in sealed
        }
        changes = patches.changes(record.spec, after)
        return Planned(asked, after, changes, kept)

    def as_asked(self, spec: ContainerSpec) -> ContainerSpec:
        """As near as can be to what was asked for: the record has what was made of it."""
        flavors, given = self.admission.flavors(), spec.flavor
        known = flavors.by_name.get(given.name) if given is not None else None
        limits = given.limits if given is not None else None
        asked = patches.asked_of(spec, limits or (known.limits if known is not None else None))
        if not asked.volumes_from:
            return asked
        try:
            lent = with_borrowed(asked.but(mounts=()), self.journal).mounts
        except LongshoreError:
            return asked  # who lent them has changed: what it has of them is its own now
        return asked.but(mounts=tuple(one for one in asked.mounts if one not in lent))

    def _refusal(self, record: Record, planned: Planned) -> LongshoreError | None:
        """Why the node would not take it in the place of the one that is there."""
        try:
            self.admission.check_host(planned.after)
            with self.journal.transaction(durable=False) as tx:
                self.holding.claim(
                    tx, record, planned.asked, planned.after, planned.sealed, self.now()
                )
                raise _Undone
        except _Undone:
            return None
        except LongshoreError as error:
            if error.retry:
                raise
            return as_update(error)


def as_update(error: LongshoreError) -> LongshoreError:
    """What admission says of a create, of another version of a container that is there."""
    beginning = "cannot create container "
    if error.message.startswith(beginning):
        error.message = f"cannot update container {error.message[len(beginning) :]}"
        error.args = (error.message,)
    return error
