"""The task: the runtime is asked for it here, and has made it in the step `process`."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.lifecycle.steps import record
from longshore.model.host import TaskStatus
from longshore.model.names import Names

#: A task that is there in one of these is the one that `do` would make.
_MADE = frozenset({TaskStatus.CREATED, TaskStatus.RUNNING, TaskStatus.PAUSED})


def do(context: Context) -> None:
    host, names = context.host, context.names
    there = host.tasks.get(names) if context.adopting else None
    if there is not None and there.status in _MADE:
        context.learn(pid=there.pid)
        return
    context.learn(pid=None)
    record.renew(context)
    logs = (host.layout.stdout(names), host.layout.stderr(names))
    spec = context.record.spec
    host.tasks.begin(names, *logs, context.record.facts.ids, tty=spec.tty, stdin=spec.stdin)


def undo(host: Host, names: Names) -> None:
    host.tasks.delete(names)
    host.cgroups.remove(names)


STEP = Step("task", do, undo)
