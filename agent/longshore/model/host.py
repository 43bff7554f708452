"""What the host side reports: plain values that lifecycle and host agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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


@dataclass(frozen=True)
class Image:
    """An image on this node, unpacked. `size` is its content in bytes, `created_at` Unix seconds."""

    name: str
    digest: str
    chain_id: str
    size: int
    created_at: float
    config: ImageConfig


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
    """Limits read back from the cgroup, in the spec's units; None: unlimited or not readable."""

    memory: int | None = None
    memory_swap: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    cpuset: str | None = None
    pids: int | None = None


@dataclass(frozen=True)
class User:
    """Whom the process runs as, in numbers."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/root"
