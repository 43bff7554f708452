"""The cgroups of our containers: limits read back, leftovers removed.

The runtime makes a container's cgroup and writes its limits. Two drivers give it two places:
`<parent>/<id>` (cgroupfs) and `<parent>.slice/<parent>-<id>.scope` (systemd), below the root
of every v1 hierarchy or of the one v2 hierarchy (cgroup_places.py).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from longshore.errors import NotFound
from longshore.host import cgroup_v1, cgroup_v2, process_limits
from longshore.host.block_devices import disk_numbers
from longshore.host.cgroup_levels import is_asked
from longshore.host.cgroup_memory import memory_use
from longshore.host.cgroup_places import Hierarchies, container_of, levels_of, unread
from longshore.host.cgroup_tree import children, failed, processes, remove_tree, write
from longshore.host.cgroup_writes import writes
from longshore.model.host import AppliedLimits, MemoryUse
from longshore.model.limits import Limits
from longshore.model.names import CGROUP_PARENT, Names


class Cgroups:
    """Satisfies lifecycle.ports.Cgroups.

    Args:
        root: where the cgroup file systems are mounted.
        proc: where proc is mounted.
        patience: seconds that `remove` waits for the last process to leave.
        parent: what holds all cgroups of ours; another agent on this host has another one.
    """

    def __init__(
        self,
        root: Path = Path("/sys/fs/cgroup"),
        proc: Path = Path("/proc"),
        patience: float = 1.0,
        parent: str = CGROUP_PARENT,
    ) -> None:
        self._there = Hierarchies(root, proc)
        self._proc = proc
        self._patience = patience
        self._parent = parent
        self._slice = f"{parent}.slice"

    def mode(self) -> str:
        """`v2`, `hybrid` or `v1`."""
        return self._there.mode

    def controllers(self) -> set[str]:
        """Every controller that containers can be given here."""
        return set().union(*(place.controllers for place in self._there.places("self")))

    def swap_accounting(self) -> bool:
        """Whether memory and swap together can be limited."""
        if "memory" in self._there.unified_controllers():
            # The root cgroup has no limits; any child that has them shows what the kernel offers.
            limited = {file.parent for file in self._there.unified.glob("*/memory.max")}
            return not limited or any((child / "memory.swap.max").exists() for child in limited)
        folder = self._there.v1_folder("memory")
        return folder is not None and (folder / "memory.memsw.limit_in_bytes").exists()

    def settable(self) -> set[str]:
        """The controllers that runtimes limit containers with: on a hybrid host those of v1."""
        if self._there.mode == "v2":
            return set(self._there.unified_controllers())
        return {
            name
            for place in self._there.places("self")
            if place.numbered
            for name in place.controllers
        }

    def weighs_io(self) -> bool:
        """Whether v2's cost model shares out block I/O by weight, without any scheduler."""
        try:
            return "enable=1" in (self._there.root / "io.cost.qos").read_text()
        except OSError:
            return False

    def memory(self, names: Names) -> MemoryUse | None:
        """Also when its processes have ended, until its cgroup is removed: by the runtime when the
        task is deleted, but by systemd at once. None: no cgroup."""
        root = self._there.root if self._there.mode == "v2" else self._there.v1_folder("memory")
        if root is None:
            return None
        for cgroup in self._own_cgroups(names):
            folder = root / cgroup
            try:
                used = memory_use(folder, f"/{cgroup}", unified=self._there.mode == "v2")
            except OSError as error:
                raise failed("read", folder, error) from error
            if used is not None:
                return used
        return None

    def read(self, pid: int, limits: Limits, *, asked_only: bool = False) -> AppliedLimits:
        """The limits that bind the process `pid` of a container.

        Args:
            limits: of those that are many (ulimits, disks, huge pages), what it asks for is read.
            asked_only: so of all others, which saves most of the files.

        Raises:
            NotFound: no such process, or it is in no container's cgroup.
            HostFailed: the kernel does not let us.
        """
        try:
            return self._read(str(pid), limits, limits if asked_only else None)
        except OSError as error:
            raise unread(pid, error) from error

    def _read(self, pid: str, limits: Limits, only: Limits | None) -> AppliedLimits:
        applied = self._of_process(self._proc / pid, limits, only)
        disks = disk_numbers(one.device for one in limits.io)
        gone = tuple(one.device for one in limits.io if one.device not in disks)
        applied = replace(applied, gone=gone)
        there = self._there.cgroup_of(pid)
        found = False
        for place in self._there.parsed(there):
            levels = levels_of(place)
            if not levels:
                continue
            found = True
            version = cgroup_v2 if self._there.is_unified(place) else cgroup_v1
            for controller in sorted(place.controllers & version.READERS.keys()):
                if only is None or is_asked(only, controller):
                    applied = version.READERS[controller](applied, levels)
            if version is cgroup_v2:
                applied = cgroup_v2.shares_as_asked(applied, limits.cpu_shares)
            if limits.io and place.controllers & {"io", "blkio"}:
                applied = replace(applied, io=version.io(levels, limits, disks))
            if limits.hugepages and "hugetlb" in place.controllers:
                applied = replace(applied, hugepages=version.hugepages(levels, limits))
        if not found:
            raise NotFound(
                f"cannot read the limits of process {pid}: it is in no container's cgroup",
                object=pid,
            )
        # The cgroup of a process that ended meanwhile is gone, and would look like one without
        # any limits.
        if self._there.cgroup_of(pid) != there:
            raise ProcessLookupError(errno.ESRCH, "it ended")
        return applied

    def mend(self, pid: int, limits: Limits) -> None:
        """Sets those that runtimes do not change while it runs: oom_policy, io, io_weight,
        hugepages; and of the process `pid` alone ulimits and oom_score_adj.

        Raises:
            NotFound: no such process.
            HostFailed: the kernel does not let us.
        """
        disks = disk_numbers(one.device for one in limits.io)
        for place in self._there.places(str(pid)):
            unified = self._there.is_unified(place)
            for one in writes(limits, disks, unified=unified):
                for level in levels_of(place) if one.controller in place.controllers else ():
                    write(level, one)
        folder = self._proc / str(pid)
        try:
            has = self._of_process(folder, limits)
        except OSError as error:
            raise unread(pid, error) from error
        # First what the process cannot have moved itself so that we may not.
        if limits.oom_score_adj not in (None, has.oom_score_adj):
            process_limits.set_oom_score_adj(folder, limits.oom_score_adj)
        process_limits.set_ulimits(pid, limits.ulimits, {one.name: one for one in has.ulimits})

    def _of_process(
        self, folder: Path, limits: Limits, only: Limits | None = None
    ) -> AppliedLimits:
        shm = only is None or only.shm_size is not None
        return AppliedLimits(
            ulimits=process_limits.ulimits(folder, (one.name for one in limits.ulimits)),
            oom_score_adj=process_limits.oom_score_adj(folder),
            shm_size=process_limits.shm_size(folder, self._proc / "meminfo") if shm else None,
        )

    def processes(self, names: Names) -> set[int]:
        """Pids in the container's cgroup and below it, in any hierarchy."""
        return {pid for folder in self._folders(names) for pid in processes(folder)}

    def remove(self, names: Names) -> None:
        """Removes what the runtime left of the container's cgroup, everywhere. Kills nothing.

        Raises:
            HostBusy: processes are still in it.
        """
        deadline = time.monotonic() + self._patience
        for folder in self._folders(names):
            remove_tree(folder, deadline)

    def owned(self) -> set[str]:
        """Ids of the containers that have a cgroup in any hierarchy."""
        return {
            container
            for hierarchy in self._there.folders()
            for parent in (self._parent, self._slice)
            for child in children(hierarchy / parent)
            if (container := container_of(child.name)) is not None
        }

    def teardown(self) -> None:
        """Removes the empty parent of all our cgroups; one that is in use stays. For uninstall."""
        for hierarchy in self._there.folders():
            try:
                (hierarchy / self._parent).rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                    raise failed("remove", hierarchy / self._parent, error) from error

    def _folders(self, names: Names) -> Iterator[Path]:
        """Where either driver puts the container, in each hierarchy; few of them are there."""
        for hierarchy in self._there.folders():
            yield from (hierarchy / cgroup for cgroup in self._own_cgroups(names))

    def _own_cgroups(self, names: Names) -> tuple[str, str]:
        return (
            f"{self._parent}/{names.id}",
            f"{self._slice}/{self._parent}-{names.id}.scope",
        )
