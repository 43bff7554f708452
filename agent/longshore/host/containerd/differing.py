"""What a container's own layer has beside its image's: by name, as `docker diff` tells it.

Of an overlay only its upper folder is walked. A snapshotter that has whole trees has both walked.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from uuid import uuid4

from longshore.errors import DeadlineExceeded, Exhausted, HostFailed, LongshoreError
from longshore.host.containerd import difference, leases, mountpoints, subvolumes
from longshore.host.containerd.client import Client
from longshore.host.containerd.layers import is_opaque, is_whiteout
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.copying import folder_beneath
from longshore.model.host import Ids
from longshore.model.names import Names
from longshore.model.status import Difference
from longshore.pb.containerd import snapshots_pb2

#: Seconds to walk it.
_DEADLINE = 60.0
#: More fit into no message that anybody reads.
_MOST = 100_000
_ADDED, _CHANGED, _DELETED = "added", "changed", "deleted"


class Differing:
    """Args:
    root: where the snapshotter keeps its files, if it has whole trees.
    """

    def __init__(
        self,
        client: Client,
        rootfs: Rootfs,
        snapshotter: str,
        root: Path | None,
        deadline: float = _DEADLINE,
    ) -> None:
        self._client = client
        self._rootfs = rootfs
        self._snapshotter = snapshotter
        self._root = root
        self._deadline = deadline

    def all(self, names: Names, chain_id: str, ids: Ids | None) -> Sequence[Difference]:
        """By path.

        Args:
            ids: of its user namespace: in its layer owners are the node's numbers.

        Raises:
            NotFound: it has no snapshot.
            DeadlineExceeded, Exhausted: there is too much.
            HostFailed: a layer cannot be read.
        """
        folders, work, _ = self._rootfs.stack(names)
        targets = difference.targets(self._client, names)
        try:
            if work is None and len(folders) == 1:
                with self._image(names, chain_id) as lower:
                    return self._walked(folders[0], lower, targets, ids, names, whole=True)
            return self._walked(folders[0], folders[1:], targets, ids, names, whole=False)
        except OSError as error:
            raise HostFailed(
                f"cannot compare container {names.id} with its image: {error.strerror}",
                object=names.id,
            ) from error

    def _walked(
        self,
        own: str,
        lower: Sequence[str],
        targets: Sequence[str],
        ids: Ids | None,
        names: Names,
        *,
        whole: bool,
    ) -> Sequence[Difference]:
        until = time.monotonic() + self._deadline

        def check() -> None:
            if time.monotonic() > until:
                raise DeadlineExceeded(
                    f"cannot compare container {names.id} with its image: there is too much in it",
                    object=names.id,
                )

        made = frozenset(mountpoints.made(own, lower, targets))
        walk = _Walk((own, *lower), made, ids, check, whole=whole)
        walk.run()
        if len(walk.kinds) > _MOST:
            raise Exhausted(
                f"cannot list what differs in container {names.id}: {len(walk.kinds)} paths",
                object=names.id,
                hint=f"more than {_MOST} are not listed; `cp` or `commit` takes them all",
            )
        return [
            Difference(path=f"/{path}", kind=kind)
            for path, kind in sorted(walk.kinds.items(), key=lambda one: one[0].parts)
        ]

    @contextmanager
    def _image(self, names: Names, chain_id: str) -> Iterator[Sequence[str]]:
        """The folder of its image's tree, where that is one of its own; none for an image without
        a layer."""
        snapshots = self._client.snapshots
        if self._root is None or subvolumes.number(self._rootfs.mounts(names)) is None:
            yield ()
            return
        what, key = f"compare container {names.id} with its image", f"diff-{uuid4()}"
        with leases.temporary(self._client) as lease:
            view = snapshots_pb2.ViewSnapshotRequest(
                snapshotter=self._snapshotter, key=key, parent=chain_id
            )
            made = self._client.call(snapshots.View, view, what, object=names.id, lease=lease)
            try:
                number = subvolumes.number(made.mounts)
                assert number is not None
                yield (str(subvolumes.folder(self._root, number, kind="view")),)
            finally:
                remove = snapshots_pb2.RemoveSnapshotRequest(snapshotter=self._snapshotter, key=key)
                # One that stays goes with the lease.
                with suppress(LongshoreError):
                    self._client.call(snapshots.Remove, remove, what, object=key)


@dataclass(frozen=True)
class _Folder:
    """A folder of the container's, and in which of the layers below it is a folder too."""

    path: PurePosixPath
    below: tuple[int, ...]


@dataclass
class _Walk:
    """`whole`: the container's tree has all, and not just what differs. `kinds` is what was found;
    `made`: what is there only to be mounted on."""

    layers: Sequence[str]
    made: frozenset[PurePosixPath]
    ids: Ids | None
    check: Callable[[], None]
    whole: bool
    kinds: dict[PurePosixPath, str] = field(default_factory=dict)

    def run(self) -> None:
        pending = [_Folder(PurePosixPath(), tuple(range(1, len(self.layers))))]
        while pending:
            pending.extend(self._folder(pending.pop()))

    def _folder(self, folder: _Folder) -> Iterator[_Folder]:
        self.check()
        with ExitStack() as opened:
            own = opened.enter_context(folder_beneath(Path(self.layers[0]), folder.path))
            below = [
                (
                    number,
                    opened.enter_context(folder_beneath(Path(self.layers[number]), folder.path)),
                )
                for number in folder.below
            ]
            seen: set[str] = set()
            with os.scandir(own) as entries:
                for entry in entries:
                    seen.add(entry.name)
                    deeper = self._entry(folder, own, below, entry.name)
                    if deeper is not None:
                        yield deeper
            hides = self.whole or is_opaque(f"/proc/self/fd/{own}/.")
            for name in _names(below) - seen if hides else ():
                if _first(below, name) is not None:
                    self._tell(folder.path / name, _DELETED)

    def _entry(
        self, folder: _Folder, own: int, below: Sequence[tuple[int, int]], name: str
    ) -> _Folder | None:
        path = folder.path / name
        if path in self.made:
            return None
        now, before = os.lstat(name, dir_fd=own), _first(below, name)
        if is_whiteout(now) and not self.whole:
            if before is not None:
                self._tell(path, _DELETED)
            return None
        if before is None:
            self._tell(path, _ADDED)
        elif self._differs(own, name, now, *before):
            self._tell(path, _CHANGED)
        if not stat.S_ISDIR(now.st_mode):
            return None
        return _Folder(path, _folders(below, name))

    def _differs(
        self, own: int, name: str, now: os.stat_result, at: int, before: os.stat_result
    ) -> bool:
        ours = (now.st_mode, self._inside(now.st_uid), self._inside(now.st_gid))
        if ours != (before.st_mode, before.st_uid, before.st_gid):
            return True
        # A folder's time changes with what is in it, which is told by itself.
        if stat.S_ISDIR(now.st_mode):
            return False
        if stat.S_ISLNK(now.st_mode):
            return os.readlink(name, dir_fd=own) != os.readlink(name, dir_fd=at)
        return (now.st_size, now.st_mtime_ns, now.st_rdev) != (
            before.st_size,
            before.st_mtime_ns,
            before.st_rdev,
        )

    def _inside(self, number: int) -> int:
        ids = self.ids
        return number - ids.first if ids is not None and ids.covers(number) else number

    def _tell(self, path: PurePosixPath, kind: str) -> None:
        """With the folders that it is in, up to the top, which are changed by that."""
        self.kinds.setdefault(path, kind)
        for parent in path.parents[:-1]:
            if parent in self.kinds:
                return
            self.kinds[parent] = _CHANGED


def _first(below: Sequence[tuple[int, int]], name: str) -> tuple[int, os.stat_result] | None:
    """What the image has under that name, and the descriptor of the folder that it is in."""
    for _, at in below:
        try:
            there = os.lstat(name, dir_fd=at)
        except FileNotFoundError:
            continue
        return None if is_whiteout(there) else (at, there)
    return None


def _folders(below: Sequence[tuple[int, int]], name: str) -> tuple[int, ...]:
    """The layers whose folder of that name is seen."""
    found: list[int] = []
    for number, at in below:
        try:
            there = os.lstat(name, dir_fd=at)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(there.st_mode):
            break
        found.append(number)
        if is_opaque(f"/proc/self/fd/{at}/{name}"):
            break
    return tuple(found)


def _names(below: Sequence[tuple[int, int]]) -> set[str]:
    return {name for _, at in below for name in os.listdir(at)}
