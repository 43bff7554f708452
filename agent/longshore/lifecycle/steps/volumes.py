"""Binds and volumes: resolved again and bound at a place of ours, which is what the runtime
mounts."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.anonymous import with_anonymous
from longshore.model.mounts import NamedVolume
from longshore.model.names import Names


def do(context: Context) -> None:
    record = context.record
    image = record.facts.image
    assert image is not None
    for mount in record.spec.mounts:
        if isinstance(mount, NamedVolume) and mount.name is not None:
            # Filled at the create; one that was lost since is a new one, and empty.
            context.host.named.make(mount.name)
    mounts = with_anonymous(record.spec.mounts, image.config.volumes, record.id)
    context.host.volumes.mount(record.names, mounts, record.facts.ids)


def undo(host: Host, names: Names) -> None:
    host.volumes.unmount(names)


STEP = Step("volumes", do, undo)
