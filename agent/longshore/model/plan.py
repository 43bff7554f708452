"""What is to be done for a container: decided here, from what is wanted and what is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from longshore.model.host import Task, TaskStatus
from longshore.model.record import Record
from longshore.model.request import Verb
from longshore.model.state import WANTS, Desired, State, after
from longshore.model.versions import Remake


class Act(StrEnum):
    LEAVE = "leave"  #: nothing to do, or nothing that can be known now
    CREATE = "create"  #: undo what may be half there, then run all of CREATE
    PREPARE = "prepare"  #: run PREPARE: a container that is not to start
    RUN = "run"  #: undo what may be half there of RUN, then run it
    ADOPT = "adopt"  #: its process runs already: complete the steps around it
    KEEP = (
        "keep"  #: it runs, or is paused, as wanted: see that its network is whole, wait for its end
    )
    PAUSE = "pause"  #: freeze its processes
    THAW = "thaw"  #: let them go on
    ADJUST = "adjust"  #: its limits are others now: have the kernel keep them
    ACCEPT = "accept"  #: its new version is good: note that
    TAKE_BACK = "take back"  #: it is not: the one before takes its place
    REMAKE = "remake"  #: as RUN, and first make anew what its create made, around its layer
    REBUILD = "rebuild"  #: as REMAKE, and with another layer
    BEGIN = "begin"  #: it is to be started again now: note that, and go on with RUN
    END = "end"  #: its process has ended: note how, and undo RUN
    STOP = "stop"  #: signal, wait out the grace, kill, undo RUN
    DELETE = "delete"  #: stop if need be, undo CREATE, forget
    CLEAN = "clean"  #: retry the undos that failed


@dataclass(frozen=True)
class Action:
    act: Act
    reason: str


#: Who wants a container deleted that its spec says is to go once it has ended.
AUTO_REMOVE = "auto-remove"
#: Seconds in which whoever asked for something that failed for a reason that may pass asks again.
ASKED_AGAIN = 600.0

_UNKNOWN = Action(Act.LEAVE, "containerd does not know how its task is; looking again later")
_BY_DELETE = Action(Act.DELETE, "deletion was requested")
_BEGIN = Action(Act.CREATE, "creation was requested and has not been finished")
_BEGIN_AGAIN = Action(Act.CREATE, "creation was interrupted before its process started")
_RESTART = Action(Act.RUN, "start was requested")
_RESTART_AGAIN = Action(Act.RUN, "start was interrupted before its process started")
_ADOPT = Action(Act.ADOPT, "its process runs already")
_ENDED = Action(Act.END, "its process ended")
_GONE = Action(Act.END, "its process is gone, and nobody saw how it ended")
_KEEP = Action(Act.KEEP, "it runs as wanted")
_STAY = Action(Act.KEEP, "it is paused as wanted")
_PAUSE = Action(Act.PAUSE, "pause was requested")
_PAUSE_AGAIN = Action(Act.PAUSE, "it is to be paused, and runs")
_THAW = Action(Act.THAW, "unpause was requested")
_STOP_FIRST = Action(Act.STOP, "restart was requested")
_BEGIN_ANEW = Action(Act.BEGIN, "it is to be started again")
_ADJUST = Action(Act.ADJUST, "it runs with its new limits")
_REMADE: Mapping[Remake, Action] = {
    Remake.PREPARE: Action(Act.REMAKE, "it is made anew around its layer, and started"),
    Remake.LAYER: Action(Act.REBUILD, "it is made anew, and started"),
}
_WAIT = Action(Act.LEAVE, "it is started again in a while")

#: What to do in a state in which its process matters, by how containerd says that it is.
_BY_TASK: Mapping[tuple[Desired, State], Mapping[TaskStatus, Action]] = {
    (Desired.RUNNING, State.CREATING): {
        TaskStatus.ABSENT: _BEGIN,
        TaskStatus.CREATED: _BEGIN_AGAIN,
        TaskStatus.RUNNING: _ADOPT,
        TaskStatus.PAUSED: _ADOPT,
        # It ran and ended while nobody looked. Running it a second time would be worse than
        # reporting its end.
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
    (Desired.RUNNING, State.STARTING): {
        TaskStatus.ABSENT: _RESTART,
        TaskStatus.CREATED: _RESTART_AGAIN,
        TaskStatus.RUNNING: _ADOPT,
        TaskStatus.PAUSED: _ADOPT,
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
    (Desired.RUNNING, State.RUNNING): {
        TaskStatus.ABSENT: _GONE,
        TaskStatus.CREATED: _GONE,
        TaskStatus.RUNNING: _KEEP,
        # By somebody else, who has his reasons; or by us, and then the record says so.
        TaskStatus.PAUSED: _KEEP,
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
    (Desired.PAUSED, State.RUNNING): {
        TaskStatus.ABSENT: _GONE,
        TaskStatus.CREATED: _GONE,
        TaskStatus.RUNNING: _PAUSE,
        TaskStatus.PAUSED: _PAUSE,
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
    (Desired.PAUSED, State.PAUSED): {
        TaskStatus.ABSENT: _GONE,
        TaskStatus.CREATED: _GONE,
        TaskStatus.RUNNING: _PAUSE_AGAIN,
        TaskStatus.PAUSED: _STAY,
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
    (Desired.RUNNING, State.PAUSED): {
        TaskStatus.ABSENT: _GONE,
        TaskStatus.CREATED: _GONE,
        TaskStatus.RUNNING: _THAW,
        TaskStatus.PAUSED: _THAW,
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
    (Desired.RUNNING, State.RESTARTING): {
        TaskStatus.ABSENT: _BEGIN_ANEW,
        TaskStatus.CREATED: _STOP_FIRST,
        TaskStatus.RUNNING: _STOP_FIRST,
        TaskStatus.PAUSED: _STOP_FIRST,
        TaskStatus.STOPPED: _ENDED,
        TaskStatus.UNKNOWN: _UNKNOWN,
    },
}
#: What to do whatever its process does. Every pair that verbs can produce is here or above.
_BY_STATE: Mapping[tuple[Desired, State], Action] = {
    (Desired.STOPPED, State.CREATING): Action(Act.PREPARE, "creation without start was requested"),
    (Desired.STOPPED, State.CREATED): Action(Act.LEAVE, "created, and not started yet"),
    (Desired.STOPPED, State.STOPPING): Action(Act.STOP, "stop was requested"),
    (Desired.STOPPED, State.STOPPED): Action(Act.LEAVE, "stopped, as wanted"),
    (Desired.RUNNING, State.STOPPED): Action(
        Act.LEAVE, "ended by itself, and no policy restarts it"
    ),
    (Desired.RUNNING, State.ERROR): Action(Act.LEAVE, "it could not be started"),
    (Desired.RUNNING, State.FAILED): Action(Act.LEAVE, "its creation failed"),
    (Desired.STOPPED, State.FAILED): Action(Act.LEAVE, "its creation failed"),
}


def plan(record: Record, task: Task, *, due: bool = True, judged: Action | None = None) -> Action:
    """The one decision of `converge`.

    Args:
        due: whether one that is started again after a pause may be started now.
        judged: what is to be done for its new version, if it runs and that is known by now.
    """
    if record.desired is Desired.ABSENT:
        return _BY_DELETE
    at = (record.desired, record.state)
    by_task = _BY_TASK.get(at)
    action = by_task[task.status] if by_task else _BY_STATE[at]
    if action.act is Act.BEGIN:
        if record.facts.pid is not None:
            return _GONE
        action = action if due else _WAIT
    if action.act is Act.KEEP and judged is not None:
        return judged
    trial = record.trial
    if action.act is Act.KEEP and trial and trial.live is not None and trial.until is None:
        return _ADJUST
    if action.act is Act.RUN:
        return _REMADE.get(record.remake, action)
    if action.act is Act.LEAVE and record.leftovers:
        return Action(Act.CLEAN, f"left over: {'; '.join(record.leftovers)}")
    return action


def is_given_up(record: Record, now: float) -> bool:
    """Whether one that is to go once it has ended could not be started for a reason that may pass,
    and whoever asked has not come again: the tick has to look at it."""
    return _is_to_go(record) and now - record.desired_at > ASKED_AGAIN


def once_ended(record: Record, now: float) -> Record:
    """What is wanted of a container whose process has ended: with auto_remove its deletion.

    Also when it could not be started, as long as it had been made: then it holds something.
    """
    if not _is_to_go(record):
        return record
    return record.but(
        state=after(record.state, Verb.DELETE, record.name),
        reason="it has ended, and is to be removed then",
        desired=WANTS[Verb.DELETE],
        desired_by=AUTO_REMOVE,
        desired_at=now,
        grace=0.0,
    )


def _is_to_go(record: Record) -> bool:
    return record.spec.auto_remove and record.state in (State.STOPPED, State.ERROR)
