"""Who asks for what, and how long the answer is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from longshore.errors import InvalidRequest


class Verb(StrEnum):
    """What changes a container. Reading is not here: it needs no request id."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    RENAME = "rename"
    UPDATE = "update"
    ROLLBACK = "rollback"
    REBUILD = "rebuild"
    DELETE = "delete"


@dataclass(frozen=True)
class Request:
    """One intent of one caller.

    Args:
        id: a uuid that the caller chose. The same id again is the same request, and is answered
            with what came of the first.
        generation: orders the intents for one container; must be above the recorded one.
            None: one more than that, for callers who are the only ones or do not care.
        origin: who asked, in words for the log (`bus req-…`, `local uid=0 pid=12`).
        wait: `accepted` answers once the intent is journalled; None once it is carried out.
    """

    id: str
    generation: int | None = None
    origin: str = ""
    wait: str | None = None


#: The word that asks to wait until a verb is carried out, beside `accepted`.
GOALS = {
    Verb.CREATE: "running",
    Verb.START: "running",
    Verb.STOP: "stopped",
    Verb.RESTART: "running",
    Verb.KILL: "killed",
    Verb.PAUSE: "paused",
    Verb.UNPAUSE: "running",
    Verb.RENAME: "renamed",
    Verb.UPDATE: "updated",
    Verb.ROLLBACK: "updated",
    Verb.REBUILD: "rebuilt",
    Verb.DELETE: "deleted",
}
ACCEPTED = "accepted"
#: What the journal calls a kill by a signal that does not end its process for certain: nothing is
#: to be brought about, so whoever sends it answers.
SIGNAL = "signal"
#: What changes a container's version.
VERSIONED = frozenset({Verb.UPDATE, Verb.ROLLBACK, Verb.REBUILD})
#: What `create` waits for when it is not to start the container.
CREATED = "created"
GENERATION_MAX = 2**63 - 1
_ID_HINT = "choose a new one for a new request, and the same one to ask again"
_NO_UUID = "must be a uuid in its canonical form (lower case, with dashes)"


def goal_of(verb: Verb, *, start: bool = True) -> str:
    """The word for `wait` that means: once it is carried out. `start`: whether a create is to."""
    return CREATED if verb is Verb.CREATE and not start else GOALS[verb]


def id_fault(id: str) -> str | None:
    """Why it is no request id, or None."""
    try:
        return None if str(UUID(id)) == id else _NO_UUID
    except ValueError:
        return _NO_UUID


def generation_fault(generation: int | None) -> str | None:
    if generation is None or 1 <= generation <= GENERATION_MAX:
        return None
    return f"must be 1 to {GENERATION_MAX}"


def wait_fault(wait: str | None, goal: str) -> str | None:
    return None if wait in (None, ACCEPTED, goal) else f"must be '{ACCEPTED}' or '{goal}'"


def check(request: Request, verb: Verb, goal: str, prefix: str = "") -> None:
    """Whether every front door would take it.

    Args:
        goal: from `goal_of`.
        prefix: of the fields' names in errors.

    Raises:
        InvalidRequest: `field` names the first fault, `details['faults']` has all.
    """
    found = {
        "request_id": id_fault(request.id),
        "generation": generation_fault(request.generation),
        "wait": wait_fault(request.wait, goal),
    }
    faults = [{"field": prefix + name, "why": why} for name, why in found.items() if why]
    if faults:
        raise InvalidRequest(
            f"cannot {verb}: {faults[0]['field']} {faults[0]['why']}",
            field=faults[0]["field"],
            hint=_ID_HINT if found["request_id"] else None,
            details={"faults": faults},
        )
