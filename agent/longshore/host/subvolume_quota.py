"""Limits of btrfs subvolumes: which quota groups stand for a container, and when they may go.

With simple quota the container has a group of its own, named from its id, that its subvolume is a
member of; the kernel makes each subvolume that the container makes itself a member too, so it
gains nothing by that. With the older accounting quota the kernel does not do so, and the limit is
on the group that btrfs made with the subvolume: of what is exclusively its own, for the image's
files are shared.

Before Linux 6.10, and with simple quota sometimes later, the group of a subvolume outlives it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longshore.host import btrfs
from longshore.host.btrfs import Groups
from longshore.model.names import Names

#: Of the groups that are made here ('ls'), so that no number clashes with an operator's own.
_LEVEL = 0x6C73
#: Seconds, after which a group whose subvolume is not to be seen is not one that is being made.
_MADE = 2.0


@dataclass(frozen=True)
class SubvolumeQuota:
    """Of the btrfs that `folder` is in. All of it raises OSError.

    Two threads never change groups at once: one might find another's half-made and clear it away.
    """

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: Groups without a subvolume, and since when this is known.
    _gone: dict[int, float] = field(default_factory=dict)

    def is_on(self) -> bool:
        with btrfs.opened(self.folder) as fd:
            return btrfs.mode(fd) is not None

    def any_limited(self) -> bool:
        """Clears away what belongs to no subvolume any more."""
        with self._lock, btrfs.opened(self.folder) as fd:
            groups = btrfs.groups(fd)
            return bool(groups.limits.keys() - self._clear(fd, groups))

    def limit(self, names: Names, folders: Sequence[Path], size: int) -> None:
        """Switches quota on if it is off."""
        (subvolume,) = map(_subvolume, folders)
        with self._lock, btrfs.opened(self.folder) as fd:
            mode = btrfs.mode(fd)
            if mode is None:
                btrfs.enable_quota(fd)
                mode = btrfs.mode(fd)
            if mode is not None and mode.simple:
                group = _group(names)
                btrfs.make_group(fd, group)
                btrfs.join(fd, subvolume, group)
                btrfs.set_limit(fd, group, size, exclusive=False)
            else:
                btrfs.set_limit(fd, subvolume, size, exclusive=True)

    def read(self, names: Names, folders: Sequence[Path]) -> int | None:
        """None: there is no limit, or nothing that binds the subvolume to it."""
        (subvolume,) = map(_subvolume, folders)
        with btrfs.opened(self.folder) as fd:
            mode = btrfs.mode(fd)
            if mode is None:
                return None
            if mode.stale:
                btrfs.rescan(fd)
            if not mode.simple:
                return btrfs.limit_of(fd, subvolume)
            is_member = subvolume in btrfs.members_of(fd, _group(names))
            return btrfs.limit_of(fd, _group(names)) if is_member else None

    def remove(self, names: Names, folders: Sequence[Path]) -> None:
        """`folders`: none, if its subvolume is gone already."""
        with self._lock, btrfs.opened(self.folder) as fd:
            for subvolume in map(_subvolume, folders):
                if btrfs.limit_of(fd, subvolume) is not None:
                    btrfs.set_limit(fd, subvolume, None, exclusive=True)
            group = _group(names)
            for member in btrfs.members_of(fd, group):
                btrfs.leave(fd, member, group)
            btrfs.remove_group(fd, group)

    def _clear(self, fd: int, groups: Groups) -> set[int]:
        """Removes groups of subvolumes that are gone, then ours that have no members left; which.

        A subvolume that is being made has its group first, and a number higher than all others.
        """
        now, there = time.monotonic(), btrfs.subvolumes(fd)
        gone = {
            group: self._gone.get(group, now)
            for group in groups.used
            if btrfs.level(group) == 0 and group >= btrfs.FIRST_FREE and group not in there
        }
        self._gone.clear()
        self._gone.update(gone)
        newest = max(there, default=0)
        due = [one for one, since in gone.items() if one < newest or now - since > _MADE]
        # One whose data an image's layer still shares stays until that goes as well.
        removed = {group for group in due if btrfs.remove_group(fd, group)}
        ours = {group for group in groups.used if btrfs.level(group) == _LEVEL}
        empty = {group for group in ours if removed.issuperset(groups.members.get(group, ()))}
        return removed | {group for group in empty if btrfs.remove_group(fd, group)}


def _subvolume(folder: Path) -> int:
    with btrfs.opened(folder) as fd:
        return btrfs.subvolume_of(fd)


def _group(names: Names) -> int:
    """Its tail is the one in the names of interfaces: a clash is one in 2**48 a pair."""
    return btrfs.group_at(_LEVEL, int(names.id[-12:], 16))
