"""The question whether a container would be taken now, answered as a create would, and undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import LongshoreError
from longshore.lifecycle.admission import Admission, check_new
from longshore.lifecycle.borrowing import with_borrowed
from longshore.lifecycle.ports import Journal
from longshore.model.spec import ContainerSpec
from longshore.model.status import ErrorStatus, FitsStatus, Shortfall


class _Undone(Exception):
    """It fits: whatever was claimed for the answer is rolled back."""


@dataclass(frozen=True)
class Fitting:
    journal: Journal
    admission: Admission
    now: Callable[[], float]

    def fits(self, spec: ContainerSpec) -> FitsStatus:
        """Makes and claims nothing; what is free now may be taken in a moment.

        Raises:
            HostFailed: that cannot be told just now, because a neighbour does not answer.
        """
        try:
            self._admit(spec)
        except _Undone:
            return FitsStatus(fits=True)
        except LongshoreError as error:
            if error.retry:
                raise
            return FitsStatus(
                fits=False,
                error=ErrorStatus(**error.to_dict()),
                missing=tuple(Shortfall(**one) for one in error.details.get("missing", ())),
            )
        raise AssertionError("it ends by an error, or undone")

    def _admit(self, spec: ContainerSpec) -> None:
        wanted = with_borrowed(self.admission.filled(spec), self.journal)
        facts = self.admission.check(wanted)
        with self.journal.transaction(durable=False) as tx:
            check_new(wanted, tx.get(wanted.id))
            self.admission.claim(tx, spec, wanted, facts, self.now())
            raise _Undone
