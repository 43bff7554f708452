"""What becomes of a new version of a container: taken up, taken for good, or taken back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from longshore.errors import LongshoreError, UpdateTakenBack
from longshore.model.health import HealthCheck
from longshore.model.probing import HEALTHY, UNHEALTHY, check_for
from longshore.model.record import Record
from longshore.model.request import Verb
from longshore.model.state import Desired, Happening, State, after
from longshore.model.status import HealthStatus
from longshore.model.versions import Held, Remake, Trial, Version, most

#: Seconds that the process of a version that is no good has to end itself.
_GRACE = 1.0
#: Policies under which a process that has ended well has done what it was to do.
_MAY_END = frozenset({"no", "on-failure"})
_OVER = frozenset({State.STOPPED, State.ERROR})
_LIVES = frozenset({State.RUNNING, State.PAUSED})


class Fate(StrEnum):
    ACCEPT = "accept"
    TAKE_BACK = "take back"


@dataclass(frozen=True)
class Verdict:
    fate: Fate
    why: str


def held(record: Record, remake: Remake = Remake.NOTHING) -> Held:
    """What it has now, to come back to."""
    facts = record.facts
    return Held(
        number=record.version, nics=facts.nics, ports=facts.ports, ids=facts.ids, remake=remake
    )


def fallback(record: Record, remake: Remake) -> Held:
    """What comes back if the version that takes the place of the present one is no good: the last
    that was."""
    trial = record.trial
    if trial is None or trial.failed is not None:
        return held(record, remake)
    return trial.previous.model_copy(update={"remake": most(trial.previous.remake, remake)})


def taken_up(record: Record, version: Version, new: Held, trial: Trial | None) -> Record:
    """With that version in place of its own. Its name is the container's, whatever that was."""
    facts = record.facts
    image = new.image or facts.image
    remake = most(record.remake, new.remake)
    kept = {"nics": new.nics, "ports": new.ports, "ids": new.ids, "image": image}
    return record.but(
        spec=version.spec.model_copy(update={"name": record.name}),
        sealed=version.sealed,
        contents=version.contents if remake is not Remake.NOTHING else (),
        facts=facts.model_copy(update=kept),
        version=version.number,
        pending=None,
        remake=remake,
        trial=trial,
    )


def taken_back(record: Record, version: Version, why: LongshoreError) -> Record:
    """With the previous version, `version`, in its spec again; what runs is ended and that started,
    or, if no process had to be started for the new one, it is as it was."""
    trial = record.trial
    assert trial is not None
    failed = error_of(record, why)
    back = taken_up(record, version, trial.previous, None)
    if trial.live is not None:
        return asked_anew(back).but(reason=f"{_as_it_is(record)}; {_short(failed)}")
    event = Happening.AGAIN if record.state in _OVER else Verb.RESTART
    grace = min(_GRACE, record.spec.stop_grace)
    return back.but(
        state=after(record.state, event, record.name),
        reason=_short(failed),
        desired=Desired.RUNNING,
        restart_at=None,
        grace=grace,
        trial=Trial(previous=trial.previous, failed=failed.to_dict()),
    )


def asked_anew(record: Record) -> Record:
    """One that is probed in another way than before: what was found so far says nothing."""
    acted = record.health.acted if record.health else ()
    has_check = check_for(record) is not None
    return record.but(health=HealthStatus(acted=acted) if has_check else None)


def error_of(record: Record, why: LongshoreError) -> UpdateTakenBack:
    """What whoever asked for the version in the record is told."""
    assert record.trial is not None
    previous = record.trial.previous.number
    return UpdateTakenBack(
        f"cannot update container {record.name}: version {record.version} is no good: {why}; "
        f"version {previous} is in use again",
        object=record.name,
        field=why.field,
        hint=why.hint,
        details={"version": record.version, "previous": previous, "why": why.to_dict()},
    )


def verdict(record: Record, now: float) -> Verdict | None:
    """Of one that runs. None: it cannot be said yet, or there is nothing to be said."""
    trial = record.trial
    if trial is None or trial.failed is not None:
        return None
    if trial.until is None or record.state not in _LIVES:
        return None
    check, health = check_for(record), record.health
    if check is None or health is None:
        runs = Verdict(Fate.ACCEPT, f"it runs, and so version {record.version} is in use")
        return runs if now >= trial.until else None
    if health.state == HEALTHY:
        return Verdict(Fate.ACCEPT, f"it is healthy, and so version {record.version} is in use")
    said = health.output or "no output"
    if health.state == UNHEALTHY:
        return Verdict(Fate.TAKE_BACK, f"it is unhealthy: {said}")
    if now >= trial.until:
        return Verdict(Fate.TAKE_BACK, f"it was not healthy in time: {said}")
    return None


def at_end(before: Record, now: Record) -> Verdict | None:
    """Of one whose process has just ended. None: it was ended, and that says nothing."""
    if before.desired is not Desired.RUNNING:
        return None
    if before.health is not None and before.health.state == UNHEALTHY:
        said = before.health.output or "no output"
        return Verdict(Fate.TAKE_BACK, f"it is unhealthy: {said}")
    if before.state not in (State.STARTING, State.RUNNING):
        return None
    if now.exit_code == 0 and now.spec.restart.policy in _MAY_END:
        return Verdict(Fate.ACCEPT, "it has done its work")
    code = "" if now.exit_code is None else f", with exit code {now.exit_code}"
    return Verdict(Fate.TAKE_BACK, f"its process ended at once{code}")


def is_probed(record: Record) -> bool:
    """Whether its health may say how its version fares."""
    trial = record.trial
    return trial is not None and trial.until is not None and record.health is not None


def time_for(check: HealthCheck | None, probation: float) -> float:
    """Seconds from its start in which a version has to show that it is good."""
    if check is None:
        return probation
    tries = check.retries * (check.interval + check.timeout)
    return max(probation, max(check.start_period, check.interval) + tries)


def is_under_way(record: Record) -> bool:
    """Whether what was asked of its version is being done, or found out."""
    at_work = _LIVES | {State.RESTARTING, State.STARTING}
    return record.state in at_work and (record.trial is not None or record.pending is not None)


def _as_it_is(record: Record) -> str:
    return "it runs" if record.state is State.RUNNING else f"it is {record.state}"


def _short(failed: UpdateTakenBack) -> str:
    details = failed.details
    return f"version {details['version']} was taken back: {details['why']['message']}"
