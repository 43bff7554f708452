"""What a node is: plain values for status and for admission."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """Facts of the node, as of the moment of asking.

    Attributes:
        boot_id: another one after each boot of the kernel.
        cpus: the CPUs that are online; what a `cpuset` may name.
        memory: bytes.
        pid_max: the kernel hands out fewer process ids than this.
        disk: bytes of the file system that the agent's state is on.
    """

    kernel: str
    boot_id: str
    cpus: frozenset[int]
    memory: int
    pid_max: int
    disk: int

    @property
    def cpu_count(self) -> int:
        return len(self.cpus)


@dataclass(frozen=True)
class Space:
    """Bytes of a file system."""

    used: int
    total: int

    @property
    def free(self) -> int:
        return self.total - self.used

    @property
    def percent(self) -> float:
        return 100.0 * self.used / max(1, self.total)
