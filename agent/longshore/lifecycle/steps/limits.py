"""Proof that the limits took effect, read back from the kernel before the process runs; and that
they stay so while it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from longshore.errors import LimitNotApplied, LongshoreError, NotFound
from longshore.lifecycle.pipeline import Context, Step, attempt
from longshore.lifecycle.ports import Host
from longshore.model.drift import differences, drifted, lost
from longshore.model.host import AppliedLimits
from longshore.model.limits import Limits
from longshore.model.names import Names
from longshore.model.record import Record

LOG = logging.getLogger(__name__)
_NONE = Limits()


def do(context: Context) -> None:
    applied = read(context.host, context.record)
    limits = context.record.spec.limits
    # One that runs already may have moved limits of its own.
    compare = drifted if context.adopting else differences
    if compare(limits, applied):
        # A few are not the runtime's to set, or not every runtime's.
        context.host.cgroups.mend(_pid(context.record), limits)
        if limits.disk is not None:
            # The file system may have lost it when the power went.
            context.host.disks.limit(context.names, limits.disk)
        applied = read(context.host, context.record)
    context.learn(limits=applied)
    if wrong := compare(limits, applied):
        raise _not_applied(context.record, "start", wrong)


def undo(host: Host, names: Names) -> None:
    """Nothing: the limits go with the cgroup, which is the task's."""


def read(host: Host, record: Record, *, asked_only: bool = False) -> AppliedLimits:
    """As the kernel has them now. Raises NotFound when the process has ended."""
    limits = record.spec.limits
    applied = host.cgroups.read(_pid(record), limits, asked_only=asked_only)
    if limits.disk is not None:
        applied = replace(applied, disk=host.disks.read(record.names))
    return applied


def drift(host: Host, record: Record) -> Sequence[str]:
    """What changed under a container that runs; a few reads of small files."""
    limits = record.spec.limits
    if limits == _NONE or record.facts.pid is None:
        return ()
    now = read(host, record, asked_only=True)
    return (*drifted(limits, now), *lost(limits, now, record.facts.limits))


def keep(host: Host, record: Record) -> tuple[AppliedLimits | None, str | None]:
    """Puts right what somebody changed.

    Returns:
        The limits as they are now, None if they are as they were; and what was put right or lost,
        None if nothing.

    Raises:
        LimitNotApplied: it could not be put right.
    """
    try:
        wrong = drift(host, record)
        if not wrong:
            return None, None
        why = _set_again(host, record)
        now = read(host, record)
    except NotFound:
        # It has just ended, and somebody waits for that.
        return None, None
    limits = record.spec.limits
    if still := drifted(limits, now):
        raise _not_applied(record, "keep", (*still, *why))
    gone = lost(limits, now, record.facts.limits)
    mended = [one for one in wrong if one not in gone]
    told = "; ".join(
        ["somebody had changed its limits, put right: " + mended[0], *mended[1:], *gone]
        if mended
        else gone
    )
    LOG.warning("container %s: %s", record.id, told)
    return now, told


def adjust(host: Host, record: Record) -> AppliedLimits | None:
    """Has the kernel keep other limits than before while its process runs.

    Returns:
        Them, read back; None: it has just ended.

    Raises:
        LimitNotApplied: the kernel does not keep them.
    """
    try:
        wrong = drift(host, record)
        why = _set_again(host, record) if wrong else []
        now = read(host, record)
    except NotFound:
        return None
    if still := drifted(record.spec.limits, now):
        raise _not_applied(record, "keep", (*still, *why))
    return now


def _set_again(host: Host, record: Record) -> list[str]:
    """Returns why not."""
    limits, why = record.spec.limits, []

    def disk() -> None:
        if limits.disk is not None:
            host.disks.limit(record.names, limits.disk)

    for what, call in (
        ("set the limits again", lambda: host.tasks.update(record.names, limits)),
        ("set the limits again", lambda: host.cgroups.mend(_pid(record), limits)),
        ("limit the disk again", disk),
    ):
        error = attempt(what, call)
        if error is not None:
            why.append(str(error))
    return why


def _pid(record: Record) -> int:
    pid = record.facts.pid
    assert pid is not None
    return pid


def _not_applied(record: Record, verb: str, wrong: Sequence[str]) -> LongshoreError:
    what = f"start container {record.name}" if verb == "start" else f"limit {record.name} as asked"
    return LimitNotApplied(
        f"cannot {what}: {'; '.join(wrong)}",
        field=wrong[0].partition(":")[0],
        object=record.name,
        hint="`longshore status` says which limits this node cannot set",
    )


STEP = Step("limits", do, undo)
