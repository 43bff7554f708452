"""Whether a bind source, once opened, can be mounted as was asked."""

from __future__ import annotations

import os

from longshore.errors import HostBusy, HostUnavailable, InvalidSpec, LongshoreError
from longshore.host import mounts as kernel
from longshore.host.idmap import map_tree
from longshore.host.mountinfo import mount_id, mount_points
from longshore.host.mounts import Propagation
from longshore.model.mounts import Bind

#: Ours is recursive in any case; the runtime makes the container's mount from it as was asked.
PROPAGATION = {
    "private": Propagation.PRIVATE,
    "rprivate": Propagation.PRIVATE,
    "slave": Propagation.SLAVE,
    "rslave": Propagation.SLAVE,
    "shared": Propagation.SHARED,
    "rshared": Propagation.SHARED,
}


def propagating(source: int, index: int, bind: Bind) -> int:
    """The descriptor that was given, of what the mount will be made of.

    Raises, and has closed it then:
        InvalidSpec: it hears of no mounts, and is to pass on what it hears.
        HostBusy: it is being unmounted.
    """
    try:
        _check_propagation(source, index, bind)
    except (OSError, LongshoreError):
        os.close(source)
        raise
    return source


def _check_propagation(source: int, index: int, bind: Bind) -> None:
    """A mount that hears of nothing, asked to pass on what it hears, would do so silently."""
    if PROPAGATION[bind.propagation] is Propagation.PRIVATE:
        return
    wanted = mount_id(source)
    point = next((point for point in mount_points() if point.id == wanted), None)
    if point is None:
        raise HostBusy(f"cannot mount {bind.source}: it is being unmounted", object=bind.source)
    shared = point.peers is not None
    slave = shared or point.master is not None
    if not (shared if PROPAGATION[bind.propagation] is Propagation.SHARED else slave):
        field, why = f"mounts[{index}].propagation", f"{point.path} is mounted private on this node"
        raise InvalidSpec(
            f"cannot mount {bind.source} as {bind.propagation}: {why}",
            field=field,
            object=bind.source,
            hint=f"mount --make-shared {point.path}",
            details={"faults": [{"field": field, "why": why}]},
        )


def check_mapping(source: int, userns: int, index: int, bind: Bind) -> None:
    """Does what a mount for that user namespace, given by descriptor, would do.

    Raises InvalidSpec: a file system there cannot be mapped.
    """
    tree = kernel.clone_tree(source, recursive=bind.recursive != "disabled")
    try:
        map_tree(tree, userns)
    except HostUnavailable as error:
        field, why = f"mounts[{index}].source", error.message.partition(": ")[2]
        raise InvalidSpec(
            f"cannot mount {bind.source} in a user namespace: {why}",
            field=field,
            object=bind.source,
            hint=error.hint,
            details={"faults": [{"field": field, "why": why}]},
        ) from error
    finally:
        os.close(tree)
