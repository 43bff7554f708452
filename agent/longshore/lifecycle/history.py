"""The versions of a container's spec, for people: which there are, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.errors import ContainerNotFound, InvalidRequest
from longshore.lifecycle.ports import Journal
from longshore.lifecycle.versioning import present_version
from longshore.model import patches
from longshore.model.record import Record
from longshore.model.status import FieldChange, VersionStatus
from longshore.model.versions import Version


@dataclass(frozen=True)
class History:
    journal: Journal

    def versions(self, ref: str) -> Sequence[VersionStatus]:
        """Oldest first. Raises ContainerNotFound."""
        record, known = self._known(ref)
        before: Version | None = None
        found = []
        for one in known:
            changes = patches.changes(before.spec, one.spec) if before else ()
            found.append(_status(record, one, changes))
            before = one
        return found

    def compare(self, ref: str, before: int, after: int) -> Sequence[FieldChange]:
        """What of the second version differs from the first, and what an update from one to the
        other takes. Raises ContainerNotFound, InvalidRequest: it has no such version."""
        record, known = self._known(ref)
        specs = {one.number: one.spec for one in known}
        for field, number in (("before", before), ("after", after)):
            if number not in specs:
                raise InvalidRequest(
                    f"cannot compare versions of container {record.name}: it has no version "
                    f"{number}",
                    field=field,
                    object=record.name,
                    hint=f"it has {', '.join(map(str, specs))}",
                )
        return patches.changes(specs[before], specs[after])

    def _known(self, ref: str) -> tuple[Record, Sequence[Version]]:
        with self.journal.transaction(durable=False) as tx:
            record = tx.get(tx.find(ref))
            if record is None:
                raise ContainerNotFound(f"cannot find container {ref}: there is none", object=ref)
            known = tx.versions(record.id)
        if not any(one.number == record.version for one in known):
            known = [*known, present_version(record, ())]
        name = {"name": record.name}
        return record, [
            one.model_copy(update={"spec": one.spec.model_copy(update=name)}) for one in known
        ]


def _status(record: Record, version: Version, changes: Sequence[FieldChange]) -> VersionStatus:
    return VersionStatus(
        number=version.number,
        state=_state(record, version),
        at=version.at,
        by=version.by,
        reason=version.taken_back or "",
        changes=tuple(changes),
        spec=version.spec.model_dump(mode="json"),
    )


def _state(record: Record, version: Version) -> str:
    if version.number == record.version:
        on_trial = record.trial is not None and record.trial.failed is None
        return "on trial" if on_trial else "in use"
    if record.pending is not None and record.pending.number == version.number:
        return "pending"
    return "earlier" if version.taken_back is None else "taken back"
