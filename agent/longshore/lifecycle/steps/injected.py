"""What the container sees of its files: copies, there while it runs."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    context.host.files.show(context.names)


def undo(host: Host, names: Names) -> None:
    host.files.unshow(names)


STEP = Step("injected", do, undo)
