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


class ContainerStatus(Value):
    """A container as the journal has it.

    `spec` is as it was asked for, with the flavor's limits and the mounts of `volumes_from` filled
    in, and without the values of secrets. `ids`: what its users are on the node, None: the same.
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
    """What was removed: names of images, and bytes of content that became free."""

    images: tuple[str, ...] = ()
    bytes: int = 0


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


@dataclass(frozen=True)
class LogChunk:
    """Bytes as the container wrote them. `stream`: stdout or stderr."""

    stream: str
    data: bytes
