"""The story of a container: what one write of its record tells, and what comes next.

Pure: the present time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from longshore.model.record import Record
from longshore.model.sizes import size
from longshore.model.state import Desired, State
from longshore.model.status import (
    ContainerStatus,
    ErrorStatus,
    HealthStatus,
    OutOfMemory,
    StoryEntry,
)

_HOUR = 3600.0


@dataclass(frozen=True)
class Told:
    """A container's story, oldest first.

    Args:
        last: its record; how it was when it went at `at`, if it is gone.
    """

    last: Record | ContainerStatus
    entries: tuple[StoryEntry, ...]
    at: float = 0.0


def happened(
    before: Record | None, after: Record, at: float, asked: str = ""
) -> tuple[StoryEntry, ...]:
    """What a record that takes another's place tells; nothing if nobody needs to know.

    Args:
        before: None: there was none.
        at: Unix seconds.
        asked: the verb that it was written for, by whom; empty: nobody asked for it now.
    """
    told = [
        StoryEntry(at=at, what=what) for look in _ASIDES if before for what in look(before, after)
    ]
    main = _main(before, after, at, asked)
    return tuple(told if main is None else [*told, main])


def _main(before: Record | None, after: Record, at: float, asked: str) -> StoryEntry | None:
    """What was asked, or came of it: one entry, however many of both there are."""
    state = before.state if before else State.ABSENT
    moved = f"{state} → {after.state}" if after.state is not state else ""
    changed = before is None or before.reason != after.reason
    failed = after.error if after.error != (before.error if before else None) else None
    error = ErrorStatus.model_validate(failed) if failed else None
    if asked:
        return StoryEntry(at=at, what=f"{asked}: {moved}" if moved else asked, error=error)
    if moved:
        took = None
        if before is not None and after.steps != before.steps:
            took = sum(seconds for _, seconds in after.steps)
        return StoryEntry(at=at, what=f"{moved}: {after.reason}", seconds=took, error=error)
    if error is not None:
        return StoryEntry(at=at, what=error.message or error.code, error=error)
    return StoryEntry(at=at, what=after.reason) if changed else None


def _killed(before: Record, after: Record) -> Iterator[str]:
    last = after.out_of_memory
    if last is not None and last.at != (before.out_of_memory.at if before.out_of_memory else None):
        yield f"the kernel killed a process of it to free memory{_memory(last)}"


def _memory(last: OutOfMemory) -> str:
    peak = f"at most {size(last.peak)}" if last.peak is not None else ""
    limit = f"of {size(last.limit)}" if last.limit is not None else ""
    found = " ".join(part for part in (peak, limit) if part)
    return f" ({found})" if found else ""


def _checked(before: Record, after: Record) -> Iterator[str]:
    now, then = after.health, before.health
    if now is None or now.state == (then.state if then else None):
        return
    said = f": {now.output}" if now.output and now.state == "unhealthy" else ""
    yield f"health: {f'{then.state} → ' if then else ''}{now.state}{said}"


def _renamed(before: Record, after: Record) -> Iterator[str]:
    if after.name != before.name:
        yield f"renamed from {before.name} to {after.name}"


def _left(before: Record, after: Record) -> Iterator[str]:
    new = [one for one in after.leftovers if one not in before.leftovers]
    if new:
        yield f"left over, and tried again: {'; '.join(new)}"
    elif before.leftovers and not after.leftovers:
        yield "what was left over is removed"


def _versioned(before: Record, after: Record) -> Iterator[str]:
    if after.version != before.version:
        yield f"version {before.version} → {after.version}"


#: What may happen beside a change of state, or without one.
_ASIDES: tuple[Callable[[Record, Record], Iterator[str]], ...] = (
    _killed,
    _checked,
    _renamed,
    _versioned,
    _left,
)


@dataclass(frozen=True)
class Outlook:
    """What decides the future beside the record. Times are Unix seconds.

    Args:
        tick: when everything is looked at again; None: not known.
        retention: seconds that a failed create, and the story of one that is gone, are kept.
    """

    now: float
    tick: float | None
    retention: float


@dataclass(frozen=True)
class Coming:
    """`at`: None: once somebody asks for it, or something happens to it."""

    words: str
    at: float | None = None


def coming(record: Record, outlook: Outlook) -> Coming:
    """What happens to it next, and when."""
    if record.leftovers and record.state not in _UNDER_WAY:
        return Coming(f"removing what is left over is tried again: {'; '.join(record.leftovers)}",
                      outlook.tick)  # fmt: skip
    return _COMING[record.state](record, outlook)


def gone(at: float, outlook: Outlook) -> Coming:
    """Of one that is no more, since `at`."""
    return Coming("nothing: it is gone; its story is forgotten then", at + outlook.retention)


def _creating(record: Record, outlook: Outlook) -> Coming:
    goal = "started" if record.desired is Desired.RUNNING else "left for a start"
    if record.facts.image is None:
        return Coming(f"its image {record.spec.image} comes, then it is made and {goal}")
    return Coming(f"it is made and {goal}") if record.error is None else _again(outlook)


def _again(outlook: Outlook) -> Coming:
    return Coming("what failed is tried again", outlook.tick)


def _starting(record: Record, outlook: Outlook) -> Coming:
    return Coming("it is started") if record.error is None else _again(outlook)


def _restarting(record: Record, outlook: Outlook) -> Coming:
    count = f" (restart {record.restarts + 1} since the last request)" if record.restarts else ""
    if record.restart_at is None:
        return Coming(f"its process ends, if it has not yet, and it is started again{count}")
    return Coming(f"it is started again{count}", max(record.restart_at, outlook.now))


def _running(record: Record, outlook: Outlook) -> Coming:
    trial = record.trial
    if trial is not None and trial.until is not None:
        good = "runs" if record.health is None else "is healthy"
        return Coming(
            f"version {record.version} is in use for good if it {good} until then, else version "
            f"{trial.previous.number} comes back",
            trial.until,
        )
    check, found = record.spec.health, record.health
    if check and found and found.state == "unhealthy" and check.on_unhealthy != "none":
        return _unhealthy(check.on_unhealthy, check.budget, found, outlook)
    return Coming(f"nothing while its process runs; once it has ended, {_after_end(record)}")


def _unhealthy(act: str, budget: int, found: HealthStatus, outlook: Outlook) -> Coming:
    acted = [at for at in found.acted if at > outlook.now - _HOUR]
    if len(acted) < budget:
        return Coming(f"it is unhealthy: {act}, as on_unhealthy says ({len(acted)} of {budget} "
                      "times in this hour so far)")  # fmt: skip
    return Coming(
        f"it is unhealthy and stays as it is: on_unhealthy has acted {budget} times in this hour",
        min(acted) + _HOUR,
    )


def _after_end(record: Record) -> str:
    policy, retries = record.spec.restart.policy, record.spec.restart.retries
    if record.pending is not None:
        return f"its next start is with version {record.pending.number}"
    if record.spec.auto_remove and policy == "no":
        return "it is removed"
    if policy == "no":
        return "it stays stopped"
    if policy == "on-failure":
        most = f", {retries} times in a row at most" if retries is not None else ""
        return f"it is started again unless its exit code is 0{most}"
    return f"it is started again (restart policy {policy})"


def _paused(record: Record, outlook: Outlook) -> Coming:
    return Coming("nothing until somebody lets it go on, or stops it")


def _stopping(record: Record, outlook: Outlook) -> Coming:
    grace = record.spec.stop_grace if record.grace is None else record.grace
    last = record.desired_at + grace
    if grace <= 0 or last < outlook.now:
        return Coming("its process is killed, and it is stopped")
    return Coming("its process is killed, unless it has ended by then", last)


def _stopped(record: Record, outlook: Outlook) -> Coming:
    if record.spec.auto_remove:
        return Coming("it is removed", outlook.tick)
    if record.desired is Desired.STOPPED and record.spec.restart.policy != "no":
        return Coming("nothing until somebody starts it: what was stopped by request stays so")
    return _asked(record, outlook)


def _asked(record: Record, outlook: Outlook) -> Coming:
    return Coming("nothing until somebody starts or deletes it")


def _deleting(record: Record, outlook: Outlook) -> Coming:
    if record.error is None:
        return Coming("it is removed, with all that was made for it")
    return Coming("its removal is tried again", outlook.tick)


def _failed(record: Record, outlook: Outlook) -> Coming:
    return Coming(
        "it is forgotten then, unless somebody creates or deletes it before",
        record.desired_at + outlook.retention,
    )


def _absent(record: Record, outlook: Outlook) -> Coming:
    return gone(outlook.now, outlook)


#: In these the work that is under way, or comes again, sees to what is left over too.
_UNDER_WAY = frozenset({State.CREATING, State.STARTING, State.STOPPING, State.DELETING})
_COMING: Mapping[State, Callable[[Record, Outlook], Coming]] = {
    State.ABSENT: _absent,
    State.CREATING: _creating,
    State.CREATED: _asked,
    State.STARTING: _starting,
    State.RUNNING: _running,
    State.PAUSED: _paused,
    State.RESTARTING: _restarting,
    State.STOPPING: _stopping,
    State.STOPPED: _stopped,
    State.ERROR: _asked,
    State.DELETING: _deleting,
    State.FAILED: _failed,
}
