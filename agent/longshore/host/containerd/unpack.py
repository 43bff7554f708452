"""From layers in the content store to a snapshot per layer, named by chain id."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from uuid import uuid4

from longshore.errors import BadImage, Conflict, HostFailed, NotFound
from longshore.host.containerd import leases
from longshore.host.containerd.client import Client
from longshore.model.documents import Descriptor, layer_type
from longshore.pb.containerd import diff_pb2, snapshots_pb2, types_pb2

#: A layer of many GiB on a slow disk; containerd gives no sign of life while it unpacks.
_APPLY_TIMEOUT = 1800.0
#: How containerd says that a layer is at fault rather than the node.
_BAD_LAYER = (
    "archive/tar",
    "content digest",
    "failed to extract",
    "flate",
    "gzip",
    "invalid header",
    "magic number",
    "unexpected EOF",
    "wrong diff id",
    "zstd",
)
_MOUNTED_AT = re.compile(r"mount callback failed on \S+: ")


def is_there(client: Client, snapshotter: str, name: str, lease: str) -> bool:
    """Whether there is such a snapshot; if so, the lease holds it.

    Held first, looked up then: else the collector could take it in between.
    """
    leases.hold_snapshot(client, lease, snapshotter, name)
    return exists(client, snapshotter, name)


def exists(client: Client, snapshotter: str, name: str) -> bool:
    """Whether there is such a snapshot at the moment."""
    request = snapshots_pb2.StatSnapshotRequest(snapshotter=snapshotter, key=name)
    try:
        client.call(client.snapshots.Stat, request, f"look up snapshot {name}", object=name)
    except NotFound:
        return False
    return True


def unpacked(client: Client, snapshotter: str, chain: Sequence[str], lease: str) -> int:
    """How many of a chain's snapshots, from its beginning, are there; the lease holds them."""
    if is_there(client, snapshotter, chain[-1], lease):
        return len(chain)
    for count, name in enumerate(chain[:-1]):
        if not is_there(client, snapshotter, name, lease):
            return count
    return len(chain) - 1


def unpack(
    client: Client,
    snapshotter: str,
    layer: Descriptor,
    diff_id: str,
    parent: str,
    name: str,
    lease: str,
    check: Callable[[], None],
) -> None:
    """Makes the snapshot of one layer on top of its parent's ('': none).

    Args:
        check: asked all the time; what it raises ends the unpacking.

    Raises:
        BadImage: the layer is no archive, or not the one that the config promised.
        Exhausted, HostFailed and its children: from containerd.
    """
    key = f"unpack-{uuid4()}"
    prepare = snapshots_pb2.PrepareSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent)
    what = f"unpack layer {layer.digest}"
    prepared = client.call(
        client.snapshots.Prepare, prepare, what, object=layer.digest, lease=lease
    )
    applied = _apply(client, layer, prepared.mounts, lease, check)
    if applied != diff_id:
        raise BadImage(
            f"cannot {what}: it unpacks to {applied}, its config says {diff_id}",
            object=layer.digest,
        )
    commit = snapshots_pb2.CommitSnapshotRequest(snapshotter=snapshotter, name=name, key=key)
    try:
        client.call(client.snapshots.Commit, commit, what, object=layer.digest, lease=lease)
    except Conflict:
        # Another agent of this namespace was first; ours is collected with the lease.
        return


def _apply(
    client: Client,
    layer: Descriptor,
    mounts: Sequence[types_pb2.Mount],
    lease: str,
    check: Callable[[], None],
) -> str:
    """Returns the digest of the layer's uncompressed archive."""
    diff = types_pb2.Descriptor(
        # containerd 1.6 does not know all of Docker's names.
        media_type=layer_type(layer.media_type),
        digest=layer.digest,
        size=layer.size,
    )
    request = diff_pb2.ApplyRequest(diff=diff, mounts=mounts)
    what = f"unpack layer {layer.digest}"
    try:
        answer = client.wanted(
            *(client.diff.Apply, request, what, check),
            object=layer.digest,
            lease=lease,
            timeout=_APPLY_TIMEOUT,
        )
        return str(answer.applied.digest)
    except HostFailed as error:
        if any(sign in error.message for sign in _BAD_LAYER):
            why = _MOUNTED_AT.sub("", error.message)
            raise BadImage(why, object=layer.digest) from error
        raise
