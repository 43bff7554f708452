"""A container's file system compared with its image's, written as a layer by containerd."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from longshore.errors import HostFailed, LongshoreError, NotFound
from longshore.host.containerd import content, layers, mountpoints, snapshots
from longshore.host.containerd.client import Client
from longshore.host.containerd.ingest import REF
from longshore.host.containerd.renumbered import as_inside, ids_of
from longshore.model.documents import LAYER, Descriptor
from longshore.model.names import Names
from longshore.pb.containerd import (
    containers_pb2,
    content_pb2,
    diff_pb2,
    snapshots_pb2,
    types_pb2,
)

#: Seconds to compare and compress many GiB on a slow disk.
_TIMEOUT = 1800.0
_UNCOMPRESSED = "containerd.io/uncompressed"


def write(
    client: Client,
    snapshotter: str,
    names: Names,
    chain_id: str,
    lease: str,
    check: Callable[[], None],
    user_namespaces: Path,
) -> tuple[Descriptor, str]:
    """Stores what the container's snapshot has beyond that of its image, under a lease.

    What the runtime made to mount on is left out. The container may run meanwhile.

    Args:
        check: asked all the time; what it raises ends it.
        user_namespaces: as `Layout.user_namespaces`.

    Returns:
        The layer, and its diff id.

    Raises:
        NotFound: the container has no snapshot, or its image none.
        Exhausted, HostFailed and its children: from containerd.
    """
    what = f"compare container {names.id} with its image"
    right = snapshots.mounts(client, snapshotter, names)
    view, top = (f"commit-{uuid4()}" for _ in range(2))
    snapshot = client.snapshots
    seen = ExitStack()
    try:
        request = snapshots_pb2.ViewSnapshotRequest(
            snapshotter=snapshotter, key=view, parent=chain_id
        )
        left = client.call(snapshot.View, request, what, object=names.id, lease=lease).mounts
        if len(right) == 1 and right[0].type == "overlay":
            empty = snapshots_pb2.PrepareSnapshotRequest(snapshotter=snapshotter, key=top)
            made = client.call(snapshot.Prepare, empty, what, object=names.id, lease=lease).mounts
            spec = _spec(client, names)
            inside = partial(as_inside, ids=ids_of(spec), place=user_namespaces / names.id)
            right = [_as_seen(right[0], made, _targets(spec), what, inside, seen)]
        return _diff(client, left, right, what, lease, check)
    finally:
        seen.close()
        for key in (view, top):
            remove = snapshots_pb2.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
            # One that stays goes with the lease.
            with suppress(LongshoreError):
                client.call(snapshot.Remove, remove, what, object=key)


def _spec(client: Client, names: Names) -> Mapping[str, Any]:
    """The container's OCI spec, as its own record has it."""
    request = containers_pb2.GetContainerRequest(id=names.id)
    what = f"look up the mounts of {names.id}"
    try:
        answer = client.call(client.containers.Get, request, what, object=names.id)
    except NotFound:
        return {}
    spec: Mapping[str, Any] = json.loads(answer.container.spec.value)
    return spec


def targets(client: Client, names: Names) -> list[str]:
    """Where the container has mounts, as its own record has it."""
    return _targets(_spec(client, names))


def _targets(spec: Mapping[str, Any]) -> list[str]:
    """Where the container has mounts."""
    return [mount["destination"] for mount in spec.get("mounts", ())]


def _as_seen(
    overlay: types_pb2.Mount,
    made: Sequence[types_pb2.Mount],
    targets: Sequence[str],
    what: str,
    inside: Callable[[str], AbstractContextManager[str]],
    seen: ExitStack,
) -> types_pb2.Mount:
    """The container's mount, read-only, with what hides the mount points on top.

    Without its upper folder it can be mounted twice.

    Args:
        inside: the upper folder with the container's own numbers; entered on `seen`.
    """
    found = [(one.type, one.source, one.options) for one in (overlay, *made)]
    try:
        own, *lower = layers.folders(found[:1])
        upper = seen.enter_context(inside(own))
        (top,) = layers.folders(found[1:])
        points = mountpoints.made(upper, lower, targets)
        if points:
            mountpoints.hide(points, upper, top)
    except (OSError, ValueError) as error:
        raise HostFailed(f"cannot {what}: {error}") from error
    stack = ":".join([*([top] if points else []), upper, *lower])
    replaced = ("upperdir=", "workdir=", "lowerdir=", "rw")
    options = [option for option in overlay.options if not option.startswith(replaced)]
    return types_pb2.Mount(
        type="overlay", source=overlay.source, options=[*options, "ro", f"lowerdir={stack}"]
    )


def _diff(
    client: Client, left: Any, right: Any, what: str, lease: str, check: Callable[[], None]
) -> tuple[Descriptor, str]:
    ref = f"{REF}commit-{uuid4()}"
    request = diff_pb2.DiffRequest(left=left, right=right, media_type=f"{LAYER}+gzip", ref=ref)
    try:
        made = client.wanted(
            client.diff.Diff, request, what, check, lease=lease, timeout=_TIMEOUT
        ).diff
    except LongshoreError as error:
        try:
            content.abort(client, ref)
        except LongshoreError as second:
            error.add_note(f"and then: {second}")
        raise
    info = content_pb2.InfoRequest(digest=made.digest)
    labels = client.call(client.content.Info, info, what, object=made.digest).info.labels
    return Descriptor(f"{LAYER}+gzip", made.digest, made.size), labels[_UNCOMPRESSED]
