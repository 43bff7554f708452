"""What a caller wants, on its way into the journal: seen before, or new and newer than the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.errors import StaleGeneration
from longshore.lifecycle.ports import Transaction
from longshore.model import trials
from longshore.model.record import Record
from longshore.model.request import VERSIONED, Request, Verb
from longshore.model.requested import Requested, fingerprint
from longshore.model.state import WANTS, State


@dataclass(frozen=True)
class Intent:
    """A verb about to be journalled.

    Args:
        change: the record that follows, from the present one.
        prepare: what must be known before anybody can see the record. `again`: it is being carried
            out already.
        journalled: called when the record is there.
        noted: the journal's word for it, where that is not the verb.
        told: what of the arguments the container's story tells.
    """

    verb: Verb
    id: str
    arguments: Mapping[str, Any]
    change: Callable[[Transaction, Record | None, int], Record]
    goal: str
    prepare: Callable[[bool], None] = lambda again: None
    journalled: Callable[[], None] = lambda: None
    noted: str | None = None
    told: str = ""


def seen(tx: Transaction, request: Request, intent: Intent) -> Requested | None:
    """The same request as it was asked before. Raises RequestConflict if it was another."""
    asked = tx.requested(request.id)
    if asked is not None:
        asked.check_same(intent.noted or intent.verb, intent.id, intent.arguments)
    return asked


def admit(
    tx: Transaction, request: Request, intent: Intent, before: Record | None, now: float
) -> Record:
    """Writes down what is to be. Raises StaleGeneration, and what makes it impossible."""
    # Also of one that is gone: what was asked before its deletion may arrive after it.
    recorded = before.generation if before else tx.last_generation(intent.id)
    generation = recorded + 1 if request.generation is None else request.generation
    # The same request asked again, after a failure that may pass, has the recorded one.
    again = tx.requested(request.id)
    if generation <= recorded and not (again and again.generation == generation == recorded):
        raise StaleGeneration(
            f"cannot {intent.verb} container {intent.id}: generation {generation} is not "
            f"above the recorded {recorded}",
            field="generation",
            object=intent.id,
            details={"generation": recorded},
        )
    record = intent.change(tx, before, generation)
    noted = intent.noted or intent.verb
    what = f"{intent.verb} {intent.told}".rstrip()
    by = f"{request.origin or 'somebody'}, request {request.id}, generation {generation}"
    tx.put(record, f"{what} by {by}")
    tx.ask(
        Requested(
            request.id,
            record.id,
            noted,
            fingerprint(noted, intent.arguments),
            generation,
            now,
        )
    )
    return record


_UNDER_WAY: Mapping[Verb, frozenset[State]] = {
    Verb.CREATE: frozenset({State.CREATING}),
    Verb.START: frozenset({State.STARTING, State.RUNNING}),
    Verb.RESTART: frozenset({State.RESTARTING, State.STARTING, State.RUNNING}),
    Verb.PAUSE: frozenset({State.RUNNING, State.PAUSED}),
    Verb.UNPAUSE: frozenset({State.PAUSED, State.RUNNING}),
    Verb.KILL: frozenset({State.STOPPING, State.STOPPED}),
    Verb.STOP: frozenset({State.STOPPING, State.STOPPED, State.CREATED}),
    Verb.DELETE: frozenset({State.DELETING}),
}


def is_to_do(asked: Requested | None, verb: Verb, record: Record) -> bool:
    """Whether a request was not answered before, nor is what it asked for under way."""
    return asked is None or (asked.outcome is None and not is_being_done(asked, verb, record))


def is_being_done(asked: Requested, verb: Verb, record: Record) -> bool:
    """Whether that open request needs no second start."""
    if verb in VERSIONED:
        return trials.is_under_way(record) or asked.generation == record.generation
    return is_under_way(verb, record)


def is_under_way(verb: Verb, record: Record) -> bool:
    """Whether what an open request asked for is being done, so that asking again would be twice."""
    wanted = WANTS.get(verb, record.desired)
    return record.state in _UNDER_WAY[verb] and wanted is record.desired
