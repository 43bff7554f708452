"""The network namespace: all that the runtime needs to see of the network."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    if context.record.spec.host_network:
        return
    context.host.network.open(context.names, context.record.facts.ids)


def undo(host: Host, names: Names) -> None:
    host.network.detach(names)


STEP = Step("namespace", do, undo)
