"""The user namespace, and the root file system as seen from in there; nothing for most."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    ids = context.record.facts.ids
    if ids is not None:
        context.host.users.make(context.names, ids)


def undo(host: Host, names: Names) -> None:
    host.users.remove(names)


STEP = Step("users", do, undo)
