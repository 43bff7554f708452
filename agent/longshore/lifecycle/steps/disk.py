"""How much the container may write into its own layer, set before anything can write there."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    size = context.record.spec.limits.disk
    if size is not None:
        context.host.disks.limit(context.names, size)


def again(context: Context) -> None:
    """It may have had one before, and be without by now."""
    if context.record.spec.limits.disk is None:
        context.host.disks.remove(context.names)
    do(context)


def undo(host: Host, names: Names) -> None:
    host.disks.remove(names)


STEP = Step("disk", do, undo)
ANEW = Step("disk", again, undo)
