"""Secrets: files in memory, there while the container runs."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    record = context.record
    context.host.secrets.write(record.names, record.spec.secrets, record.sealed, record.facts.ids)


def undo(host: Host, names: Names) -> None:
    host.secrets.remove(names)


STEP = Step("secrets", do, undo)
