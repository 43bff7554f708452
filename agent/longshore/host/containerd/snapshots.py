"""The writable file system of a container: a snapshot on top of its image's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longshore.errors import (
    Conflict,
    HostFailed,
    ImageNotFound,
    NotFound,
    StartFailed,
)
from longshore.host.containerd import layers, leases, subvolumes, users
from longshore.host.containerd.client import Client
from longshore.model.host import Image, User
from longshore.model.names import Names, container_of_lease, is_container_id
from longshore.pb.containerd import snapshots_pb2

#: A passwd or group file larger than this is cut off; none in use comes near.
_FILE_MAX = 1024 * 1024
#: Options of a mount that are none of its file system's.
_FLAGS = frozenset({"rw", "ro"})


def mounts(client: Client, snapshotter: str, names: Names) -> Any:
    """What to mount for the snapshot, as containerd's messages.

    Raises:
        NotFound: there is no such snapshot.
    """
    request = snapshots_pb2.MountsRequest(snapshotter=snapshotter, key=names.snapshot)
    what = f"mount the snapshot of {names.id}"
    return client.call(client.snapshots.Mounts, request, what, object=names.id).mounts


class Rootfs:
    """`Rootfs` of lifecycle's ports."""

    def __init__(self, client: Client, snapshotter: str, root: Path | None = None) -> None:
        """`root`: where the snapshotter keeps its files; only btrfs's needs it."""
        self._client = client
        self._snapshotter = snapshotter
        self._root = root

    def prepare(self, names: Names, image: Image) -> None:
        """Takes a lease, then makes a writable snapshot of the image under it.

        Raises:
            ImageNotFound: the image's layers are not unpacked on this node.
            Exhausted, HostFailed and its children: from containerd.
        """
        leases.take(self._client, names.lease)
        request = snapshots_pb2.PrepareSnapshotRequest(
            snapshotter=self._snapshotter, key=names.snapshot, parent=image.chain_id
        )
        what = f"make the root file system of {names.id}"
        try:
            self._client.call(
                self._client.snapshots.Prepare, request, what, object=names.id, lease=names.lease
            )
        except Conflict:
            # It is there; if only an earlier, expired lease held it, nothing does now.
            leases.hold_snapshot(self._client, names.lease, self._snapshotter, names.snapshot)
        except NotFound as error:
            raise ImageNotFound(
                f"cannot {what}: image {image.name} is not unpacked in {self._snapshotter}",
                field="image",
                object=image.name,
                hint="load the image again",
            ) from error

    def release(self, names: Names) -> None:
        """Gives the lease back: the container's record protects the snapshot now."""
        leases.give_back(self._client, names.lease)

    def remove(self, names: Names) -> None:
        """Removes the snapshot with all that the container wrote; its files go a little later."""
        request = snapshots_pb2.RemoveSnapshotRequest(
            snapshotter=self._snapshotter, key=names.snapshot
        )
        what = f"remove the root file system of {names.id}"
        try:
            self._client.call(self._client.snapshots.Remove, request, what, object=names.id)
        except NotFound:
            return

    def user(self, names: Names, user: str, groups: Sequence[str] = ()) -> User:
        """Numbers for `name|uid[:group|gid]` from the snapshot's own /etc; '' is root. `groups`:
        names or numbers of more.

        Raises:
            StartFailed: no such user or group, or /etc/passwd cannot be read.
            NotFound: there is no such snapshot.
        """
        what = f"find user {user or 'root'} of {names.id}"
        folders = self.folders(names)
        try:
            passwd, group = (
                (layers.read(folders, path, _FILE_MAX) or b"").decode(errors="replace")
                for path in ("etc/passwd", "etc/group")
            )
        except OSError as error:
            raise StartFailed(
                f"cannot {what}: {error.filename or '/etc'}: {error.strerror}",
                field="user",
                object=names.id,
            ) from error
        return users.resolve(user, passwd, group, groups)

    def user_names(self, names: Names) -> Mapping[int, str]:
        """Number → name, from the snapshot's own /etc/passwd; of one that cannot be read, none.

        Raises:
            NotFound: there is no such snapshot.
            HostFailed: its folders cannot be found.
        """
        try:
            passwd = layers.read(self.folders(names), "etc/passwd", _FILE_MAX) or b""
        except OSError:
            return {}
        return users.names(passwd.decode(errors="replace"))

    def folders(self, names: Names) -> tuple[str, ...]:
        """The folders of the node that the snapshot stacks, topmost first.

        Raises:
            NotFound: there is no such snapshot.
            HostFailed: the snapshotter does not stack folders.
        """
        found = mounts(self._client, self._snapshotter, names)
        try:
            number = subvolumes.number(found)
            if number is not None and self._root is not None:
                return (str(subvolumes.folder(self._root, number)),)
            return layers.folders([(one.type, one.source, one.options) for one in found])
        except (OSError, ValueError) as error:
            raise HostFailed(
                f"cannot look into the snapshot of {names.id}: "
                f"snapshotter {self._snapshotter}: {error}",
                object=names.id,
            ) from error

    def stack(self, names: Names) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
        """As `folders`; with the folder that an overlay needs for its work, and its other options.

        Raises:
            As `folders`.
        """
        folders = self.folders(names)
        found = mounts(self._client, self._snapshotter, names)
        options = [str(one) for mount in found if mount.type == "overlay" for one in mount.options]
        work = [one.partition("=")[2] for one in options if one.startswith("workdir=")]
        own = ("upperdir=", "workdir=", "lowerdir=")
        others = tuple(one for one in options if not one.startswith(own) and one not in _FLAGS)
        return folders, work[0] if work else None, others

    def mounts(self, names: Names) -> Any:
        """As `mounts` above."""
        return mounts(self._client, self._snapshotter, names)

    def writable(self, names: Names) -> tuple[Path, ...]:
        """The folders of the node that get what the container writes: of an overlay, with the one
        that it needs for its work.

        Raises:
            NotFound: there is no such snapshot.
            HostFailed: its folders cannot be found.
        """
        found = mounts(self._client, self._snapshotter, names)
        options = [option.partition("=") for one in found for option in one.options]
        stacked = [Path(value) for name, _, value in options if name in ("upperdir", "workdir")]
        return tuple(stacked) or tuple(map(Path, self.folders(names)))

    def owned(self) -> set[str]:
        """Ids of containers that have a snapshot or a lease."""
        request = snapshots_pb2.ListSnapshotsRequest(
            snapshotter=self._snapshotter, filters=["kind==active"]
        )
        found = {
            info.name
            for answer in self._client.stream(
                self._client.snapshots.List, request, "list snapshots"
            )
            for info in answer.info
        }
        found.update(container_of_lease(one) or "" for one in leases.names(self._client))
        return {name for name in found if is_container_id(name)}
