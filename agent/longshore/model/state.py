"""The life of a container: one table, and nothing is possible that is not in it.

    absent     --create-->   creating
    creating   --prepared--> created
    creating   --started-->  running
    creating   --ended-->    stopped
    creating   --failed-->   failed
    creating   --delete-->   deleting
    created    --start-->    starting
    created    --restart-->  starting
    created    --stop-->     created
    created    --rename-->   created
    created    --update-->   created
    created    --rollback--> created
    created    --rebuild-->  created
    created    --delete-->   deleting
    starting   --start-->    starting
    starting   --restart-->  starting
    starting   --started-->  running
    starting   --ended-->    stopped
    starting   --failed-->   error
    starting   --stop-->     stopping
    starting   --rename-->   starting
    starting   --delete-->   deleting
    running    --start-->    running
    running    --restart-->  restarting
    running    --kill-->     running
    running    --pause-->    running
    running    --unpause-->  running
    running    --frozen-->   paused
    running    --ended-->    stopped
    running    --stop-->     stopping
    running    --rename-->   running
    running    --update-->   running
    running    --rollback--> running
    running    --rebuild-->  running
    running    --delete-->   deleting
    paused     --pause-->    paused
    paused     --unpause-->  paused
    paused     --thawed-->   running
    paused     --restart-->  restarting
    paused     --kill-->     paused
    paused     --ended-->    stopped
    paused     --stop-->     stopping
    paused     --rename-->   paused
    paused     --update-->   paused
    paused     --rollback--> paused
    paused     --rebuild-->  paused
    paused     --delete-->   deleting
    restarting --start-->    starting
    restarting --restart-->  restarting
    restarting --due-->      starting
    restarting --ended-->    restarting
    restarting --stop-->     stopping
    restarting --rename-->   restarting
    restarting --update-->   restarting
    restarting --rollback--> restarting
    restarting --rebuild-->  restarting
    restarting --delete-->   deleting
    stopping   --stop-->     stopping
    stopping   --kill-->     stopping
    stopping   --ended-->    stopped
    stopping   --rename-->   stopping
    stopping   --delete-->   deleting
    stopped    --start-->    starting
    stopped    --restart-->  starting
    stopped    --again-->    restarting
    stopped    --stop-->     stopped
    stopped    --rename-->   stopped
    stopped    --update-->   stopped
    stopped    --rollback--> stopped
    stopped    --rebuild-->  stopped
    stopped    --delete-->   deleting
    error      --start-->    starting
    error      --restart-->  starting
    error      --again-->    restarting
    error      --stop-->     stopped
    error      --rename-->   error
    error      --update-->   error
    error      --rollback--> error
    error      --rebuild-->  error
    error      --delete-->   deleting
    deleting   --delete-->   deleting
    deleting   --removed-->  absent
    failed     --create-->   creating
    failed     --delete-->   deleting

A line from a state to itself is a request that has nothing to do, or that is carried out without
a state of its own: ignoring is written down, everything else is refused. An update, a rollback and
a rebuild change what the next start makes; one that is to be seen at once is a restart as well.

`restarting`: its process has ended, or is to end, and it will be started again by itself, at once
or after a pause. `error`: it was made, and could not be started; the reason says why. `failed` is
a create that did not come about: it holds nothing on the host any more and is kept so that its
reason can be read.
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
    PAUSED = "paused"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"
    DELETING = "deleting"
    FAILED = "failed"


class Desired(StrEnum):
    """What the caller wants in the end; durable, and changed by verbs alone."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ABSENT = "absent"


class Happening(StrEnum):
    """What came of the work, as `converge` reports it."""

    PREPARED = "prepared"
    STARTED = "started"
    ENDED = "ended"
    FAILED = "failed"
    FROZEN = "frozen"
    THAWED = "thawed"
    AGAIN = "again"  #: a policy wants it started again, now or later
    DUE = "due"  #: later has come
    REMOVED = "removed"


TRANSITIONS: Mapping[tuple[State, Verb | Happening], State] = {
    (State.ABSENT, Verb.CREATE): State.CREATING,
    (State.CREATING, Happening.PREPARED): State.CREATED,
    (State.CREATING, Happening.STARTED): State.RUNNING,
    (State.CREATING, Happening.ENDED): State.STOPPED,
    (State.CREATING, Happening.FAILED): State.FAILED,
    (State.CREATING, Verb.DELETE): State.DELETING,
    (State.CREATED, Verb.START): State.STARTING,
    (State.CREATED, Verb.RESTART): State.STARTING,
    (State.CREATED, Verb.STOP): State.CREATED,
    (State.CREATED, Verb.RENAME): State.CREATED,
    (State.CREATED, Verb.UPDATE): State.CREATED,
    (State.CREATED, Verb.ROLLBACK): State.CREATED,
    (State.CREATED, Verb.REBUILD): State.CREATED,
    (State.CREATED, Verb.DELETE): State.DELETING,
    (State.STARTING, Verb.START): State.STARTING,
    (State.STARTING, Verb.RESTART): State.STARTING,
    (State.STARTING, Happening.STARTED): State.RUNNING,
    (State.STARTING, Happening.ENDED): State.STOPPED,
    (State.STARTING, Happening.FAILED): State.ERROR,
    (State.STARTING, Verb.STOP): State.STOPPING,
    (State.STARTING, Verb.RENAME): State.STARTING,
    (State.STARTING, Verb.DELETE): State.DELETING,
    (State.RUNNING, Verb.START): State.RUNNING,
    (State.RUNNING, Verb.RESTART): State.RESTARTING,
    (State.RUNNING, Verb.KILL): State.RUNNING,
    (State.RUNNING, Verb.PAUSE): State.RUNNING,
    (State.RUNNING, Verb.UNPAUSE): State.RUNNING,
    (State.RUNNING, Happening.FROZEN): State.PAUSED,
    (State.RUNNING, Happening.ENDED): State.STOPPED,
    (State.RUNNING, Verb.STOP): State.STOPPING,
    (State.RUNNING, Verb.RENAME): State.RUNNING,
    (State.RUNNING, Verb.UPDATE): State.RUNNING,
    (State.RUNNING, Verb.ROLLBACK): State.RUNNING,
    (State.RUNNING, Verb.REBUILD): State.RUNNING,
    (State.RUNNING, Verb.DELETE): State.DELETING,
    (State.PAUSED, Verb.PAUSE): State.PAUSED,
    (State.PAUSED, Verb.UNPAUSE): State.PAUSED,
    (State.PAUSED, Happening.THAWED): State.RUNNING,
    (State.PAUSED, Verb.RESTART): State.RESTARTING,
    (State.PAUSED, Verb.KILL): State.PAUSED,
    (State.PAUSED, Happening.ENDED): State.STOPPED,
    (State.PAUSED, Verb.STOP): State.STOPPING,
    (State.PAUSED, Verb.RENAME): State.PAUSED,
    (State.PAUSED, Verb.UPDATE): State.PAUSED,
    (State.PAUSED, Verb.ROLLBACK): State.PAUSED,
    (State.PAUSED, Verb.REBUILD): State.PAUSED,
    (State.PAUSED, Verb.DELETE): State.DELETING,
    (State.RESTARTING, Verb.START): State.STARTING,
    (State.RESTARTING, Verb.RESTART): State.RESTARTING,
    (State.RESTARTING, Happening.DUE): State.STARTING,
    (State.RESTARTING, Happening.ENDED): State.RESTARTING,
    (State.RESTARTING, Verb.STOP): State.STOPPING,
    (State.RESTARTING, Verb.RENAME): State.RESTARTING,
    (State.RESTARTING, Verb.UPDATE): State.RESTARTING,
    (State.RESTARTING, Verb.ROLLBACK): State.RESTARTING,
    (State.RESTARTING, Verb.REBUILD): State.RESTARTING,
    (State.RESTARTING, Verb.DELETE): State.DELETING,
    (State.STOPPING, Verb.STOP): State.STOPPING,
    (State.STOPPING, Verb.KILL): State.STOPPING,
    (State.STOPPING, Happening.ENDED): State.STOPPED,
    (State.STOPPING, Verb.RENAME): State.STOPPING,
    (State.STOPPING, Verb.DELETE): State.DELETING,
    (State.STOPPED, Verb.START): State.STARTING,
    (State.STOPPED, Verb.RESTART): State.STARTING,
    (State.STOPPED, Happening.AGAIN): State.RESTARTING,
    (State.STOPPED, Verb.STOP): State.STOPPED,
    (State.STOPPED, Verb.RENAME): State.STOPPED,
    (State.STOPPED, Verb.UPDATE): State.STOPPED,
    (State.STOPPED, Verb.ROLLBACK): State.STOPPED,
    (State.STOPPED, Verb.REBUILD): State.STOPPED,
    (State.STOPPED, Verb.DELETE): State.DELETING,
    (State.ERROR, Verb.START): State.STARTING,
    (State.ERROR, Verb.RESTART): State.STARTING,
    (State.ERROR, Happening.AGAIN): State.RESTARTING,
    (State.ERROR, Verb.STOP): State.STOPPED,
    (State.ERROR, Verb.RENAME): State.ERROR,
    (State.ERROR, Verb.UPDATE): State.ERROR,
    (State.ERROR, Verb.ROLLBACK): State.ERROR,
    (State.ERROR, Verb.REBUILD): State.ERROR,
    (State.ERROR, Verb.DELETE): State.DELETING,
    (State.DELETING, Verb.DELETE): State.DELETING,
    (State.DELETING, Happening.REMOVED): State.ABSENT,
    (State.FAILED, Verb.CREATE): State.CREATING,
    (State.FAILED, Verb.DELETE): State.DELETING,
}

#: What a verb makes the caller want; create's depends on whether it is to start, kill's on the
#: signal, and a rename or another version wants nothing else than before.
WANTS: Mapping[Verb, Desired] = {
    Verb.START: Desired.RUNNING,
    Verb.RESTART: Desired.RUNNING,
    Verb.PAUSE: Desired.PAUSED,
    Verb.UNPAUSE: Desired.RUNNING,
    Verb.STOP: Desired.STOPPED,
    Verb.DELETE: Desired.ABSENT,
}

#: Deleting what is in one of these takes `force`: something may be at work in there.
BUSY = frozenset({State.STARTING, State.RUNNING, State.PAUSED, State.RESTARTING, State.STOPPING})


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
