"""What is known, and said, of a container that ran out of memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports import Host
from longshore.model.host import MemoryUse
from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import OutOfMemory

LOG = logging.getLogger(__name__)


def heard(record: Record, used: MemoryUse | None, now: float) -> Mapping[str, Any]:
    """What to note in the record of a container when containerd says that it is out of memory.

    Args:
        used: what `look` said after that.
    """
    if record.spec.limits.oom_policy == "pause" and not (used and used.killed):
        LOG.warning("container %s: out of memory, its processes wait", record.id)
        waits = "it runs; out of memory, its processes wait, as oom_policy asks"
        return {"reason": waits} if record.state is State.RUNNING else {}
    LOG.warning("container %s: a process of it was killed: out of memory", record.id)
    before = this_run(record)
    if used is not None:
        found = _seen(used, now)
    elif before is not None:
        return {}
    else:
        # Its end was faster, and its cgroup is gone (systemd does not wait): nobody knows the peak.
        limits = record.facts.limits
        found = OutOfMemory(at=now, limit=limits.memory if limits else None)
    if record.state in (State.STOPPED, State.RESTARTING) and before is None:
        return {"out_of_memory": found, "reason": record.reason + words(found)}
    return {"out_of_memory": found}


def at_end(host: Host, record: Record, now: float) -> OutOfMemory | None:
    """What to note when its process has ended: an event may have been missed, a cgroup counts.

    Before the task is deleted, and its cgroup with it.
    """
    used = look(host, record)
    if used is None or not used.killed:
        return record.out_of_memory
    before = this_run(record)
    return _seen(used, before.at if before else now)


def this_run(record: Record) -> OutOfMemory | None:
    """What was noted since its last start."""
    noted = record.out_of_memory
    return noted if noted is not None and noted.at >= (record.started_at or 0) else None


def words(found: OutOfMemory | None) -> str:
    """What the reason of its end goes on with."""
    if found is None:
        return ""
    told = "; the kernel killed it or a part of it: out of memory"
    if found.peak is None:
        return told
    limit = f" of {found.limit}" if found.limit is not None else ""
    return f"{told} (it came to {found.peak}{limit} bytes in cgroup {found.cgroup})"


def _seen(used: MemoryUse, at: float) -> OutOfMemory:
    return OutOfMemory(at=at, cgroup=used.cgroup, peak=used.peak, limit=used.limit)


def look(host: Host, record: Record) -> MemoryUse | None:
    """None: nobody knows any more."""
    found: list[MemoryUse | None] = []
    error = attempt("look at its memory", lambda: found.append(host.cgroups.memory(record.names)))
    if error is not None:
        # What it tells is not worth an end that goes unnoticed.
        LOG.warning("container %s: %s", record.id, error)
    return found[0] if found else None
