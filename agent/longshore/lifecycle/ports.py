"""What lifecycle needs of the host, stated by the one who needs it.

daemon.py passes the real neighbours (host/), tests pass fakes that pass the same contract
tests. Rules for all of them:

- every call ends: it has a deadline of its own and raises DeadlineExceeded, which means
  'unknown', never 'done';
- errors are longshore.errors, translated where they arise;
- making is idempotent: making what is there already succeeds;
- removing is safe when nothing was ever made, and removes nothing that was not made here;
- `owned()` names the container ids that something on the host still belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from longshore.model.host import (
    AppliedLimits,
    Exit,
    Image,
    Nic,
    PublishedPort,
    Task,
    User,
)
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec, Limits, Mount


class Images(Protocol):
    def get(self, name: str) -> Image:
        """Raises ImageNotFound."""

    def list(self) -> Sequence[Image]: ...

    def load(self, archive: Path) -> Sequence[Image]:
        """Imports an OCI-layout tar and unpacks it. Raises BadImage."""


class Rootfs(Protocol):
    def prepare(self, names: Names, image: Image) -> None:
        """Takes a lease, then makes a writable snapshot of the image under it."""

    def release(self, names: Names) -> None:
        """Gives the lease back: the container's record protects the snapshot now."""

    def remove(self, names: Names) -> None: ...

    def user(self, names: Names, user: str) -> User:
        """Numbers for `name[:group]` from the snapshot's /etc. Raises StartFailed."""

    def owned(self) -> set[str]: ...


class Containers(Protocol):
    def put(self, names: Names, image: Image, oci: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Creates or replaces containerd's record."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Tasks(Protocol):
    def create(self, names: Names, stdout: Path, stderr: Path) -> int:
        """Returns the pid of the waiting first process. Raises StartFailed and its children."""

    def start(self, names: Names) -> None:
        """Raises CommandNotFound, StartFailed. A task that runs already is fine."""

    def kill(self, names: Names, signal: int, *, everyone: bool = False) -> None:
        """A task that is gone is fine."""

    def get(self, names: Names) -> Task: ...

    def list(self) -> Mapping[str, Task]: ...

    def wait(self, names: Names, on_exit: Callable[[], None]) -> None:
        """Calls `on_exit` from another thread once the task has ended or the wait broke."""

    def delete(self, names: Names) -> Exit | None:
        """Kills what is left of it, removes it, and says how it ended, None if there was none."""


class Network(Protocol):
    def attach(self, names: Names, nics: Sequence[Nic]) -> None:
        """Makes the netns (with loopback up) and the interfaces in it."""

    def detach(self, names: Names) -> None: ...

    def publish(self, names: Names, ports: Sequence[PublishedPort]) -> None: ...

    def unpublish(self, names: Names) -> None: ...

    def check_port_free(self, protocol: str, host_ip: str, host_port: int) -> None:
        """Raises PortInUse if a process of the node listens there."""

    def owned(self) -> set[str]: ...

    def orphan_interfaces(self, keep: set[str]) -> set[str]:
        """Removes the veths on our bridge whose name is not in `keep`; returns their names."""


class Volumes(Protocol):
    def check(self, mounts: Sequence[Mount]) -> None:
        """Raises PolicyForbids or InvalidSpec, with the field."""

    def mount(self, names: Names, mounts: Sequence[Mount]) -> None:
        """Resolves each bind source again, beneath its root, and binds it to Layout.volume."""

    def unmount(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Files(Protocol):
    def write(self, names: Names, spec: ContainerSpec, nics: Sequence[Nic]) -> None:
        """Log files and /etc/{hostname,hosts,resolv.conf}; never truncates a log."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...


class Cgroups(Protocol):
    def read(self, pid: int) -> AppliedLimits: ...

    def compare(self, wanted: Limits, applied: AppliedLimits) -> Sequence[str]:
        """One sentence per limit that did not take effect."""

    def remove(self, names: Names) -> None: ...

    def owned(self) -> set[str]: ...
