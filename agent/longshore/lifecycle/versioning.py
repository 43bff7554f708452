"""How a new version of a container gets into the journal and its record, and is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import DeadlineExceeded, Interrupted, Superseded
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.holding import needed
from longshore.lifecycle.ports import Journal, Transaction
from longshore.lifecycle.ports.storage import Files
from longshore.model.ending import anew
from longshore.model.record import Record
from longshore.model.request import VERSIONED, Verb
from longshore.model.requested import failed
from longshore.model.state import Desired, State, after
from longshore.model.status import ContainerStatus
from longshore.model.trials import asked_anew, fallback, taken_up
from longshore.model.versions import Held, Remake, Trial, Version

#: When a new version takes effect: as soon as can be, or when it is started again for whatever
#: reason.
NOW, AT_RESTART = "now", "restart"
#: Seconds that a call waits for what comes of a version; whoever asks again waits on.
_PATIENCE = 30.0
_SLICE = 0.5
#: In these a process of it runs, and is to.
ALIVE = frozenset({State.RUNNING, State.PAUSED})


def placed(record: Record, version: Version, new: Held, *, apply: str, is_prompt: bool) -> Record:
    """The record with a version that the journal has by now: taken up, or pending.

    Args:
        is_prompt: no other process is needed for it.
    """
    trial: Trial | None = Trial(previous=fallback(record, new.remake))
    if new.remake is Remake.LAYER:
        trial = None  # with another layer nothing comes back
    if record.facts.pid is None:
        taken = taken_up(record.but(error=None), version, new, trial)
        return taken if apply == AT_RESTART else _begun(taken)
    if is_prompt and apply == NOW and record.state in ALIVE:
        live = Trial(previous=fallback(record, new.remake), live=record.spec.limits)
        taken = taken_up(record, version, new, live)
        return taken if taken.spec.health == record.spec.health else asked_anew(taken)
    waiting = record.but(pending=new)
    if apply == AT_RESTART:
        return waiting
    state = after(record.state, Verb.RESTART, record.name)
    return anew(waiting, Verb.RESTART).but(
        state=state,
        desired=Desired.RUNNING,
        grace=None,
        reason=f"it is started again, with version {version.number}",
    )


def _begun(record: Record) -> Record:
    """One that would run, were it not for its configuration, is tried with the new one."""
    if record.desired is not Desired.RUNNING or record.state is State.STOPPED:
        return record
    if record.state is State.RESTARTING:
        return anew(record, Verb.RESTART)
    return anew(record, Verb.START).but(
        state=after(record.state, Verb.START, record.name),
        reason=f"it is started, with version {record.version}",
    )


def keep_present(tx: Transaction, record: Record, contents: tuple[str, ...]) -> None:
    """The version in the record is one of the journal's from the first new one on."""
    if tx.version(record.id, record.version) is None:
        tx.put_version(record.id, present_version(record, contents), needed(record))


def contents_of(record: Record, files: Files) -> tuple[str, ...]:
    """Of the files that its spec names: they are in the record until they are written."""
    if not record.spec.files:
        return ()
    return record.contents or files.contents(record.names, record.spec.files)


def present_version(record: Record, contents: tuple[str, ...]) -> Version:
    """Of one that never had another."""
    return Version(
        number=record.version,
        spec=record.spec,
        sealed=record.sealed,
        contents=contents,
        at=record.created_at,
        by="its create",
    )


def next_number(tx: Transaction, record: Record) -> int:
    return max(record.version, *(one.number for one in tx.versions(record.id))) + 1


def supersede(tx: Transaction, record: Record) -> None:
    """Answers those who wait for what comes of a version that nobody waits for any more."""
    for one in tx.unanswered(record.id):
        if one.verb in VERSIONED:
            error = Superseded(
                f"cannot {one.verb} container {record.name}: a newer request gives it another "
                "version",
                object=record.name,
            )
            back = record.trial.failed if record.trial else None
            tx.answer(one.id, failed(back or error.to_dict()))


@dataclass(frozen=True)
class Verdicts:
    journal: Journal
    changes: Changes

    def wait(self, request_id: str, id: str, still: Callable[[], bool]) -> ContainerStatus:
        """What came of a request for a new version.

        Args:
            still: whether anybody waits; asked now and then.

        Raises:
            LongshoreError: it came to that; DeadlineExceeded: that is not known yet; Interrupted:
                nobody waits any more.
        """
        until = time.monotonic() + _PATIENCE
        seen = self.changes.last
        while True:
            asked = self.journal.requested(request_id)
            if asked is not None and asked.outcome is not None:
                return asked.result()
            left = until - time.monotonic()
            record = self.journal.get(id)
            if record is None or left <= 0:
                name = record.name if record else id
                raise DeadlineExceeded(
                    f"cannot say yet what came of request {request_id}: the new version of "
                    f"container {name} is on trial still",
                    object=name,
                    hint="ask again with the same request id",
                    details={"request_id": request_id, "on_trial": True},
                )
            if not still():
                raise Interrupted(
                    f"cannot wait for what comes of request {request_id}: nobody waits any more",
                    object=record.name,
                    hint="it goes on; ask again with the same request id",
                )
            news = self.changes.after(seen, min(left, _SLICE))
            seen = news[-1].seq if news else seen
