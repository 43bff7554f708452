"""What the journal keeps of a container: what was promised, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from longshore.model import status
from longshore.model.anonymous import with_anonymous
from longshore.model.host import AppliedLimits, Ids, Image, Nic, PublishedPort, User
from longshore.model.mounts import Bind, Borrowed, Mount, NamedVolume, Tmpfs
from longshore.model.names import Names
from longshore.model.reference import canonical
from longshore.model.spec import ContainerSpec
from longshore.model.state import Desired, State
from longshore.model.status import HealthStatus, OutOfMemory
from longshore.model.versions import Held, Remake, Trial


class Facts(BaseModel):
    """What was decided (nics, ports) before, and found out during, the last create or start.

    Args:
        oci: digest of the OCI spec in containerd's record.
    """

    model_config = ConfigDict(frozen=True)

    nics: tuple[Nic, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    image: Image | None = None
    user: User | None = None
    pid: int | None = None
    limits: AppliedLimits | None = None
    ids: Ids | None = None
    oci: str | None = None


class Record(BaseModel):
    """One container. Times are Unix seconds.

    Args:
        desired: what is wanted in the end, by whom (`desired_by`) and since when (`desired_at`).
        grace: seconds between stop signal and SIGKILL that the last stop or delete asked for,
            None for the spec's.
        reason: why it is in `state`, for people.
        error: `LongshoreError.to_dict` of the last thing that failed, None when all went well.
        leftovers: undos that failed and are retried; while there are any, nothing it claimed
            is given to others.
        out_of_memory: the last time that the kernel killed a process of it to free memory.
        contents: of the files in `spec`, which has none itself, until they are written.
        sealed: name of a secret that came with the request → its value, encrypted.
        restarts: how often it was started again by itself since a request last started it.
        tries: how many of its runs in a row ended soon, or never began, for the pause before the
            next.
        restart_at: when it is to be started again; None: it is not, or at once.
        health: what its probes found in this run.
        paused: the agent froze its processes for a while; whoever finds it so lets them go on.
        version: number of `spec` among the container's; the journal has them from the first update
            on.
        pending: a version that takes its place once its process has ended.
        trial: `spec` is new, and what comes back if it is no good.
        remake: what its next start makes anew.
        with_credential: the request brought a credential for the image, which is kept in memory
            alone.
        steps: name and seconds of each step of the last create or start.
    """

    model_config = ConfigDict(frozen=True)

    spec: ContainerSpec
    generation: int
    desired: Desired
    desired_by: str
    desired_at: float
    grace: float | None = None
    state: State
    reason: str
    error: dict[str, Any] | None = None
    leftovers: tuple[str, ...] = ()
    facts: Facts = Facts()
    steps: tuple[tuple[str, float], ...] = ()
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    out_of_memory: OutOfMemory | None = None
    restarts: int = 0
    tries: int = 0
    restart_at: float | None = None
    health: HealthStatus | None = None
    contents: tuple[str, ...] = ()
    sealed: Mapping[str, str] = {}
    paused: bool = False
    version: int = 1
    pending: Held | None = None
    trial: Trial | None = None
    remake: Remake = Remake.NOTHING
    with_credential: bool = False

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def names(self) -> Names:
        return Names(self.spec.id)

    @property
    def uses(self) -> tuple[str, ...]:
        """What must not be removed: the digests of its image and of one that it is to have, or the
        canonical name of one that is still to be found. A create that failed needs nothing."""
        if self.state is State.FAILED:
            return ()
        image = self.facts.image
        new = self.pending.image if self.pending else None
        found = image.digest if image else canonical(self.spec.image)
        return (found, new.digest) if new else (found,)

    def but(self, **changes: Any) -> Record:
        """A copy with these fields changed."""
        return self.model_copy(update=changes)

    def status(self) -> status.ContainerStatus:
        """What callers are shown of it."""
        image, spec, facts = self.facts.image, self.spec, self.facts
        running = self.state in (State.RUNNING, State.PAUSED)
        return status.ContainerStatus(
            id=self.id,
            name=self.name,
            image=spec.image,
            image_digest=image.digest if image else None,
            state=self.state,
            desired=self.desired,
            generation=self.generation,
            reason=self.reason,
            error=status.ErrorStatus(**self.error) if self.error else None,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            pid=facts.pid if running else None,
            command=_command(self),
            nics=tuple(status.NicStatus(**vars(nic)) for nic in facts.nics),
            ports=tuple(
                status.PortStatus(
                    protocol=port.protocol,
                    host_ip=port.host_ip,
                    host_port=port.host_port,
                    container_port=port.container_port,
                )
                for port in facts.ports
            ),
            mounts=_mounts(self),
            limits=status.LimitsStatus(**vars(facts.limits)) if facts.limits else None,
            out_of_memory=self.out_of_memory,
            restarts=self.restarts,
            restart_at=self.restart_at,
            version=self.version,
            pending_version=self.pending.number if self.pending else None,
            previous_version=self.trial.previous.number if self.trial else None,
            health=self.health,
            ids=status.IdRange(**vars(facts.ids)) if facts.ids else None,
            labels={**(image.config.labels if image else {}), **spec.labels},
            steps=tuple(
                status.StepStatus(name=name, seconds=seconds) for name, seconds in self.steps
            ),
            spec=spec.model_dump(mode="json"),
        )


def _mounts(record: Record) -> tuple[status.MountStatus, ...]:
    """Those of the spec and, once the image is known, its anonymous volumes."""
    image, spec = record.facts.image, record.spec
    volumes = image.config.volumes if image else ()
    return tuple(
        status.MountStatus(
            type="anonymous" if isinstance(mount, Borrowed) else mount.type,
            source=_source(mount),
            target=mount.target,
            read_only=not isinstance(mount, Tmpfs) and mount.read_only,
        )
        for mount in with_anonymous(spec.mounts, volumes, record.id)
    )


def _source(mount: Mount) -> str:
    match mount:
        case Bind():
            return mount.source
        case NamedVolume():
            return mount.name or ""
        case Borrowed():
            return mount.container
        case Tmpfs():
            return ""


def _command(record: Record) -> tuple[str, ...]:
    """Entrypoint and command as they run, once the image is known."""
    spec, image = record.spec, record.facts.image
    if image is None:
        return (spec.entrypoint or ()) + spec.command
    if spec.entrypoint is not None:
        return spec.entrypoint + spec.command
    return image.config.entrypoint + (spec.command or image.config.command)
