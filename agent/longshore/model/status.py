"""What callers and operators are shown: one value for the bus, the local API, JSON and tables.

Sizes are bytes, times Unix seconds, durations seconds, CPUs fractional cores. Models are lax on
the way in (they also read what protobuf's JSON mapping makes of an int64), frozen, and dump to
JSON types only.
"""

from __future__ import annotations

from typing import Any

from longshore.model.image_status import ImageDetail, ImageLayer, ImageStatus
from longshore.model.inside_status import (
    BlockStats,
    ContainerStats,
    CpuStats,
    Difference,
    ExecStatus,
    MemoryStats,
    NetworkStats,
    PathStatus,
    PressureStats,
    ProcessStatus,
)
from longshore.model.limits import IoLimit, Ulimit
from longshore.model.log_status import LogChunk, LogLine, LogsStatus
from longshore.model.node_status import (
    Cannot,
    ConvergeStatus,
    FlavorStatus,
    Resource,
    Shortfall,
    VolumeStatus,
)
from longshore.model.value import Value

__all__ = [
    "BlockStats",
    "Cannot",
    "Change",
    "ContainerStats",
    "ContainerStatus",
    "ConvergeStatus",
    "CpuStats",
    "Difference",
    "ErrorStatus",
    "ExecStatus",
    "FieldChange",
    "FitsStatus",
    "FlavorStatus",
    "HealthStatus",
    "IdRange",
    "ImageDetail",
    "ImageLayer",
    "ImageStatus",
    "LayerStatus",
    "LimitsStatus",
    "LogChunk",
    "LogLine",
    "LogsStatus",
    "MemoryStats",
    "MountStatus",
    "NeighbourStatus",
    "NetworkStats",
    "NicStatus",
    "NodeStatus",
    "OutOfMemory",
    "PathStatus",
    "PlanStatus",
    "PortStatus",
    "PressureStats",
    "ProcessStatus",
    "PruneStatus",
    "Resource",
    "Shortfall",
    "StepStatus",
    "StoryEntry",
    "StoryStatus",
    "TransferStatus",
    "Value",
    "VersionStatus",
    "VolumeStatus",
]


class NicStatus(Value):
    network: str
    interface: str
    mac: str
    address: str
    prefix: int
    gateway: str


class PortStatus(Value):
    protocol: str
    host_ip: str
    host_port: int
    container_port: int


class LimitsStatus(Value):
    """As read back from the kernel when last looked at; None: not limited, or not readable here."""

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
    hugepages: dict[str, int] = {}
    disk: int | None = None


class OutOfMemory(Value):
    """The last time that the kernel killed a process of it to free memory.

    `cgroup`: its path beneath the memory controller's root. `peak`: most bytes that it ever had,
    `limit`: bytes it could have had; None: not known, or no limit.
    """

    at: float
    cgroup: str = ""
    peak: int | None = None
    limit: int | None = None


class MountStatus(Value):
    """Something that a container sees beside its image's files.

    `type`: bind, volume, tmpfs or anonymous. `source`: a path on the node, the volume's name, or
    the container whose anonymous volume it is.
    """

    type: str
    source: str = ""
    target: str
    read_only: bool = False


class IdRange(Value):
    """User and group 0 in the container are `first` on the node, and so on for `size` of them."""

    first: int
    size: int


class StepStatus(Value):
    """One step of the last create or start, as it ran."""

    name: str
    seconds: float


class ErrorStatus(Value):
    """`LongshoreError.to_dict`."""

    code: str
    error: str = ""
    message: str = ""
    retry: bool = False
    field: str | None = None
    object: str | None = None
    hint: str | None = None
    details: dict[str, Any] = {}


class HealthStatus(Value):
    """What the probes of this run found. `state`: starting, healthy or unhealthy.

    `failures`: in a row. `at`: Unix seconds of the last probe, `seconds` how long it took, `output`
    what it said. `acted`: Unix seconds of each time in the last hour that on_unhealthy acted.
    """

    state: str = "starting"
    failures: int = 0
    at: float | None = None
    seconds: float = 0.0
    output: str = ""
    acted: tuple[float, ...] = ()


class ContainerStatus(Value):
    """A container as the journal has it.

    `spec` is as it was asked for, with the flavor's limits and the mounts of `volumes_from` filled
    in, and without the values of secrets. `exit_code`: 128 and the signal if one ended it.
    `restarts`: how often it was started again by itself since a request last started it;
    `restart_at`: Unix seconds when it will be. `version`: which of its specs it has,
    `pending_version` which one once it is started again; `previous_version`: the one that comes
    back if the new one is no good, None: it is in use for good. `health`: None: nothing is probed.
    `ids`: what its users are on the node, None: the same.
    """

    id: str
    name: str
    image: str
    image_digest: str | None = None
    state: str
    desired: str
    generation: int
    reason: str
    error: ErrorStatus | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    pid: int | None = None
    command: tuple[str, ...] = ()
    nics: tuple[NicStatus, ...] = ()
    ports: tuple[PortStatus, ...] = ()
    mounts: tuple[MountStatus, ...] = ()
    limits: LimitsStatus | None = None
    out_of_memory: OutOfMemory | None = None
    restarts: int = 0
    restart_at: float | None = None
    version: int = 1
    pending_version: int | None = None
    previous_version: int | None = None
    health: HealthStatus | None = None
    ids: IdRange | None = None
    labels: dict[str, str] = {}
    steps: tuple[StepStatus, ...] = ()
    spec: dict[str, Any] = {}


class LayerStatus(Value):
    """`done` of `total` bytes. `state`: waiting, moving, unpacking or done."""

    digest: str
    done: int = 0
    total: int = 0
    state: str = "waiting"


class TransferStatus(Value):
    """An image on its way. `state`: waiting, resolving, moving, unpacking, done or failed.

    `direction`: pull or push. `waiters`: calls and containers that wait for it. `total` is 0 until
    it is known what comes; both count the layers alone. `error`: why it failed.
    """

    image: str
    direction: str = "pull"
    digest: str | None = None
    state: str = "waiting"
    done: int = 0
    total: int = 0
    layers: tuple[LayerStatus, ...] = ()
    started_at: float = 0.0
    waiters: int = 0
    error: ErrorStatus | None = None


class PruneStatus(Value):
    """Names of images and containers that were removed; bytes of content that became free.

    `failures`: of each that could not be removed, which and why.
    """

    images: tuple[str, ...] = ()
    bytes: int = 0
    containers: tuple[str, ...] = ()
    failures: tuple[ErrorStatus, ...] = ()


class NeighbourStatus(Value):
    """What the agent depends on: `state` is up, down or unknown; `since` when it became so."""

    name: str
    state: str
    version: str = ""
    since: float = 0.0
    detail: str = ""


class FitsStatus(Value):
    """Whether the node would take a container now; `error`: why not."""

    fits: bool
    error: ErrorStatus | None = None
    missing: tuple[Shortfall, ...] = ()


class NodeStatus(Value):
    name: str
    version: str
    boot_id: str
    kernel: str
    started_at: float
    runtime: str
    runtime_why: str
    cgroup_mode: str
    snapshotter: str
    snapshotter_why: str
    neighbours: tuple[NeighbourStatus, ...] = ()
    resources: tuple[Resource, ...] = ()
    transfers: tuple[TransferStatus, ...] = ()
    containers: dict[str, int] = {}
    cannot: tuple[Cannot, ...] = ()
    converge: ConvergeStatus = ConvergeStatus()


class Change(Value):
    """One change of one container's state. `seq` counts up, and goes on higher after a new start
    of the agent.

    `kind`: `state`; or what else changed while that stayed: `health`, `renamed`, `signalled`,
    `updated` or `limits`; or `gap`, of no container: changes before it are missing, and the reason
    says why.
    `exit_code`: of the process that has ended; None: there was none, or nobody saw how.
    """

    seq: int
    at: float
    id: str
    name: str
    previous: str
    state: str
    generation: int
    reason: str
    exit_code: int | None = None
    kind: str = "state"


class FieldChange(Value):
    """One field of a spec that a patch changes. `before`, `after`: as JSON has them.

    `when`: `live`: in the running container; `restart`: once it is started again; `recreate`: with
    a new record around the same writable layer; `never`: not by an update. `why`: in words.
    """

    field: str
    before: Any = None
    after: Any = None
    when: str
    why: str


class PlanStatus(Value):
    """What a patch would change. `when`: the most that any of it takes, `nothing` if all is so
    already. `error`: why the node would not take it."""

    when: str
    changes: tuple[FieldChange, ...] = ()
    error: ErrorStatus | None = None


class VersionStatus(Value):
    """One version of a container's spec. `state`: in use, on trial, pending, earlier or taken back,
    and then `reason` says why. `changes`: against the version before it that is still known."""

    number: int
    state: str
    at: float
    by: str = ""
    reason: str = ""
    changes: tuple[FieldChange, ...] = ()
    spec: dict[str, Any] = {}


class StoryEntry(Value):
    """One thing that happened to a container. `what`: in words; `seconds`: how long it took."""

    at: float
    what: str
    seconds: float | None = None
    error: ErrorStatus | None = None


class StoryStatus(Value):
    """How a container came to be as it is, oldest first; `next`: what will happen, and `next_at`
    when, None: once somebody asks for it, or something happens to it."""

    container: ContainerStatus
    entries: tuple[StoryEntry, ...] = ()
    next: str = ""
    next_at: float | None = None


class EventsStatus(Value):
    """Changes of the node's containers, oldest first; `last`: the number to ask for more with."""

    changes: tuple[Change, ...] = ()
    last: int = 0
