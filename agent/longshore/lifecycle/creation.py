"""A create before it is promised: what is found out about it, and the record that comes of that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from longshore.errors import HostBusy
from longshore.lifecycle.admission import Admission, check_new
from longshore.lifecycle.borrowing import with_borrowed
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.ports import Journal, Transaction
from longshore.model.record import Facts, Record
from longshore.model.reference import canonical
from longshore.model.request import Request, Verb
from longshore.model.spec import ContainerSpec
from longshore.model.state import Desired, State, after
from longshore.model.transfer import Credential


@dataclass(frozen=True)
class _Found:
    """`spec`: as it will be made; `sealed`: as in the record."""

    spec: ContainerSpec
    facts: Facts
    sealed: Mapping[str, str]


@dataclass
class Creation:
    """One create that somebody asked for. `look`, if it is to be done, then `record` in the
    transaction, then `release`."""

    journal: Journal
    admission: Admission
    holds: Holds
    request: Request
    spec: ContainerSpec
    start: bool
    credential: Credential | None
    _found: _Found | None = None
    _held: ExitStack = field(default_factory=ExitStack)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What makes two requests the same. A release that knows more fields has the same for a
        request that does not use them; the credential says who asks, not what for."""
        spec = self.spec.model_dump(mode="json", exclude_defaults=True)
        marks = self.admission.marks(self.spec)
        return {"spec": spec, "start": self.start, **({"secrets": marks} if marks else {})}

    def look(self) -> None:
        """Asks neighbours, which may take their time: never inside the transaction.

        Raises:
            LongshoreError: why the node does not take it.
        """
        spec = with_borrowed(self.admission.filled(self.spec), self.journal)
        # From the look at the image to the record that says so nobody removes it.
        name = canonical(spec.image)
        self._hold(name)
        facts = self.admission.check(spec, self.credential)
        if facts.image is not None and facts.image.name != name:
            # Asked for by its digest, it has another name, which was not held yet.
            self._hold(facts.image.name)
            facts = self.admission.check(spec, self.credential)
        self._found = _Found(spec, facts, self.admission.sealed(spec))

    def record(
        self, tx: Transaction, present: Record | None, generation: int, now: float
    ) -> Record:
        """What is promised, with its claims.

        Raises:
            HostBusy: an earlier try is on the host still.
            LongshoreError: as `Admission.claim`.
        """
        check_new(self.spec, present)
        found = self._found
        if found is None or (present is not None and present.leftovers):
            raise HostBusy(
                f"cannot create container {self.spec.name}: an earlier try is being cleared up",
                object=self.spec.name,
                hint="the agent goes on with it; ask again in a moment",
            )
        state = present.state if present else State.ABSENT
        return Record(
            spec=found.spec.without_values(),
            generation=generation,
            desired=Desired.RUNNING if self.start else Desired.STOPPED,
            desired_by=self.request.origin,
            desired_at=now,
            state=after(state, Verb.CREATE, self.spec.name),
            reason="creation was requested",
            facts=self.admission.claim(tx, self.spec, found.spec, found.facts, now),
            created_at=present.created_at if present else now,
            contents=found.spec.contents,
            sealed=found.sealed,
            with_credential=self.credential is not None,
        )

    def release(self) -> None:
        """The journal says by now what it uses, or it came to nothing."""
        self._held.close()

    def _hold(self, name: str) -> None:
        self._held.enter_context(self.holds.hold(name))
