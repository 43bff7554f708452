"""Volumes that begin with what the image has there: anonymous ones, which last as long as the
container, and named ones that are new."""

from __future__ import annotations

from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.mounts import NamedVolume
from longshore.model.names import Names


def do(context: Context) -> None:
    image = context.record.facts.image
    assert image is not None
    mounts = context.record.spec.mounts
    context.host.data.fill(context.names, image, mounts)
    for mount in mounts:
        if isinstance(mount, NamedVolume) and mount.name is not None:
            source = mount.target if mount.copy_image else None
            context.host.named.fill(mount.name, context.names, source)


def undo(host: Host, names: Names) -> None:
    """A named volume stays, whoever made it."""
    host.data.remove(names)


STEP = Step("data", do, undo)
