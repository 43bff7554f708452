"""The container's first process, made by the runtime in its cgroup; it waits for `start`."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    host, names, facts = context.host, context.names, context.record.facts
    if facts.pid is None:
        logs = (host.layout.stdout(names), host.layout.stderr(names))
        spec = context.record.spec
        pid = host.tasks.create(names, *logs, facts.ids, tty=spec.tty, stdin=spec.stdin)
        context.learn(pid=pid)


def undo(host: Host, names: Names) -> None:
    """Nothing: it is the task's, whose undo also ends what the runtime is still making."""


STEP = Step("process", do, undo)
