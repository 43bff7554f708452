"""Log files, the managed files of /etc, and those that came with the request."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    record = context.record
    spec = record.spec.with_contents(record.contents)
    context.host.files.write(record.names, spec, record.facts)


def again(context: Context) -> None:
    """What came with an older version goes, but for the logs."""
    context.host.files.forget(context.names)
    do(context)


def undo(host: Host, names: Names) -> None:
    host.files.remove(names)


STEP = Step("files", do, undo)
ANEW = Step("files", again, undo)
