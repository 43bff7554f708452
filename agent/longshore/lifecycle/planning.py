"""What a change of a container would take, and whether the node would take it. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.errors import ContainerNotFound, LongshoreError
from longshore.lifecycle.admission import Admission
from longshore.lifecycle.borrowing import with_borrowed
from longshore.lifecycle.ports import Journal
from longshore.model import patches
from longshore.model.record import Record
from longshore.model.spec import ContainerSpec
from longshore.model.status import ErrorStatus, PlanStatus


class _Undone(Exception):
    """The node would take it: whatever was claimed for the answer is rolled back."""


@dataclass(frozen=True)
class Patched:
    """A container's spec under a patch.

    Args:
        before: as it is, with what flavor and `volumes_from` have added.
        asked: the new one, without that.
        after: with it.
    """

    before: ContainerSpec
    asked: ContainerSpec
    after: ContainerSpec


@dataclass(frozen=True)
class Planning:
    journal: Journal
    admission: Admission
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
        patched = self.patched(record, patch)
        found = patches.changes(patched.before, patched.after)
        error = self._refusal(record, patched) if found else None
        status = None if error is None else ErrorStatus(**error.to_dict())
        return PlanStatus(when=patches.most(found), changes=found, error=status)

    def patched(self, record: Record, patch: Mapping[str, Any]) -> Patched:
        """Raises InvalidSpec, ContainerNotFound, HostBusy."""
        asked = patches.apply(self._asked(record.spec), patch)
        return Patched(record.spec, asked, self._filled(asked))

    def _filled(self, asked: ContainerSpec) -> ContainerSpec:
        return with_borrowed(self.admission.filled(asked), self.journal)

    def _asked(self, spec: ContainerSpec) -> ContainerSpec:
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

    def _refusal(self, record: Record, patched: Patched) -> LongshoreError | None:
        """Why the node would not take it in the place of the one that is there."""
        asked, after = patched.asked, patched.after
        try:
            self.admission.check_host(after)
            with self.journal.transaction(durable=False) as tx:
                # It gives back first what it holds itself.
                self.admission.claim(tx, asked, after, record.facts, self.now())
                raise _Undone
        except _Undone:
            return None
        except LongshoreError as error:
            if error.retry:
                raise
            return error
