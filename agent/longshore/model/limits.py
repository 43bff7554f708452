"""What a container may use of the node, as it is asked for. Sizes are bytes, CPUs fractional cores.

Every field can be left open (None, or empty); then the flavor's counts, and after that the node
sets no limit. Sources: cgroups(7), getrlimit(2), and the kernel's admin-guide/cgroup-v{1,2}.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from longshore.model.linux import RLIMITS
from longshore.model.values import MIB, AbsolutePath, Name, Part, Text, fault, one_of, unique

#: runc and crun cannot set themselves up inside less; Docker refuses the same.
MEMORY_MIN = 6 * MIB
#: Of /dev/shm, unless something else is asked for.
SHM_SIZE = 64 * MIB
#: Fields of Limits that are bytes.
BYTES = frozenset({"memory", "memory_reservation", "memory_swap", "shm_size", "disk"})
_CPUSET = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")
_PAGE = re.compile(r"([1-9]\d{0,3})(KB|MB|GB)")
_UNITS = {"KB": 2**10, "MB": 2**20, "GB": 2**30}

Memory = Annotated[int, Field(ge=MEMORY_MIN, le=2**53)]
Rate = Annotated[int, Field(ge=1, le=2**53)]
#: The kernel keeps operations a second in 32 bits, the largest of which means no limit.
Operations = Annotated[int, Field(ge=1, le=2**32 - 2)]


class Ulimit(Part):
    name: Annotated[str, one_of("resource limit, such as nofile", RLIMITS)]
    soft: Annotated[int, Field(ge=0, le=2**63 - 1)]
    hard: Annotated[int, Field(ge=0, le=2**63 - 1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.soft > self.hard:
            raise fault("soft", "must not be above hard")
        return self


class IoLimit(Part):
    """Bytes and operations a second of one block device of the node, named by its path."""

    device: AbsolutePath
    read_bps: Rate | None = None
    write_bps: Rate | None = None
    read_iops: Operations | None = None
    write_iops: Operations | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if (self.read_bps, self.write_bps, self.read_iops, self.write_iops) == (None,) * 4:
            raise ValueError("needs a read_bps, write_bps, read_iops or write_iops")
        return self


class Limits(Part):
    """Args:
    cpu_shares: weight against others when CPUs are short (v1 shares, also under cgroup v2).
    memory_reservation: what the kernel leaves it when memory is short.
    memory_swap: memory plus swap, as the OCI spec has it.
    oom_policy: what happens at the memory limit. continue: the kernel kills one process; kill:
        all of the container's; pause: none, they wait. None: continue.
    oom_score_adj: who is killed first when the whole node is short, -1000 (last) to 1000.
    shm_size: of /dev/shm; None: SHM_SIZE.
    io_weight: share of block I/O against others, 10 to 1000 (the kernel's default is 100 or 500).
    hugepages: size of the page, such as 2MB → bytes.
    disk: bytes that it may write beside its volumes: its own layer above the image.
    """

    cpus: Annotated[float, Field(gt=0, le=4096, strict=False, allow_inf_nan=False)] | None = None
    cpu_shares: Annotated[int, Field(ge=2, le=262144)] | None = None
    cpuset: str | None = None
    memory: Memory | None = None
    memory_reservation: Memory | None = None
    memory_swap: Memory | None = None
    oom_policy: Literal["continue", "kill", "pause"] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    pids: Annotated[int, Field(ge=1, le=4194304)] | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: Annotated[int, Field(ge=4096, le=2**53)] | None = None
    io_weight: Annotated[int, Field(ge=10, le=1000)] | None = None
    io: Annotated[tuple[IoLimit, ...], Field(max_length=32)] = ()
    hugepages: dict[str, Annotated[int, Field(ge=0, le=2**53)]] = Field(default_factory=dict)
    disk: Annotated[int, Field(ge=MIB, le=2**60)] | None = None

    @field_validator("cpus", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("must be a number of cores, like 1.5")  # noqa: TRY004 - pydantic's contract
        return value

    @field_validator("cpus")
    @classmethod
    def _grain(cls, value: float | None) -> float | None:
        if value is not None and value < 0.01:
            raise ValueError("must be at least 0.01: the kernel's smallest quota is 1 ms in 100 ms")
        return value

    @field_validator("cpuset")
    @classmethod
    def _list_format(cls, value: str | None) -> str | None:
        if value is not None:
            if not _CPUSET.fullmatch(value):
                raise ValueError("must be a list like 0-3,5")
            cpus_of(value)
        return value

    @field_validator("ulimits")
    @classmethod
    def _once(cls, value: tuple[Ulimit, ...]) -> tuple[Ulimit, ...]:
        unique([one.name for one in value], "ulimit", "name")
        return value

    @field_validator("io")
    @classmethod
    def _device_once(cls, value: tuple[IoLimit, ...]) -> tuple[IoLimit, ...]:
        unique([one.device for one in value], "device", "device")
        return value

    @field_validator("hugepages")
    @classmethod
    def _whole_pages(cls, value: dict[str, int]) -> dict[str, int]:
        for size, limit in value.items():
            if limit % page_size(size):
                raise ValueError(f"{limit} bytes are no whole number of pages of {size}")
        return value

    @model_validator(mode="after")
    def _memory(self) -> Self:
        if self.memory_swap is not None:
            if self.memory is None:
                raise fault("memory_swap", "needs memory")
            if self.memory_swap < self.memory:
                raise fault("memory_swap", "is memory plus swap and must not be below memory")
        if self.memory is not None and (self.memory_reservation or 0) > self.memory:
            raise fault("memory_reservation", "must not be above memory")
        if self.oom_policy not in (None, "continue") and self.memory is None:
            raise fault("oom_policy", f"{self.oom_policy} needs memory, a limit to be reached")
        return self

    def over(self, base: Limits) -> Limits:
        """These, and the base's where nothing is asked for here. A list or map as a whole takes the
        place of the base's.

        With a memory of its own, the base's reservation is at most that, and its swap as much
        beside it.

        Raises:
            ValueError: they contradict each other.
        """
        asked = {name: value for name, value in self if value not in (None, (), {})}
        given = dict(base)
        if self.memory is not None:
            if base.memory_reservation is not None:
                given["memory_reservation"] = min(base.memory_reservation, self.memory)
            if base.memory is not None and base.memory_swap is not None:
                given["memory_swap"] = self.memory + base.memory_swap - base.memory
        return Limits(**{**given, **asked})


class Flavor(Part):
    """A set of limits with a name, as the node has it."""

    name: Name
    description: Text = ""
    limits: Limits


class FlavorAsked(Part):
    """A flavor of the node's, or with `limits` one that the request brings along."""

    name: Name
    limits: Limits | None = None


def cpus_of(cpuset: str) -> frozenset[int]:
    """The CPUs that a kernel list like `0-3,5` names.

    Raises:
        ValueError: a range that runs backwards.
    """
    cpus: set[int] = set()
    for part in cpuset.split(","):
        low, _, high = part.partition("-")
        if int(high or low) < int(low):
            raise ValueError(f"{part} runs backwards")
        cpus.update(range(int(low), int(high or low) + 1))
    return frozenset(cpus)


def page_size(text: str) -> int:
    """Bytes of `2MB`, as the OCI spec and cgroup files name sizes of huge pages.

    Raises:
        ValueError: it is not written so.
    """
    match = _PAGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size of a huge page, such as 2MB")
    return int(match[1]) * _UNITS[match[2]]
