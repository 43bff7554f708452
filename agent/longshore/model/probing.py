"""What a probe's result makes of a container's health, and what is to be done then. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from longshore.model.health import HealthCheck, check_of, fault_of
from longshore.model.names import Names
from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import HealthStatus

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
#: Seconds for which the budget of on_unhealthy is.
HOUR = 3600.0
#: Seconds from the start to the first probe, if the interval is not shorter.
_FIRST = 1.0
#: Bytes of what a probe said that are kept.
OUTPUT_MAX = 512

Act = Literal["restart", "stop", "kill"]


@dataclass(frozen=True)
class Where:
    """The network to ask in. `addresses`: the container's own; `shared`: it is the node's."""

    names: Names
    addresses: tuple[str, ...] = ()
    shared: bool = False


@dataclass(frozen=True)
class Found:
    """What a probe came to. `seconds`: how long it took; `output`: what it said, for people."""

    ok: bool
    output: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """`act`: what is to be done for its health now, None: nothing. `news`: whether the state is
    another, or something is to be done. `reason` is for people."""

    health: HealthStatus
    act: Act | None = None
    news: bool = False
    reason: str = ""


def check_for(record: Record) -> HealthCheck | None:
    """What the container is probed with, once its image is known."""
    return check_of(record.spec.health, _image(record))


def unusable(record: Record) -> str | None:
    """Why nothing is probed though its image asks for it."""
    return fault_of(record.spec.health, _image(record))


def where(record: Record) -> Where:
    return Where(
        record.names,
        tuple(nic.address for nic in record.facts.nics),
        shared=record.spec.host_network,
    )


def is_probed(record: Record) -> bool:
    """Whether now is a time to: not while it waits, ends, or is frozen for a commit."""
    return record.state is State.RUNNING and not record.paused and record.started_at is not None


def anew(record: Record, now: float) -> HealthStatus | None:
    """Of a run that begins; how often was acted goes on."""
    if check_for(record) is None:
        return None
    return HealthStatus(state=STARTING, acted=_lately(record.health, now))


def judge(
    check: HealthCheck, before: HealthStatus, found: Found, now: float, age: float
) -> Verdict:
    """Args:
    now: Unix seconds when the probe ended.
    age: seconds since the container started.
    """
    known = {
        "at": now,
        "seconds": found.seconds,
        "output": found.output,
        "acted": _lately(before, now),
    }
    if found.ok:
        health = HealthStatus(state=HEALTHY, failures=0, **known)
        return Verdict(health, news=before.state != HEALTHY, reason="healthy")
    if before.state == STARTING and is_early(check, age):
        return Verdict(HealthStatus(state=STARTING, failures=0, **known))
    failures = before.failures + 1
    if failures < check.retries and before.state != UNHEALTHY:
        return Verdict(HealthStatus(state=before.state, failures=failures, **known))
    health = HealthStatus(state=UNHEALTHY, failures=failures, **known)
    reason = f"unhealthy: {_times(failures)} in a row, the last: {found.output or 'no output'}"
    return _consequence(check, before, health, reason, now)


def is_early(check: HealthCheck, age: float) -> bool:
    """Whether failures do not count yet."""
    return age < max(check.start_period, check.interval)


def pause(check: HealthCheck, health: HealthStatus, age: float) -> float:
    """Seconds from now to the next probe. Soon after the start probes are frequent, and less and
    less so, so that it is known soon that it is healthy."""
    if health.state != STARTING or not is_early(check, age):
        return check.interval
    return min(check.interval, max(_FIRST, age))


def words(record: Record) -> str:
    """What the reason of its end goes on with, if it was ended because it was unhealthy."""
    check, health = check_for(record), record.health
    if check is None or health is None or health.state != UNHEALTHY or not health.acted:
        return ""
    if health.acted[-1] < (record.started_at or 0.0):
        return ""
    said = health.output or "no output"
    return f"; it was unhealthy ({said}), and on_unhealthy is {check.on_unhealthy}"


def _consequence(
    check: HealthCheck, before: HealthStatus, health: HealthStatus, reason: str, now: float
) -> Verdict:
    is_new = before.state != UNHEALTHY
    act = None if check.on_unhealthy == "none" else check.on_unhealthy
    if act is None:
        return Verdict(health, news=is_new, reason=reason)
    if len(health.acted) >= check.budget:
        left = f"{reason}; it is left so: {act} came {_times(check.budget, 'time')} within an hour"
        return Verdict(health, news=is_new, reason=left)
    acting = health.model_copy(update={"acted": (*health.acted, now)})
    return Verdict(acting, act, news=True, reason=f"{reason}; on_unhealthy is {act}")


def _lately(health: HealthStatus | None, now: float) -> tuple[float, ...]:
    return tuple(at for at in health.acted if now - at < HOUR) if health else ()


def _times(count: int, what: str = "failure") -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _image(record: Record) -> dict[str, object] | None:
    image = record.facts.image
    written = image.config.healthcheck if image else None
    return None if written is None else dict(written)
