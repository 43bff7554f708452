"""The verbs: each journals an intent, and lets `converge` carry it out.

A verb decides nothing about the host. It answers a request seen before from the journal, checks
what is new, writes the intent in one durable transaction, and then waits for as long as the
caller wants to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from signal import SIGKILL
from typing import Any

from longshore import errors
from longshore.errors import ContainerNotFound, IllegalTransition, LongshoreError
from longshore.lifecycle.admission import Admission
from longshore.lifecycle.borrowing import check_free
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.converge import Converge
from longshore.lifecycle.creation import Creation
from longshore.lifecycle.fetches import Fetches
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.intents import Intent, admit, is_being_done, is_under_way, seen
from longshore.lifecycle.ports import Journal, Tasks, Transaction
from longshore.lifecycle.renames import Renames
from longshore.lifecycle.signals import Signals, number_of
from longshore.model.ending import anew
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.record import Record
from longshore.model.request import ACCEPTED, Request, Verb, check, goal_of
from longshore.model.spec import ContainerSpec
from longshore.model.state import BUSY, WANTS, State, after
from longshore.model.status import ContainerStatus
from longshore.model.transfer import Credential

LOG = logging.getLogger(__name__)


class Containers:
    """Args:
    soon: has a container settled in the background.
    """

    def __init__(
        self,
        journal: Journal,
        converge: Converge,
        admission: Admission,
        changes: Changes,
        now: Callable[[], float],
        soon: Callable[[str], None],
        fetches: Fetches,
        holds: Holds,
        tasks: Tasks,
    ) -> None:
        self._journal = journal
        self._converge = converge
        self._admission = admission
        self._changes = changes
        self._now = now
        self._soon = soon
        self._fetches = fetches
        self._holds = holds
        self._signals = Signals(journal, tasks, changes, now)
        self._renames = Renames(journal, changes, now)

    def create(
        self,
        request: Request,
        spec: ContainerSpec,
        *,
        start: bool = True,
        credential: Credential | None = None,
    ) -> ContainerStatus:
        creation = Creation(
            self._journal, self._admission, self._holds, request, spec, start, credential
        )

        def prepare(again: bool) -> None:
            # Asked again after a restart, it brings back what only memory had.
            if credential is not None or not again:
                self._fetches.trust(spec.id, credential)

        intent = Intent(
            *(Verb.CREATE, spec.id, creation.arguments),
            lambda tx, present, generation: creation.record(tx, present, generation, self._now()),
            goal_of(Verb.CREATE, start=start),
            prepare=prepare,
            journalled=creation.release,
        )
        try:
            if self._is_to_do(request, spec.id):
                creation.look()
            return self.carry_out(request, intent)
        finally:
            creation.release()

    def start(self, request: Request, ref: str) -> ContainerStatus:
        if self._journal.requested(request.id) is None:
            record = self._known(self._journal.find(ref))
            if record.state not in BUSY:
                # The node's rules may be others than when it was created.
                self._admission.policy(record.spec)
        return self._change(request, Verb.START, ref, {})

    def stop(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        return self._change(request, Verb.STOP, ref, {"grace": grace}, grace=grace)

    def restart(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        if self._journal.requested(request.id) is None:
            # Before its process is ended: it might not be started again.
            self._admission.policy(self._known(self._journal.find(ref)).spec)
        return self._change(request, Verb.RESTART, ref, {"grace": grace}, grace=grace)

    def kill(self, request: Request, ref: str, *, signal: str = "SIGKILL") -> ContainerStatus:
        number = number_of(signal)
        if number != SIGKILL:
            return self._signals.send(request, ref, number)
        arguments = {"signal": int(number)}
        return self._change(request, Verb.KILL, ref, arguments, grace=0.0, leads=Verb.STOP)

    def pause(self, request: Request, ref: str) -> ContainerStatus:
        return self._change(request, Verb.PAUSE, ref, {})

    def unpause(self, request: Request, ref: str) -> ContainerStatus:
        return self._change(request, Verb.UNPAUSE, ref, {})

    def rename(self, request: Request, ref: str, name: str) -> ContainerStatus:
        return self._renames.rename(request, ref, name)

    def delete(self, request: Request, ref: str, *, force: bool = False) -> ContainerStatus:
        def allow(tx: Transaction, present: Record) -> None:
            check_free(tx, present)
            if present.state in BUSY and not force:
                raise IllegalTransition(
                    f"cannot delete container {present.name}: it is {present.state}",
                    object=present.name,
                    hint="stop it first, or delete it with force",
                    details={"state": str(present.state), "verb": "delete"},
                )

        return self._change(
            request, Verb.DELETE, ref, {"force": force}, grace=0.0 if force else None, allow=allow
        )

    def show(self, ref: str) -> ContainerStatus:
        return self._known(self._journal.find(ref)).status()

    def list(self, filter: Filter = EVERYTHING) -> Sequence[ContainerStatus]:
        return [record.status() for record in self._journal.list(filter)]

    def _is_to_do(self, request: Request, id: str) -> bool:
        """Whether a create is not just asked again while it is carried out, or was."""
        asked = self._journal.requested(request.id)
        if asked is None:
            return True
        present = self._journal.get(id)
        return asked.outcome is None and not (present and is_under_way(Verb.CREATE, present))

    def record(self, id: str) -> Record | None:
        return self._journal.get(id)

    def _change(
        self,
        request: Request,
        verb: Verb,
        ref: str,
        arguments: Mapping[str, Any],
        *,
        grace: float | None = None,
        leads: Verb | None = None,
        allow: Callable[[Transaction, Record], None] = lambda tx, present: None,
    ) -> ContainerStatus:
        """A verb on a container that is there. `leads`: what it comes down to, if another."""
        asked = self._journal.requested(request.id)
        # Asked again, it may be gone meanwhile, or its name be another's.
        id = asked.container if asked else self._journal.find(ref)

        def change(tx: Transaction, present: Record | None, generation: int) -> Record:
            if present is None:
                raise ContainerNotFound(f"cannot {verb} container {ref}: there is none", object=ref)
            following = after(present.state, verb, present.name)
            if leads is not None:
                following = after(present.state, leads, present.name)
            allow(tx, present)
            return anew(present, verb).but(
                state=following,
                reason=f"{verb} was requested"
                if following is not present.state
                else present.reason,
                desired=WANTS[leads or verb],
                desired_by=request.origin,
                desired_at=self._now(),
                generation=generation,
                grace=grace,
            )

        return self.carry_out(
            request, Intent(verb, id, {**arguments, "ref": ref}, change, goal_of(verb))
        )

    def carry_out(self, request: Request, intent: Intent) -> ContainerStatus:
        """Journals it, and brings it about, or with `wait` accepted has it brought about."""
        check(request, intent.verb, intent.goal)
        with self._journal.transaction(durable=True) as tx:
            asked, before = seen(tx, request, intent), tx.get(intent.id)
            if asked is not None and asked.outcome is not None:
                return asked.result()
            # The same request again, while it is being carried out, waits for what comes of it.
            waits = bool(before and asked and is_being_done(asked, intent.verb, before))
            record = before if before and waits else admit(tx, request, intent, before, self._now())
            intent.prepare(waits)
        intent.journalled()
        if not waits:
            self._told(request, intent.verb, before, record)
            self._converge.look_again(record.id)
        if request.wait == ACCEPTED:
            self._soon(record.id)
            return record.status()
        untouched = not waits and _untouched(before)
        try:
            self._converge.settle(record.id, admitted=record if untouched else None)
        except LongshoreError:
            if not self._succeeded(request.id):
                raise
        return self._outcome(request.id, record)

    def _succeeded(self, request_id: str) -> bool:
        """Then what failed is no part of it: the removal, say, of what was stopped."""
        asked = self._journal.requested(request_id)
        return asked is not None and asked.outcome is not None and "error" not in asked.outcome

    def _told(self, request: Request, verb: Verb, before: Record | None, record: Record) -> None:
        previous = before.state if before else State.ABSENT
        LOG.info(
            "container %s: %s by %s (request %s, generation %d): %s → %s",
            *(record.id, verb, request.origin, request.id, record.generation),
            *(previous, record.state),
        )
        if record.state is not previous:
            self._changes.add(record, previous)
        elif before is not None and record.version != before.version:
            self._changes.add(record, previous, kind="updated")

    def _outcome(self, request_id: str, record: Record) -> ContainerStatus:
        asked = self._journal.requested(request_id)
        if asked is not None and asked.outcome is not None:
            return asked.result()
        now = self._journal.get(record.id)
        if now is not None and now.error is not None:
            raise errors.from_dict(now.error)
        raise errors.DeadlineExceeded(
            f"cannot say yet what came of request {request_id}: it is still under way",
            object=record.name,
            hint="ask again with the same request id",
        )

    def _known(self, id: str) -> Record:
        record = self._journal.get(id)
        if record is None:
            raise ContainerNotFound(f"cannot find container {id}: there is none", object=id)
        return record


def _untouched(before: Record | None) -> bool:
    """Whether nothing that the coming steps make can be on the host already."""
    settled = (State.CREATED, State.STOPPED, State.ERROR, State.FAILED)
    return before is None or (before.state in settled and not before.leftovers)
