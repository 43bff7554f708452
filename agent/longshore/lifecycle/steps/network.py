"""The interfaces in the namespace, and the ports published to them.

Made while the runtime makes the process: that takes it ten times as long, and it needs no more
than the namespace.
"""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    if context.record.spec.host_network:
        return
    facts = context.record.facts
    context.host.network.attach(context.names, facts.nics)
    context.host.network.publish(context.names, facts.ports)


def undo(host: Host, names: Names) -> None:
    """The interfaces go with their namespace."""
    host.network.unpublish(names)


STEP = Step("network", do, undo)
