"""Neighbours in memory, for timing and failure; what they may do is checked by tests/contract.

A `FakeHost` is what survives when the agent dies: build a second lifecycle on the same one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakes.images import IMAGE, FakeImages, FakeSources
from fakes.storage import FakeData, FakeDisks, FakeFiles, FakeNamedVolumes, FakeSecrets, FakeVolumes
from longshore.errors import HostBusy, ImageNotFound, NotFound
from longshore.lifecycle.ports import Host
from longshore.model.host import (
    AppliedLimits,
    Exit,
    Ids,
    Image,
    MemoryUse,
    Nic,
    PublishedPort,
    Task,
    TaskStatus,
    User,
)
from longshore.model.layout import Layout
from longshore.model.limits import Limits
from longshore.model.names import Names


class FakeRootfs:
    """Args:
    unpacked: chain ids of the images whose layers are here.
    """

    def __init__(self, unpacked: set[str]) -> None:
        self.unpacked = unpacked
        #: Whose → the digest of the image that it is made of.
        self.snapshots: dict[str, str] = {}
        self.leases: set[str] = set()

    def prepare(self, names: Names, image: Image) -> None:
        self.leases.add(names.id)
        if image.chain_id not in self.unpacked:
            raise ImageNotFound(f"cannot use image {image.name}: not unpacked", object=image.name)
        self.snapshots.setdefault(names.id, image.digest)

    def release(self, names: Names) -> None:
        self.leases.discard(names.id)

    def remove(self, names: Names) -> None:
        self.snapshots.pop(names.id, None)

    def user(self, names: Names, user: str, groups: Sequence[str] = ()) -> User:
        return User()

    def owned(self) -> set[str]:
        return set(self.snapshots) | self.leases


@dataclass
class FakeRecords:
    tasks: FakeTasks
    there: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def put(
        self, names: Names, image: Image, oci: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        self.there[names.id] = oci

    def remove(self, names: Names) -> None:
        if names.id in self.tasks.there:
            raise HostBusy(f"cannot remove the record of {names.id}: its task is there")
        self.there.pop(names.id, None)

    def owned(self) -> set[str]:
        return set(self.there)


class FakeTasks:
    """A stop signal ends the process at once, unless `stubborn`."""

    def __init__(self) -> None:
        self.there: dict[str, Task] = {}
        self.created: list[str] = []
        self.updated: list[tuple[str, Limits]] = []
        self.stubborn = False
        self._waiters: dict[str, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def begin(
        self,
        names: Names,
        stdout: Path,
        stderr: Path,
        ids: Ids | None = None,
        *,
        tty: bool = False,
        stdin: bool = False,
    ) -> None:
        self.create(names, stdout, stderr)

    def create(
        self,
        names: Names,
        stdout: Path,
        stderr: Path,
        ids: Ids | None = None,
        *,
        tty: bool = False,
        stdin: bool = False,
    ) -> int:
        there = self.get(names)
        if there.status not in (TaskStatus.ABSENT, TaskStatus.STOPPED):
            return there.pid
        self.created.append(names.id)
        self.there[names.id] = Task(TaskStatus.CREATED, 100 + len(self.created))
        return self.there[names.id].pid

    def update(self, names: Names, limits: Limits) -> None:
        self.updated.append((names.id, limits))

    def start(self, names: Names, console: Path | None = None) -> None:
        self.there[names.id] = Task(TaskStatus.RUNNING, self.there[names.id].pid)

    def pause(self, names: Names) -> None:
        there = self.get(names)
        if there.status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
            raise NotFound(f"cannot pause {names.id}: it does not run", object=names.id)
        self.there[names.id] = replace(there, status=TaskStatus.PAUSED)

    def resume(self, names: Names) -> None:
        there = self.get(names)
        if there.status is TaskStatus.PAUSED:
            self.there[names.id] = replace(there, status=TaskStatus.RUNNING)

    def kill(self, names: Names, signal: int, *, everyone: bool = False) -> None:
        # A frozen process gets its signals when it is thawed; here they are lost.
        if not self.stubborn and self.get(names).status is not TaskStatus.PAUSED:
            self.end(names.id, 128 + signal)

    def get(self, names: Names) -> Task:
        return self.there.get(names.id, Task())

    def list(self) -> Mapping[str, Task]:
        return dict(self.there)

    def wait(self, names: Names, on_exit: Callable[[], None]) -> None:
        with self._lock:
            self._waiters.setdefault(names.id, []).append(on_exit)

    def delete(self, names: Names) -> Exit | None:
        task = self.there.pop(names.id, None)
        self._wake(names.id)
        if task is None:
            return None
        code = task.exit_code
        return Exit(137 if code is None else code, 2.0)

    def end(self, id: str, code: int) -> None:
        """The container's process ends."""
        if id in self.there:
            self.there[id] = Task(TaskStatus.STOPPED, 0, code, 2.0)
        self._wake(id)

    def _wake(self, id: str) -> None:
        with self._lock:
            waiters = self._waiters.pop(id, [])
        for waiter in waiters:
            waiter()


@dataclass
class FakeNetwork:
    attached: dict[str, tuple[Nic, ...]] = field(default_factory=dict)
    published: dict[str, tuple[PublishedPort, ...]] = field(default_factory=dict)
    orphans: set[str] = field(default_factory=set)

    def prepare(self) -> bool:
        return False

    def open(self, names: Names, ids: Ids | None = None) -> None:
        self.attached.setdefault(names.id, ())

    def attach(self, names: Names, nics: Sequence[Nic]) -> None:
        self.attached[names.id] = tuple(nics)

    def detach(self, names: Names) -> None:
        self.attached.pop(names.id, None)

    def publish(self, names: Names, ports: Sequence[PublishedPort]) -> None:
        self.published[names.id] = tuple(ports)

    def unpublish(self, names: Names) -> None:
        self.published.pop(names.id, None)

    def check_port_free(self, protocol: str, host_ip: str, host_port: int) -> None: ...

    def owned(self) -> set[str]:
        return set(self.attached) | set(self.published)

    def orphan_interfaces(self, keep: Callable[[], set[str]]) -> set[str]:
        gone = set(self.orphans) - keep()
        self.orphans -= gone
        return gone


@dataclass
class FakeUserNamespaces:
    there: dict[str, Ids] = field(default_factory=dict)

    def check(self) -> None: ...

    def make(self, names: Names, ids: Ids) -> None:
        self.there[names.id] = ids

    def remove(self, names: Names) -> None:
        self.there.pop(names.id, None)

    def owned(self) -> set[str]:
        return set(self.there)


@dataclass
class FakeCgroups:
    applied: AppliedLimits = field(default_factory=AppliedLimits)
    used: MemoryUse | None = None
    mended: list[Limits] = field(default_factory=list)

    def read(self, pid: int, limits: Limits, *, asked_only: bool = False) -> AppliedLimits:
        return self.applied

    def mend(self, pid: int, limits: Limits) -> None:
        self.mended.append(limits)

    def memory(self, names: Names) -> MemoryUse | None:
        return self.used

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]:
        return set()


@dataclass
class FakeHost:
    """`looked_up`: what of the node goes into an OCI spec."""

    sources: FakeSources = field(default_factory=FakeSources)
    tasks: FakeTasks = field(default_factory=FakeTasks)
    network: FakeNetwork = field(default_factory=FakeNetwork)
    volumes: FakeVolumes = field(default_factory=FakeVolumes)
    named: FakeNamedVolumes = field(default_factory=FakeNamedVolumes)
    data: FakeData = field(default_factory=FakeData)
    disks: FakeDisks = field(default_factory=FakeDisks)
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    users: FakeUserNamespaces = field(default_factory=FakeUserNamespaces)
    files: FakeFiles = field(default_factory=FakeFiles)
    cgroups: FakeCgroups = field(default_factory=FakeCgroups)
    looked_up: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rootfs = FakeRootfs({IMAGE.chain_id})
        self.images = FakeImages(self.rootfs.unpacked, self.rootfs.leases)
        self.records = FakeRecords(self.tasks)

    def host(self, layout: Layout) -> Host:
        return Host(
            layout,
            self.images,
            self.rootfs,
            self.records,
            self.tasks,
            self.network,
            self.volumes,
            self.named,
            self.data,
            self.disks,
            self.secrets,
            self.users,
            self.files,
            self.cgroups,
            oci=lambda spec, names, config, user, ids: {"hostname": spec.name, **self.looked_up},
        )

    def left(self) -> dict[str, set[str]]:
        """Everything on the host that belongs to some container."""
        found = {
            "snapshots": set(self.rootfs.snapshots),
            "leases": set(self.rootfs.leases),
            "records": set(self.records.there),
            "tasks": set(self.tasks.there),
            "namespaces": set(self.network.attached),
            "ports": set(self.network.published),
            "mounts": set(self.volumes.mounted),
            "data": set(self.data.filled),
            "disks": set(self.disks.limits),
            "secrets": set(self.secrets.written),
            "users": set(self.users.there),
            "files": set(self.files.there),
            "shown files": set(self.files.shown),
        }
        return {what: ids for what, ids in found.items() if ids}
