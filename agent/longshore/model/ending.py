"""What follows, in the same transaction, when a process has ended or an act came to nothing."""

from __future__ import annotations

from collections.abc import Callable

from longshore.model.plan import once_ended
from longshore.model.record import Record
from longshore.model.request import Verb
from longshore.model.restarts import Backoff, End, decide
from longshore.model.state import Desired, Happening, State, after

#: In these nothing of it runs.
_OVER = frozenset({State.STOPPED, State.ERROR})


def begun(record: Record) -> Record:
    """One whose pause is over, and that is being started again: by itself, if it had a pause."""
    automatic = record.restart_at is not None
    return record.but(restarts=record.restarts + automatic, restart_at=None)


def anew(record: Record, verb: Verb) -> Record:
    """Before a verb: what its policy was about to do does not matter any more, nor, if it is to be
    started, what happened before."""
    if verb is Verb.START and record.state in (State.RUNNING, State.PAUSED):
        return record
    if verb in (Verb.START, Verb.RESTART):
        return record.but(restarts=0, tries=0, restart_at=None)
    return record.but(restart_at=None)


def is_automatic(record: Record) -> bool:
    """Whether its last start, or the one under way, was its policy's."""
    return record.restarts > 0


def unpausable(record: Record) -> Record:
    """One that could not be paused, or ended before it was: it is to run on, as far as it does."""
    return record.but(desired=Desired.RUNNING) if record.desired is Desired.PAUSED else record


def following_end(
    record: Record,
    *,
    passing: bool,
    awaited: bool,
    now: float,
    backoff: Backoff,
    chance: Callable[[], float],
) -> Record:
    """What is wanted of a container that has just ended, or could not be started.

    Args:
        passing: what kept it from starting may pass.
        awaited: somebody may still ask again for what failed.
    """
    if record.state not in _OVER:
        return record
    record = unpausable(record)
    if record.desired is Desired.RUNNING and (
        record.state is State.STOPPED or is_automatic(record)
    ):
        verdict = decide(
            record.spec.restart, _end(record, passing), record.tries, backoff, chance()
        )
        if verdict.pause is not None:
            return record.but(
                state=after(record.state, Happening.AGAIN, record.name),
                reason=f"{record.reason}; {verdict.why}",
                tries=verdict.tries,
                restart_at=now + verdict.pause,
            )
        if verdict.why:
            record = record.but(reason=f"{record.reason}; {verdict.why}", tries=verdict.tries)
    return record if awaited else once_ended(record, now)


def _end(record: Record, passing: bool) -> End:
    if record.state is State.ERROR:
        return End(None, passing=passing)
    began, ended = record.started_at, record.finished_at
    killed = record.out_of_memory
    return End(
        record.exit_code,
        out_of_memory=killed is not None and killed.at >= (began or 0),
        ran=ended - began if began is not None and ended is not None else 0.0,
    )
