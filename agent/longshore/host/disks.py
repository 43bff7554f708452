"""How much a container may write into its own layer: which kind of quota this node has for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from longshore.errors import HostFailed, InvalidSpec, NotFound
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.mountinfo import containing, mount_points
from longshore.host.project_quota import ProjectQuota
from longshore.host.subvolume_quota import SubvolumeQuota
from longshore.model.linux import effective_capabilities
from longshore.model.names import Names
from longshore.model.security import Security

_BTRFS, _OVERLAY = "btrfs", "overlayfs"
#: File system → mount options of which one switches project quota on.
_PROJECT_QUOTA: Mapping[str, Sequence[str]] = {
    "xfs": ("prjquota", "pquota"),
    "ext4": ("prjquota",),
    "f2fs": ("prjquota",),
}
#: Where a process with CAP_SYS_RESOURCE is above them (ignore_hardlimit in fs/quota/dquot.c).
_EXEMPTING = ("ext4", "f2fs")
_EXEMPT = "CAP_SYS_RESOURCE"


class _Quota(Protocol):
    """Of one file system; `folders`: those that the container writes to. All raise OSError."""

    def is_on(self) -> bool: ...

    def any_limited(self) -> bool:
        """Clears away, too, what is left of containers that are gone."""

    def limit(self, names: Names, folders: Sequence[Path], size: int) -> None: ...

    def read(self, names: Names, folders: Sequence[Path]) -> int | None: ...

    def remove(self, names: Names, folders: Sequence[Path]) -> None:
        """`folders`: none, if they are gone already."""


_QUOTAS: Mapping[str, Callable[[Path], _Quota]] = {
    _BTRFS: SubvolumeQuota,
    _OVERLAY: ProjectQuota,
}


class Disks:
    """Satisfies lifecycle.ports.Disks.

    Args:
        root: where the snapshotter keeps its files.
    """

    def __init__(self, rootfs: Rootfs, snapshotter: str, root: Path) -> None:
        self._rootfs = rootfs
        self._snapshotter = snapshotter
        self._root = root
        self._quota = _QUOTAS[snapshotter](root) if snapshotter in _QUOTAS else None

    def check(self, size: int, security: Security) -> None:
        """Raises InvalidSpec with the reason if this node cannot limit such a container so."""
        with _translated("find out which quota this node has", None):
            why = why_not(self._snapshotter, self._root) or _exempt(self._root, security)
        if why is not None:
            raise InvalidSpec(
                f"cannot limit a container's disk to {size} bytes: {why}",
                field="limits.disk",
                hint="`longshore status` says what this node cannot do",
                details={"faults": [{"field": "limits.disk", "why": why}]},
            )

    def limit(self, names: Names, size: int) -> None:
        """Bytes that it may write from now on, beside what its image has.

        Raises:
            NotFound: it has no snapshot.
            HostFailed and its children: from the kernel or containerd.
        """
        if self._quota is None:
            raise HostFailed(
                f"cannot limit the disk of {names.id}: {self._snapshotter} has no quota",
                object=names.id,
            )
        folders = self._rootfs.writable(names)
        with _translated(f"limit the disk of {names.id} to {size} bytes", names.id):
            self._quota.limit(names, folders, size)

    def read(self, names: Names) -> int | None:
        """Bytes, as the kernel has it; None: no limit. Raises NotFound, HostFailed."""
        if self._quota is None:
            return None
        folders = self._rootfs.writable(names)
        with _translated(f"read the disk limit of {names.id}", names.id):
            return self._quota.read(names, folders) if self._quota.is_on() else None

    def remove(self, names: Names) -> None:
        """Also where the snapshot is gone, and its limit is not."""
        with _translated(f"remove the disk limit of {names.id}", names.id):
            if self._quota is None or not self._quota.is_on():
                return
            try:
                folders = self._rootfs.writable(names)
            except NotFound:
                folders = ()
            self._quota.remove(names, folders)

    def owned(self) -> set[str]:
        """Ids of containers with a limit; clears away limits of snapshots that are gone."""
        with _translated("list disk limits", None):
            if self._quota is None or not self._quota.is_on() or not self._quota.any_limited():
                return set()
        return {id for id in self._rootfs.owned() if self._has_limit(Names(id))}

    def _has_limit(self, names: Names) -> bool:
        try:
            return self.read(names) is not None
        except NotFound:
            # Only its lease is left, or it went just now.
            return False


def why_not(snapshotter: str, root: Path) -> str | None:
    """Why containers whose snapshots are in `root` cannot have a disk limit; None: they can.

    `root` may not be there yet.

    Raises:
        OSError: the kernel does not say what is mounted.
    """
    there = next(one for one in (root, *root.parents) if one.exists()).resolve()
    mount = containing(there, mount_points())
    where = f"{root} is on {mount.path} ({mount.filesystem})"
    if snapshotter == _BTRFS:
        # Switched on at the first limit, if that concerns nobody else.
        is_containerds = mount.root == Path("/") and mount.path.is_relative_to(
            root.parent.resolve()
        )
        if is_containerds or SubvolumeQuota(there).is_on():
            return None
        return f"{where}, which others use too, and its quota is off: `btrfs quota enable` it"
    if snapshotter != _OVERLAY:
        return f"snapshotter {snapshotter} has no quota; overlayfs and btrfs have"
    options = _PROJECT_QUOTA.get(mount.filesystem)
    if options is None:
        other = "; snapshotter btrfs has" if mount.filesystem == _BTRFS else ""
        return f"{where}, which has no project quota for overlay{other}"
    if not mount.options.intersection(options):
        return f"{where}, which is mounted without {options[0]}"
    if not ProjectQuota(there).is_on():
        return f"{where}, and the kernel has no project quota"
    return None


def _exempt(root: Path, security: Security) -> str | None:
    """Why quota would not bind this container; None: it does."""
    filesystem = containing(root.resolve(), mount_points()).filesystem
    has = effective_capabilities(
        security.cap_add, security.cap_drop, privileged=security.privileged
    )
    if filesystem not in _EXEMPTING or _EXEMPT not in has or security.user_namespace:
        return None
    return f"{_EXEMPT} is above the quota of {filesystem}; drop it, or use xfs or btrfs"


@contextmanager
def _translated(what: str, object: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise HostFailed(f"cannot {what}: {why}", object=object) from error
