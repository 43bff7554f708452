"""The life of a container: one table, and nothing is possible that is not in it.

    absent    --create-->   creating
    creating  --prepared--> created
    creating  --started-->  running
    creating  --ended-->    stopped
    creating  --failed-->   failed
    creating  --delete-->   deleting
    created   --start-->    starting
    created   --stop-->     created
    created   --delete-->   deleting
    starting  --start-->    starting
    starting  --started-->  running
    starting  --ended-->    stopped
    starting  --failed-->   stopped
    starting  --stop-->     stopping
    starting  --delete-->   deleting
    running   --start-->    running
    running   --ended-->    stopped
    running   --stop-->     stopping
    running   --delete-->   deleting
    stopping  --stop-->     stopping
    stopping  --ended-->    stopped
    stopping  --delete-->   deleting
    stopped   --start-->    starting
    stopped   --stop-->     stopped
    stopped   --delete-->   deleting
    deleting  --delete-->   deleting
    deleting  --removed-->  absent
    failed    --create-->   creating
    failed    --delete-->   deleting

A line from a state to itself is a request that has nothing to do: ignoring is written down,
everything else is refused. `failed` is a create that did not come about: it holds nothing on
the host any more and is kept so that its reason can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from longshore.errors import IllegalTransition
from longshore.model.request import Verb


class State(StrEnum):
    ABSENT = "absent"
    CREATING = "creating"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    FAILED = "failed"


class Desired(StrEnum):
    """What the caller wants in the end; durable, and changed by verbs alone."""

    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class Happening(StrEnum):
    """What came of the work, as `converge` reports it."""

    PREPARED = "prepared"
    STARTED = "started"
    ENDED = "ended"
    FAILED = "failed"
    REMOVED = "removed"


TRANSITIONS: Mapping[tuple[State, Verb | Happening], State] = {
    (State.ABSENT, Verb.CREATE): State.CREATING,
    (State.CREATING, Happening.PREPARED): State.CREATED,
    (State.CREATING, Happening.STARTED): State.RUNNING,
    (State.CREATING, Happening.ENDED): State.STOPPED,
    (State.CREATING, Happening.FAILED): State.FAILED,
    (State.CREATING, Verb.DELETE): State.DELETING,
    (State.CREATED, Verb.START): State.STARTING,
    (State.CREATED, Verb.STOP): State.CREATED,
    (State.CREATED, Verb.DELETE): State.DELETING,
    (State.STARTING, Verb.START): State.STARTING,
    (State.STARTING, Happening.STARTED): State.RUNNING,
    (State.STARTING, Happening.ENDED): State.STOPPED,
    (State.STARTING, Happening.FAILED): State.STOPPED,
    (State.STARTING, Verb.STOP): State.STOPPING,
    (State.STARTING, Verb.DELETE): State.DELETING,
    (State.RUNNING, Verb.START): State.RUNNING,
    (State.RUNNING, Happening.ENDED): State.STOPPED,
    (State.RUNNING, Verb.STOP): State.STOPPING,
    (State.RUNNING, Verb.DELETE): State.DELETING,
    (State.STOPPING, Verb.STOP): State.STOPPING,
    (State.STOPPING, Happening.ENDED): State.STOPPED,
    (State.STOPPING, Verb.DELETE): State.DELETING,
    (State.STOPPED, Verb.START): State.STARTING,
    (State.STOPPED, Verb.STOP): State.STOPPED,
    (State.STOPPED, Verb.DELETE): State.DELETING,
    (State.DELETING, Verb.DELETE): State.DELETING,
    (State.DELETING, Happening.REMOVED): State.ABSENT,
    (State.FAILED, Verb.CREATE): State.CREATING,
    (State.FAILED, Verb.DELETE): State.DELETING,
}

#: What a verb makes the caller want; create's depends on whether it is to start.
WANTS: Mapping[Verb, Desired] = {
    Verb.START: Desired.RUNNING,
    Verb.STOP: Desired.STOPPED,
    Verb.DELETE: Desired.ABSENT,
}

#: Deleting what is in one of these takes `force`: something may be at work in there.
BUSY = frozenset({State.STARTING, State.RUNNING, State.STOPPING})


def after(state: State, event: Verb | Happening, name: str) -> State:
    """The state that follows.

    Raises:
        IllegalTransition: the table has no such line; `name` is the container's, for the message.
    """
    following = TRANSITIONS.get((state, event))
    if following is not None:
        return following
    possible = sorted(
        str(what) for at, what in TRANSITIONS if at is state and isinstance(what, Verb)
    )
    raise IllegalTransition(
        f"cannot {event} container {name}: it is {state}",
        object=name,
        hint=f"possible now: {', '.join(possible)}" if possible else None,
        details={"state": str(state), "verb": str(event)},
    )
