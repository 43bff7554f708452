"""What callers and operators are shown: one value for the bus, the local API, JSON and tables.

Sizes are bytes, times Unix seconds, durations seconds, CPUs fractional cores. Models are lax on
the way in (they also read what protobuf's JSON mapping makes of an int64), frozen, and dump to
JSON types only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from longshore.model.limits import IoLimit, Limits, Ulimit


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; every field is there, None for what is not known."""
        return self.model_dump(mode="json")


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
    `restart_at`: Unix seconds when it will be. `health`: None: nothing is probed. `ids`: what its
    users are on the node, None: the same.
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
    health: HealthStatus | None = None
    ids: IdRange | None = None
    labels: dict[str, str] = {}
    steps: tuple[StepStatus, ...] = ()
    spec: dict[str, Any] = {}


class ImageStatus(Value):
    """`size`: bytes of content (compressed layers and config), 0 if that is not all there, or not
    for this node; `used_by`: names of containers.

    `used_at`: when a container was last made from it; None: not since it came.
    """

    name: str
    digest: str
    size: int
    created_at: float
    used_by: tuple[str, ...] = ()
    used_at: float | None = None


class ImageLayer(Value):
    """`size`: bytes as they are stored and sent, mostly compressed."""

    digest: str
    diff_id: str
    media_type: str
    size: int


class ImageDetail(ImageStatus):
    """An image with all that decides how its containers run.

    `names`: all names of its digest. `platform`: os/architecture[/variant]. `healthcheck` is
    kept and not run.
    """

    names: tuple[str, ...] = ()
    platform: str = ""
    layers: tuple[ImageLayer, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None


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
    """Names of images and containers that were removed; bytes of content that became free."""

    images: tuple[str, ...] = ()
    bytes: int = 0
    containers: tuple[str, ...] = ()


class NeighbourStatus(Value):
    """What the agent depends on: `state` is up, down or unknown; `since` when it became so."""

    name: str
    state: str
    version: str = ""
    since: float = 0.0
    detail: str = ""


class Resource(Value):
    """One thing a node can run out of. `unit`: cores, bytes or count.

    `capacity`, what may be promised to containers, is (`total` - `reserved`) * `ratio`.
    """

    name: str
    unit: str
    capacity: float
    claimed: float
    free: float
    total: float = 0.0
    reserved: float = 0.0
    ratio: float = 1.0


class Shortfall(Value):
    """What a node has too little of for a container."""

    resource: str
    unit: str
    asked: float
    free: float


class FitsStatus(Value):
    """Whether the node would take a container now; `error`: why not."""

    fits: bool
    error: ErrorStatus | None = None
    missing: tuple[Shortfall, ...] = ()


def _limits(value: Any) -> Any:
    """Strict mode takes a list for a tuple only from JSON; a newer agent knows more fields."""
    if not isinstance(value, Mapping):
        return value
    known = {name: one for name, one in value.items() if name in Limits.model_fields}
    return Limits.model_validate_json(json.dumps(known))


class FlavorStatus(Value):
    """A flavor of the node."""

    name: str
    description: str = ""
    limits: Annotated[Limits, BeforeValidator(_limits)] = Limits()


class VolumeStatus(Value):
    """A named volume. `path`: where its content is; `used_by`: names of containers."""

    name: str
    labels: dict[str, str] = {}
    created_at: float
    path: str
    used_by: tuple[str, ...] = ()


class Cannot(Value):
    """What this node cannot do, and why."""

    feature: str
    why: str


class ConvergeStatus(Value):
    """The last full pass over the node: when, how long, how many, and what it found and did."""

    at: float | None = None
    seconds: float = 0.0
    containers: int = 0
    findings: tuple[str, ...] = ()


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
    """One change of one container's state. `seq` counts up from 1 since the agent's start.

    `kind`: `state`; or what else changed while that stayed: `health`, `renamed`, `signalled` or
    `limits`. `exit_code`: of the process that has ended; None: there was none, or nobody saw how.
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


class ExecStatus(Value):
    """What came of a command in a container.

    `exit_code`: 128 and the signal if one ended it. What of both outputs is not UTF-8 is escaped
    (`\\xff`); `truncated`: there was more of one. `timed_out`: it was killed because of that.
    """

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    timed_out: bool = False
    seconds: float = 0.0


class ProcessStatus(Value):
    """A process in a container. `pid` and `parent` in its own numbering, `host_pid` in the node's;
    `user`: its name in there, or number; `cpu_seconds`: used so far; `rss`: bytes of memory;
    `state`: the kernel's letter."""

    pid: int
    parent: int
    host_pid: int
    user: str
    state: str
    started_at: float
    cpu_seconds: float
    rss: int
    command: str


class CpuStats(Value):
    """Seconds since the container's start. `cores`: used on average since the reading before, None
    in a first one. `periods`: how many it had under a quota, and in how many it was `throttled`,
    for how many seconds."""

    seconds: float = 0.0
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    cores: float | None = None
    limit: float | None = None
    periods: int = 0
    throttled: int = 0
    throttled_seconds: float = 0.0


class MemoryStats(Value):
    """Bytes. `working_set`: `usage` without the file cache that the kernel may drop at once.

    `peak`, `limit`: None: the kernel does not say; no limit. `at_limit`: how often it was at its
    limit; `killed`: how many processes the kernel killed to free memory."""

    usage: int = 0
    working_set: int = 0
    cache: int = 0
    rss: int = 0
    swap: int = 0
    peak: int | None = None
    limit: int | None = None
    at_limit: int = 0
    killed: int = 0


class BlockStats(Value):
    """Bytes and operations of block devices, since the start. `device`: its path, or `8:0`."""

    device: str
    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


class NetworkStats(Value):
    """Of one interface, as seen from inside the container, since its start."""

    interface: str
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


class PressureStats(Value):
    """Percent of the time that some, or all, of its processes waited for `resource` (cpu, memory or
    io) in the last 10, 60 and 300 seconds (PSI)."""

    resource: str
    some: tuple[float, ...] = ()
    full: tuple[float, ...] = ()


class ContainerStats(Value):
    """What a running container uses; `at`: Unix seconds. The same fields on cgroup v1, hybrid and
    v2. `pressure` is empty where the kernel has none."""

    id: str
    name: str
    at: float
    cpu: CpuStats = CpuStats()
    memory: MemoryStats = MemoryStats()
    pids: int = 0
    pids_limit: int | None = None
    block: tuple[BlockStats, ...] = ()
    network: tuple[NetworkStats, ...] = ()
    pressure: tuple[PressureStats, ...] = ()


class PathStatus(Value):
    """A file in a container. `mode` has the type too, as in stat(2); `link`: what it points to."""

    name: str
    size: int
    mode: int
    modified_at: float
    link: str = ""


class Difference(Value):
    """One path of the writable layer. `kind`: added, changed or deleted, against the image."""

    path: str
    kind: str


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


@dataclass(frozen=True)
class LogChunk:
    """Bytes as the container wrote them. `stream`: stdout or stderr.

    `at`: Unix seconds at which they had been written, as far as the time index tells; 0 if it was
    not asked for, or does not know.
    """

    stream: str
    data: bytes
    at: float = 0.0
