"""The image, pulled if need be, and from here on held by the container's lease.

One that was there when the create was admitted is pinned by its digest and needs no look here:
`rootfs` takes the lease anyway, and says so if its layers are gone. It is not pulled again then: a
create makes what it was admitted with, or nothing.
"""

from __future__ import annotations

from longshore.errors import ImageNotFound
from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    if context.record.facts.image is not None:
        return
    image = context.pull()
    try:
        context.host.images.hold(context.names, image)
    except ImageNotFound:
        # Not unpacked: another snapshotter now, or somebody removed its snapshots.
        context.host.images.unpack(image)
        context.host.images.hold(context.names, image)
    context.pin(image)


def undo(host: Host, names: Names) -> None:
    """Nothing: the lease is the one of `rootfs`, whose undo gives it back after the snapshot."""


STEP = Step("image", do, undo)
