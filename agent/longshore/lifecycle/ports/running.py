"""What a container runs in: its root file system, its task, its cgroup, its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from longshore.model.host import (
    AppliedLimits,
    Exit,
    Ids,
    Image,
    MemoryUse,
    Task,
    User,
)
from longshore.model.limits import Limits
from longshore.model.names import Names
from longshore.model.security import Security


class Rootfs(Protocol):
    def prepare(self, names: Names, image: Image) -> None:
        """Makes a writable snapshot of the image under the container's lease, taking it if it is
        not there."""

    def release(self, names: Names) -> None:
        """Gives the lease back: the container's record protects the snapshot now."""

    def remove(self, names: Names) -> None: ...

    def user(self, names: Names, user: str, groups: Sequence[str] = ()) -> User:
        """Numbers for `name[:group]`, and the supplementary groups beside those that /etc/group
        gives the user, from the snapshot's /etc. Raises StartFailed."""

    def owned(self) -> set[str]: ...


class ContainerRecords(Protocol):
    """containerd's own records; they hold the OCI spec and keep the snapshot from collection."""

    def put(
        self, names: Names, image: Image, oci: Mapping[str, Any], labels: Mapping[str, str]
    ) -> None:
        """Creates or replaces containerd's record."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Tasks(Protocol):
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
        """Asks for the task and returns at once; what comes of it, `create` says. `ids`: its root
        file system is what `UserNamespaces` made of the snapshot. `tty`: a terminal, all of whose
        output goes to `stdout`. `stdin`: its input is what comes through a `Console`."""

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
        """Returns the pid of the waiting first process, begun here or before.

        Raises StartFailed and its children.
        """

    def start(self, names: Names, console: Path | None = None) -> None:
        """Raises CommandNotFound, StartFailed. A task that runs already is fine. `console`: the
        file that has the output of its terminal, also of earlier runs."""

    def update(self, names: Names, limits: Limits) -> None:
        """Has the runtime set the limits of its cgroup again. Raises NotFound, and HostFailed for
        what the kernel does not take."""

    def pause(self, names: Names) -> None:
        """Freezes its processes; a task that is paused stays so."""

    def resume(self, names: Names) -> None:
        """A task that runs, or is gone, is fine."""

    def kill(self, names: Names, signal: int, *, everyone: bool = False) -> None:
        """A task that is gone is fine."""

    def get(self, names: Names) -> Task: ...

    def list(self) -> Mapping[str, Task]: ...

    def wait(self, names: Names, on_exit: Callable[[], None]) -> None:
        """Calls `on_exit` from another thread once the task has ended or the wait broke."""

    def delete(self, names: Names) -> Exit | None:
        """Kills what is left of it, removes it, and says how it ended, None if there was none."""


class Disks(Protocol):
    """How much a container may write into its own layer."""

    def check(self, size: int, security: Security) -> None:
        """Raises InvalidSpec with the reason if this node cannot limit such a container so."""

    def limit(self, names: Names, size: int) -> None:
        """Bytes. The snapshot is there."""

    def read(self, names: Names) -> int | None:
        """As the kernel has it; None: no limit."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class UserNamespaces(Protocol):
    """Users of a container that are nobody on the node."""

    def check(self) -> None:
        """Raises InvalidSpec with the reason if this node cannot."""

    def make(self, names: Names, ids: Ids) -> None:
        """The namespace, and the container's snapshot as seen from in there."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Cgroups(Protocol):
    def read(self, pid: int, limits: Limits, *, asked_only: bool = False) -> AppliedLimits:
        """As the kernel has them, all but `disk`. Of those that are many (ulimits, io, hugepages),
        with `asked_only` of all, what is asked for in `limits`. Raises NotFound."""

    def mend(self, pid: int, limits: Limits) -> None:
        """Sets those that `Tasks.update` cannot: oom_policy, io, io_weight, hugepages, and of the
        process itself ulimits and oom_score_adj. Raises NotFound, HostFailed."""

    def memory(self, names: Names) -> MemoryUse | None:
        """Also when its processes have ended, until its cgroup is removed: by the runtime when the
        task is deleted, but by systemd at once. None: no cgroup."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...
