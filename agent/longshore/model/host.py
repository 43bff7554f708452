"""What the host side reports: plain values that lifecycle and host agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from longshore.model.limits import IoLimit, Ulimit


@dataclass(frozen=True)
class ImageConfig:
    """The part of an OCI image config that decides how a container runs."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Such as `80/tcp`: what it serves on, for who publishes them.
    exposed_ports: tuple[str, ...] = ()
    #: Paths whose content outlives a stop and goes with the container (anonymous volumes).
    volumes: tuple[str, ...] = ()
    #: As Docker's config has it (Test, Interval, … in nanoseconds); kept and shown, not run.
    healthcheck: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Image:
    """An image on this node, unpacked. `size`: bytes of content; `created_at`: Unix seconds.

    `key` is its source's (`ImageSource.key`) when it came from one that has other keys than the
    target's digest.
    """

    name: str
    digest: str
    chain_id: str
    size: int
    created_at: float
    config: ImageConfig
    key: str = ""


class TaskStatus(StrEnum):
    """A task's life as containerd tells it; ABSENT is ours, UNKNOWN means 'look again'."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Task:
    """The task of one container; `exited_at` in Unix seconds."""

    status: TaskStatus = TaskStatus.ABSENT
    pid: int = 0
    exit_code: int | None = None
    exited_at: float | None = None


@dataclass(frozen=True)
class Exit:
    """How a task ended: `code` as the shell has it (128 + signal), time in Unix seconds."""

    code: int
    at: float


@dataclass(frozen=True)
class Nic:
    """One interface of a container as it is made: all decided, nothing left to choose."""

    network: str
    interface: str
    mac: str
    address: str
    prefix: int
    gateway: str


@dataclass(frozen=True)
class PublishedPort:
    """One DNAT: `host_ip:host_port` of the node to `address:container_port`."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    container_port: int


@dataclass(frozen=True)
class AppliedLimits:
    """Limits read back from the kernel, in the spec's units; None: unlimited or not readable.

    `ulimits`, `io` and `hugepages` have what was asked for, as the kernel has it; `gone` the paths
    of `io` that are no disk any more.
    """

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    oom_policy: str | None = None
    oom_score_adj: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    cpuset: str | None = None
    pids: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int | None = None
    io_weight: int | None = None
    io: tuple[IoLimit, ...] = ()
    gone: tuple[str, ...] = ()
    hugepages: Mapping[str, int] = field(default_factory=dict)
    disk: int | None = None


@dataclass(frozen=True)
class MemoryUse:
    """What a cgroup's memory came to. `cgroup`: its path beneath the controller's root; `peak`
    and `limit` in bytes, None: the kernel does not say, or none; `killed`: how many processes the
    kernel killed in it to free memory."""

    cgroup: str
    peak: int | None = None
    limit: int | None = None
    killed: int = 0


@dataclass(frozen=True)
class Ids:
    """User and group 0 in the container are `first` on the node, and so on for `size` of them."""

    first: int
    size: int

    def outside(self, number: int) -> int:
        """The node's number of the container's. Raises ValueError for one that it has not."""
        if not 0 <= number < self.size:
            raise ValueError(f"{number} is not below {self.size}")
        return self.first + number

    def covers(self, number: int) -> bool:
        """Whether this number of the node's is one of them."""
        return self.first <= number < self.first + self.size


@dataclass(frozen=True)
class User:
    """Whom the process runs as, in numbers."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/root"


@dataclass(frozen=True)
class Runtime:
    """The OCI runtime that containerd runs containers with, and why this one.

    `binary` is a name in containerd's PATH or a path; `systemd_cgroup` says that systemd makes
    the cgroups, so that `daemon-reload` leaves their limits alone. `bundles` is where containerd
    was seen to make the bundles of our namespace.
    """

    name: str
    binary: str
    systemd_cgroup: bool
    why: str
    bundles: Path = Path("/run/containerd/io.containerd.runtime.v2.task/longshore")
