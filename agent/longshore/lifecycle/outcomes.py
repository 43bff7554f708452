"""What came of an act, as fields of the record and as answers to whoever asked. Pure, but for the
transaction that it is done in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longshore.errors import IllegalTransition, LongshoreError, Superseded, from_dict
from longshore.lifecycle.acts import Result
from longshore.lifecycle.ports import Transaction
from longshore.model.plan import is_given_up
from longshore.model.record import Record
from longshore.model.request import SIGNAL, Verb
from longshore.model.requested import Requested, failed, succeeded
from longshore.model.state import WANTS, Desired, State, after
from longshore.model.versions import Remake

#: In these nothing is under way: whoever asked can be answered.
SETTLED = frozenset(
    {
        State.CREATED,
        State.RUNNING,
        State.PAUSED,
        State.STOPPED,
        State.ERROR,
        State.FAILED,
        State.ABSENT,
    }
)
#: What was asked, and has not come about while it is in that state.
_UNREACHED: Mapping[str, State] = {Verb.PAUSE: State.RUNNING, Verb.UNPAUSE: State.PAUSED}


#: Whoever asked for these waits for what comes of the version, and not for its process alone.
_JUDGED = frozenset({Verb.UPDATE, Verb.ROLLBACK})


def _is_on_trial(record: Record) -> bool:
    return record.trial is not None and record.state in (State.RUNNING, State.PAUSED)


def following(current: Record, result: Result) -> Record:
    error = result.error
    changes: dict[str, Any] = {"error": error.to_dict() if error else None, **result.changes}
    if result.happening is not None:
        changes["state"] = after(current.state, result.happening, current.name)
        changes["reason"] = result.reason
    following = current.but(**changes)
    if result.happening is not None and following.remake is Remake.NOTHING:
        # Written by now, or not wanted any more: what nobody needs would go along for good.
        return following.but(contents=())
    return following


def asked_again(tx: Transaction, before: Record, now: Record) -> bool:
    """Whether a start was asked for while its process had ended and nobody had noticed yet."""
    return (
        (before.state, now.state) == (State.RUNNING, State.STOPPED)
        and before.desired is Desired.RUNNING
        and any(one.verb == Verb.START for one in tx.unanswered(now.id))
    )


def is_awaited(tx: Transaction, record: Record, now: float) -> bool:
    """Whether somebody may ask again for what failed for a reason that may pass."""
    return not is_given_up(record, now) and bool(_open(tx, record))


def found_out(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What stays true though the intent it was done for is out of date."""
    kept = ("steps", "leftovers", "exit_code", "finished_at")
    return {key: changes[key] for key in kept if key in changes}


def failure(record: Record) -> LongshoreError | None:
    """What keeps it from being as wanted, found out earlier: looking again makes it no success."""
    failed = record.state is State.FAILED or (
        record.state in (State.STOPPED, State.ERROR) and record.desired is Desired.RUNNING
    )
    return from_dict(record.error) if failed and record.error else None


def answer(
    tx: Transaction,
    record: Record,
    error: LongshoreError | None,
    taken_back: LongshoreError | None = None,
) -> None:
    """Gives everyone who asked about this container the answer, once there is one.

    An error that may pass is no answer: the same request, sent again, tries again.

    Args:
        taken_back: what came of a new version, if that is known only now.
    """
    if record.state not in SETTLED:
        return
    passing = error is not None and error.retry
    for requested in _open(tx, record):
        if requested.verb in _JUDGED:
            if not _is_on_trial(record):
                tx.answer(requested.id, _outcome(requested, record, taken_back))
            continue
        if passing:
            continue
        if error is None and _UNREACHED.get(requested.verb) is record.state:
            continue  # nobody could say how its process is
        tx.answer(requested.id, _outcome(requested, record, error))


def _open(tx: Transaction, record: Record) -> list[Requested]:
    """What this path has to answer: who sends a signal answers by himself."""
    return [one for one in tx.unanswered(record.id) if one.verb != SIGNAL]


def _outcome(
    requested: Requested, record: Record, error: LongshoreError | None
) -> Mapping[str, Any]:
    wanted = WANTS.get(Verb(requested.verb))
    overtaken = record.desired is Desired.ABSENT if wanted is None else wanted is not record.desired
    if overtaken:
        return failed(
            Superseded(
                f"cannot {requested.verb} container {record.name}: a newer request wants it "
                f"{record.desired}",
                object=record.name,
            ).to_dict()
        )
    if error is None and requested.verb == Verb.PAUSE and record.state is not State.PAUSED:
        error = IllegalTransition(
            f"cannot pause container {record.name}: it has ended meanwhile",
            object=record.name,
            details={"state": str(record.state), "verb": str(Verb.PAUSE)},
        )
    return failed(error.to_dict()) if error else succeeded(record.status())
