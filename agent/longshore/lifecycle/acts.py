"""How each act of the plan is carried out on the host, and what came of it.

An act changes the host alone; `converge` writes what it returns to the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.errors import HostBusy, LongshoreError, Superseded
from longshore.lifecycle import memory
from longshore.lifecycle.create import AROUND, CREATE, LAYER, PREPARE, RUN
from longshore.lifecycle.pipeline import NO_FAILURE, Context, Postponed, Step, attempt, run, unwind
from longshore.lifecycle.ports import Host
from longshore.lifecycle.steps import limits, network
from longshore.model import probing
from longshore.model.ending import begun
from longshore.model.host import Image, Task, TaskStatus
from longshore.model.linux import signal_number
from longshore.model.plan import Act, Action
from longshore.model.record import Record
from longshore.model.state import Happening, State
from longshore.model.versions import Remake

_ALIVE = frozenset({TaskStatus.RUNNING, TaskStatus.PAUSED})


@dataclass(frozen=True)
class Result:
    """What an act did. `changes` are fields of the record; no `happening`: the state stays.

    `given_up`: what was wanted cannot be, and is not to be tried again.
    """

    reason: str
    happening: Happening | None = None
    error: LongshoreError | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    given_up: bool = False


@dataclass(frozen=True)
class Scene:
    """What acts work with, for one container."""

    host: Host
    now: Callable[[], float]
    timer: Callable[[], float]
    #: Asks to be told (by the bell) when the container's process ends.
    watch_exit: Callable[[], None]
    #: Waits up to that many seconds for the bell; returns at once when it rang already.
    wait: Callable[[float], None]
    #: Whether the caller meanwhile wants something else, or less patience.
    superseded: Callable[[], bool]
    #: Has fields of the record written down at once: what says so is about to be removed.
    note: Callable[[Mapping[str, Any]], None]
    pull: Callable[[], Image]
    note_image: Callable[[Image], None]
    #: Whether it is known that nothing of the container is on the host.
    clean: bool = False


def _leave(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    return Result(action.reason, changes={"error": record.error})


def _keep(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    scene.watch_exit()
    if record.paused and record.state is State.RUNNING:
        scene.host.tasks.resume(record.names)
    network.STEP.do(Context(scene.host, record))
    changes: dict[str, Any] = {"paused": False}
    now, mended = limits.keep(scene.host, record)
    if mended is not None:
        facts = record.facts.model_copy(update={"limits": now})
        how = "it runs" if record.state is State.RUNNING else "it is paused"
        changes |= {"facts": facts, "reason": f"{how}; {mended}"}
    return Result(action.reason, changes=changes)


def _adjust(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    scene.watch_exit()
    trial = record.trial
    assert trial is not None
    assert trial.live is not None
    try:
        now = limits.adjust(scene.host, record)
    except LongshoreError as error:
        if not error.retry:
            # As far as that goes: what is not as it was is found by the next look at it.
            former = record.but(spec=record.spec.model_copy(update={"limits": trial.live}))
            attempt("set the former limits again", limits.adjust, scene.host, former)
        raise
    if now is None:
        # It has just ended, and somebody waits for that.
        return Result(record.reason, error=_ended_meanwhile(record))
    facts = record.facts.model_copy(update={"limits": now})
    how = "it runs" if record.state is State.RUNNING else f"it is {record.state}"
    return Result(f"{how} with version {record.version}", changes={"facts": facts})


def _ended_meanwhile(record: Record) -> HostBusy:
    return HostBusy(
        f"cannot limit container {record.name} as asked: it is ending", object=record.name
    )


def _pause(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    scene.watch_exit()
    # Before it is so: who wants something else meanwhile has to know that it was us.
    scene.note({"paused": True})
    error = attempt("pause", scene.host.tasks.pause, record.names)
    if error is not None:
        # Some may be frozen already; `paused` has them let go on, should this fail.
        if not error.retry:
            attempt("resume", scene.host.tasks.resume, record.names)
        return Result(record.reason, error=error, given_up=not error.retry)
    frozen = Happening.FROZEN if record.state is State.RUNNING else None
    return Result("it was paused, as wanted", frozen, changes={"paused": False})


def _thaw(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    scene.watch_exit()
    scene.host.tasks.resume(record.names)
    thawed = Happening.THAWED if record.state is State.PAUSED else None
    return Result("it runs again, as wanted", thawed, changes={"paused": False})


def _begin(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    now = begun(record)
    changes = {"restarts": now.restarts, "restart_at": now.restart_at}
    return Result("it is started again", Happening.DUE, changes=changes)


@dataclass(frozen=True)
class _Making:
    """`first`: what of it may be half there and is undone before. `renewed`: what is undone even
    where it is whole."""

    steps: Sequence[Step]
    happening: Happening
    first: Sequence[Step] = ()
    renewed: Sequence[Step] = ()
    adopting: bool = False


_MAKINGS = {
    Act.CREATE: _Making(CREATE, Happening.STARTED, CREATE),
    Act.PREPARE: _Making(PREPARE, Happening.PREPARED, PREPARE),
    Act.RUN: _Making(RUN, Happening.STARTED, RUN),
    Act.REMAKE: _Making(AROUND + RUN, Happening.STARTED, RUN),
    Act.REBUILD: _Making(AROUND + RUN, Happening.STARTED, RUN, renewed=LAYER),
    Act.ADOPT: _Making(RUN, Happening.STARTED, adopting=True),
}


def _make(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    making = _MAKINGS[action.act]
    first = (*making.renewed, *(() if scene.clean else making.first))
    if leftovers := unwind(first, scene.host, record.names):
        raise _not_removed(record, leftovers, "make")
    context = Context(
        scene.host,
        record,
        adopting=making.adopting,
        watch_exit=scene.watch_exit,
        superseded=scene.superseded,
        pull=scene.pull,
        note_image=scene.note_image,
        timer=scene.timer,
    )
    error = run(making.steps, context)
    if error is not None:
        return _unmake(scene, context, making, error)
    # Its first instruction came with the last step, which began so long ago.
    began = scene.now() - context.steps[-1][1]
    started = {
        "started_at": began,
        "finished_at": None,
        "exit_code": None,
        "health": probing.anew(context.record, began),
        "remake": Remake.NOTHING,
    }
    return Result(
        "it runs" if making.happening is Happening.STARTED else "it is prepared",
        making.happening,
        changes={
            "facts": context.record.facts,
            "steps": tuple(context.steps),
            "leftovers": (),
            **(started if making.happening is Happening.STARTED else {}),
        },
    )


def _unmake(scene: Scene, context: Context, making: _Making, error: LongshoreError) -> Result:
    """A failed create gives everything back, a failed start what lasts from start to end."""
    record = context.record
    if making.adopting:
        # What runs is never taken down because something around it could not be completed.
        return Result(f"its process runs; {error}", error=error)
    if isinstance(error, Postponed):
        # Whoever postpones has made nothing, nor did anyone before it.
        return Result(str(error), changes={"reason": str(error), "leftovers": ()})
    back = CREATE if record.state is State.CREATING else RUN
    leftovers = unwind(back, scene.host, record.names)
    for one in leftovers:
        error.add_note(f"left over: {one}")
    if isinstance(error, NO_FAILURE):
        # It keeps what it claimed: who overtook it, or the agent's next life, goes on from here.
        done = {"steps": tuple(context.steps), "leftovers": leftovers}
        return Result(str(error), error=error, changes=done)
    given_back = {"nics": (), "ports": (), "ids": None} if back is CREATE else {}
    changes: dict[str, Any] = {
        "facts": record.facts.model_copy(update={"pid": None, "limits": None, **given_back}),
        "steps": tuple(context.steps),
        "leftovers": leftovers,
    }
    return Result(str(error), Happening.FAILED, error, changes)


def _end(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    return _ended(scene, record, task, action.reason)


def _stop(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    last = _terminate(scene, record, task)
    if last is None:
        return _overtaken(record)
    what = "to be started again" if record.state is State.RESTARTING else "as wanted"
    return _ended(scene, record, last, f"it was stopped, {what}")


def _ended(scene: Scene, record: Record, task: Task, reason: str) -> Result:
    """`task` as last seen: its end is written down before it is removed with all that says so."""
    found: dict[str, Any] = {"out_of_memory": memory.at_end(scene.host, record, scene.now())}
    if task.status is TaskStatus.STOPPED:
        found |= {"exit_code": task.exit_code, "finished_at": task.exited_at}
    if any(getattr(record, name) != value for name, value in found.items()):
        scene.note(found)
        record = record.but(**found)
    end = scene.host.tasks.delete(record.names)
    code = record.exit_code if record.finished_at else end.code if end else None
    leftovers = unwind(RUN, scene.host, record.names)
    changes: dict[str, Any] = {
        "facts": record.facts.model_copy(update={"pid": None}),
        "leftovers": leftovers,
        "paused": False,
        "finished_at": record.finished_at or (end.at if end else scene.now()),
        "exit_code": code,
    }
    if record.state is State.STARTING:
        # It would have no process, had not all been made before.
        changes["remake"] = Remake.NOTHING
    return Result(_how(record, code, reason), Happening.ENDED, changes=changes)


def _how(record: Record, code: int | None, reason: str) -> str:
    told = reason if code is None else f"{reason}, with exit code {code}"
    return told + memory.words(memory.this_run(record)) + probing.words(record)


def _delete(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    if _terminate(scene, record, task) is None:
        return _overtaken(record)
    leftovers = unwind(CREATE, scene.host, record.names)
    if leftovers:
        error = _not_removed(record, leftovers, "delete")
        return Result(str(error), error=error, changes={"leftovers": leftovers})
    return Result("it was deleted, as wanted", Happening.REMOVED)


def _clean(scene: Scene, record: Record, task: Task, action: Action) -> Result:
    leftovers = unwind(CREATE if record.state is State.FAILED else RUN, scene.host, record.names)
    changes: dict[str, Any] = {"error": record.error, "leftovers": leftovers}
    if leftovers:
        return Result(
            record.reason, error=_not_removed(record, leftovers, "clean"), changes=changes
        )
    return Result(record.reason, changes=changes)


def _terminate(scene: Scene, record: Record, task: Task) -> Task | None:
    """Signals the first process and waits out the grace; what is then left the undo kills.

    Returns the task as last seen, or None when a newer request came meanwhile: it may want less
    grace, or none.
    """
    grace = record.spec.stop_grace if record.grace is None else record.grace
    if grace <= 0 or task.status not in _ALIVE:
        return task
    until = scene.timer() + grace
    scene.watch_exit()
    if record.paused or task.status is TaskStatus.PAUSED:
        # Frozen it could not act on the signal.
        scene.host.tasks.resume(record.names)
    scene.host.tasks.kill(record.names, _stop_signal(record))
    while (left := until - scene.timer()) > 0:
        scene.wait(left)
        if scene.superseded():
            return None
        # The bell may also ring because waiting broke off; only containerd knows.
        task = scene.host.tasks.get(record.names)
        if task.status not in _ALIVE:
            break
        scene.watch_exit()
    return task


def _overtaken(record: Record) -> Result:
    error = Superseded(
        f"cannot finish the {record.state} of container {record.name}: "
        "a newer request overtook this one",
        object=record.name,
    )
    return Result(record.reason, error=error)


def _stop_signal(record: Record) -> int:
    image = record.facts.image
    name = record.spec.stop_signal or (image.config.stop_signal if image else "") or "SIGTERM"
    return signal_number(name)


def _not_removed(record: Record, leftovers: Sequence[str], verb: str) -> HostBusy:
    return HostBusy(
        f"cannot {verb} container {record.name} yet: could not remove {'; '.join(leftovers)}",
        object=record.name,
        hint="the agent goes on trying",
        details={"leftovers": list(leftovers)},
    )


ACTS: Mapping[Act, Callable[[Scene, Record, Task, Action], Result]] = {
    Act.LEAVE: _leave,
    Act.CREATE: _make,
    Act.PREPARE: _make,
    Act.RUN: _make,
    Act.ADOPT: _make,
    Act.REMAKE: _make,
    Act.REBUILD: _make,
    Act.KEEP: _keep,
    Act.ADJUST: _adjust,
    Act.ACCEPT: _leave,
    Act.TAKE_BACK: _leave,
    Act.PAUSE: _pause,
    Act.THAW: _thaw,
    Act.BEGIN: _begin,
    Act.END: _end,
    Act.STOP: _stop,
    Act.DELETE: _delete,
    Act.CLEAN: _clean,
}
