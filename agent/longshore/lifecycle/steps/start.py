"""The first instruction. Its end is waited for from before the start, so that none is missed."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    context.watch_exit()
    console = context.host.layout.stdout(context.names) if context.record.spec.tty else None
    context.host.tasks.start(context.names, console)


def undo(host: Host, names: Names) -> None:
    """Nothing: what was started is ended by the undo of the task, which also ends what was not."""


STEP = Step("start", do, undo)
