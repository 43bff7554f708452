"""The writable snapshot, held by a lease until containerd's record refers to it.

Without the lease containerd's collector may take the snapshot between the two.
"""

from __future__ import annotations

from longshore.errors import ImageNotFound
from longshore.lifecycle.pipeline import Context, Step
from longshore.lifecycle.ports import Host
from longshore.model.names import Names


def do(context: Context) -> None:
    image = context.record.facts.image
    assert image is not None
    try:
        context.host.rootfs.prepare(context.names, image)
    except ImageNotFound:
        # Not unpacked: another snapshotter now, or somebody removed its snapshots.
        context.host.images.unpack(image)
        context.host.rootfs.prepare(context.names, image)
    groups = context.record.spec.groups
    context.learn(user=context.host.rootfs.user(context.names, _user(context), groups))


def undo(host: Host, names: Names) -> None:
    host.rootfs.remove(names)
    host.rootfs.release(names)


def _user(context: Context) -> str:
    image = context.record.facts.image
    return context.record.spec.user or (image.config.user if image else "")


STEP = Step("rootfs", do, undo)
