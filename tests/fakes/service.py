"""A `lifecycle.service.Service` in memory, for the front doors' tests.

It keeps the one promise that the front doors build on: the same request id again is answered
with what came of the first. A test makes a verb wait or fail by its name, and reads `calls`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fakes.execs import FakeAttachment, FakeExecs, FakeProcess
from fakes.usage import BUSY, IDLE, PROCESSES
from longshore.errors import ContainerNotFound, Interrupted, VolumeNotFound
from longshore.model.commit import Commit
from longshore.model.execs import Command, Session
from longshore.model.filters import EVERYTHING, Filter, Outline, select
from longshore.model.limits import IoLimit, Limits, Ulimit
from longshore.model.names import Names
from longshore.model.reference import canonical
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec, parse
from longshore.model.status import (
    Change,
    ContainerStats,
    ContainerStatus,
    Difference,
    ErrorStatus,
    ExecStatus,
    FieldChange,
    FitsStatus,
    FlavorStatus,
    ImageDetail,
    ImageStatus,
    LayerStatus,
    LogChunk,
    LogLine,
    LogsStatus,
    NodeStatus,
    PathStatus,
    PlanStatus,
    ProcessStatus,
    PruneStatus,
    Shortfall,
    StoryEntry,
    StoryStatus,
    TransferStatus,
    VersionStatus,
    VolumeStatus,
)
from longshore.model.transfer import Auth, Credential, PullPolicy

T = TypeVar("T")


IMAGE = ImageStatus(name="web:1", digest="sha256:" + "0" * 64, size=3, created_at=1.0)
DETAIL = ImageDetail(**IMAGE.to_dict(), names=("web:1", "web:2"), env=("A=b",), healthcheck={})
MOVING = TransferStatus(
    image="web:1",
    digest=IMAGE.digest,
    state="moving",
    done=2**40,
    total=2**41,
    layers=(LayerStatus(digest="sha256:" + "1" * 64, done=2**40, total=2**41, state="moving"),),
    started_at=1.5,
    waiters=2,
)
DONE = MOVING.model_copy(update={"state": "done", "done": 2**41})
FLAVORS = (
    FlavorStatus(name="bare"),
    FlavorStatus(
        name="general-small",
        description="a small service",
        limits=Limits(
            cpus=0.5,
            memory=2**40,
            ulimits=(Ulimit(name="nofile", soft=1024, hard=4096),),
            io=(IoLimit(device="/dev/vda", read_bps=2**40),),
            hugepages={"2MB": 2**21},
        ),
    ),
)
FIT = FitsStatus(fits=True)
UNFIT = FitsStatus(
    fits=False,
    error=ErrorStatus(
        code="exhausted",
        error="Exhausted",
        message="cannot create container web: not enough memory: asked 2 GiB, 512 MiB free",
        field="limits.memory",
        object="web",
        details={"missing": [{"resource": "memory"}]},
    ),
    missing=(Shortfall(resource="memory", unit="bytes", asked=2**31, free=2**29),),
)
VOLUME = VolumeStatus(
    name="data",
    labels={"tier": "db"},
    created_at=1.5,
    path="/var/lib/longshore/volumes/data/data",
    used_by=("db", "web"),
)
LONELY = VolumeStatus(name="lonely", created_at=2.5, path="/var/lib/longshore/volumes/lonely/data")
PRUNED_CONTAINERS = PruneStatus(
    containers=("old", "older"),
    failures=(
        ErrorStatus(
            code="volume_in_use", error="VolumeInUse", message="cannot delete", object="db"
        ),
    ),
)
PLAN = PlanStatus(
    when="restart",
    changes=(
        FieldChange(field="env[A]", after="1", when="restart", why="its process gets it"),
        FieldChange(
            field="limits.memory", before=2**40, after=2**41, when="live", why="the kernel's"
        ),
        FieldChange(field="mounts", before=[], after=[{"type": "tmpfs"}], when="restart", why="x"),
    ),
    error=UNFIT.error,
)
_SPEC = {"id": "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": "told", "image": "busybox:latest"}
VERSIONS = tuple(
    VersionStatus(
        number=number,
        state=state,
        at=1.5 * number,
        by="local uid 0",
        reason="its process ended at once" if state == "taken back" else "",
        changes=PLAN.changes if number > 1 else (),
        spec=parse({**_SPEC, "env": {"A": str(number)}}).model_dump(mode="json"),
    )
    for number, state in enumerate(("earlier", "taken back", "in use", "pending"), start=1)
)
FILE = PathStatus(name="app.conf", size=2**40, mode=0o100644, modified_at=1.5)
DIFFERENCES = (
    Difference(path="/etc", kind="changed"),
    Difference(path="/etc/app.conf", kind="added"),
    Difference(path="/etc/motd", kind="deleted"),
)
PRUNED = PruneStatus(images=("web:0",), bytes=2**40)


def container(spec: ContainerSpec, state: str) -> ContainerStatus:
    return ContainerStatus(
        id=spec.id,
        name=spec.name,
        image=spec.image,
        image_digest=IMAGE.digest,
        state=state,
        desired=state,
        generation=1,
        reason="asked",
        created_at=1.5,
        spec=spec.model_dump(mode="json"),
    )


def outline(one: ContainerStatus) -> Outline:
    health = one.health.state if one.health else None
    return Outline(
        *(one.id, one.name, one.state, one.created_at, canonical(one.image)),
        *(one.image_digest, one.labels, health),
    )


STORY = StoryStatus(
    container=container(parse(_SPEC), "restarting"),
    entries=(
        StoryEntry(at=1.5, what="create by test, request r1, generation 1: absent → creating"),
        StoryEntry(at=2.5, what="creating → running: it runs", seconds=0.25),
        StoryEntry(at=3.5, what="its network is not whole", error=UNFIT.error),
    ),
    next="it is started again",
    next_at=4.5,
)


@dataclass
class FakeService:
    """`calls` counts arrivals by verb, `done` what was carried out; all is thread-safe.

    `absent`: images that a create or start would have to wait for. `given`: arguments of the verbs
    that concern images, volumes and many containers, in order; `filters` those of lists. `left`:
    waits whose callers left. `transfers`: pulls, pushes and copies whose callers are still there.
    `tars`: what is copied out, and what was copied in. `processes`: those attached to, by ref.
    """

    gates: dict[str, threading.Event] = field(default_factory=dict)
    failures: dict[str, list[BaseException]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)
    containers: dict[str, ContainerStatus] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    credentials: list[Credential | None] = field(default_factory=list)
    given: list[tuple[Any, ...]] = field(default_factory=list)
    volume_requests: list[str] = field(default_factory=list)
    prune_requests: list[tuple[str, str]] = field(default_factory=list)
    filters: list[Filter] = field(default_factory=list)
    left: int = 0
    news: list[Change] = field(default_factory=list)
    tars: list[bytes] = field(default_factory=list)
    spool: Path = Path("/nonexistent")
    transfers: int = 0
    execs: FakeExecs = field(default_factory=FakeExecs)
    processes: dict[str, FakeProcess] = field(default_factory=dict)
    most: int = 0
    _outcomes: dict[str, ContainerStatus] = field(default_factory=dict)
    _now: int = 0
    _arrival: threading.Condition = field(default_factory=threading.Condition)

    def hold(self, verb: str) -> threading.Event:
        """Calls of the verb wait until the event is set."""
        return self.gates.setdefault(verb, threading.Event())

    def fail(self, verb: str, *errors: BaseException) -> None:
        """The verb's next calls raise these, one each."""
        self.failures.setdefault(verb, []).extend(errors)

    def wait_for(self, verb: str, count: int, seconds: float = 20.0) -> None:
        """Until the verb was called so often; raises TimeoutError."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: self.calls[verb] >= count, seconds):
                raise TimeoutError(f"{verb} was called {self.calls[verb]} times, not {count}")

    def create(
        self,
        request: Request,
        spec: ContainerSpec,
        *,
        start: bool = True,
        credential: Credential | None = None,
    ) -> ContainerStatus:
        with self._arrival:
            self.credentials.append(credential)
        made = container(spec, "running" if start else "created")
        if not self.is_ready(spec):
            made = made.model_copy(update={"image_digest": None})
        return self._change("create", request, made)

    def is_ready(self, spec: ContainerSpec) -> bool:
        return spec.image not in self.absent

    def start(self, request: Request, ref: str) -> ContainerStatus:
        return self._change("start", request, self._known(ref, "running"))

    def stop(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        return self._change("stop", request, self._known(ref, f"stopped after {grace}"))

    def delete(self, request: Request, ref: str, *, force: bool = False) -> ContainerStatus:
        return self._change("delete", request, self._known(ref, f"absent, forced {force}"))

    def restart(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        return self._change("restart", request, self._known(ref, f"restarted after {grace}"))

    def kill(self, request: Request, ref: str, *, signal: str = "SIGKILL") -> ContainerStatus:
        return self._change("kill", request, self._known(ref, f"killed by {signal}"))

    def pause(self, request: Request, ref: str) -> ContainerStatus:
        return self._change("pause", request, self._known(ref, "paused"))

    def unpause(self, request: Request, ref: str) -> ContainerStatus:
        return self._change("unpause", request, self._known(ref, "running"))

    def rename(self, request: Request, ref: str, name: str) -> ContainerStatus:
        return self._change("rename", request, self._known(ref, f"renamed to {name}"))

    def show(self, ref: str) -> ContainerStatus:
        self._arrive("show")
        return self._known(ref, self.containers[ref].state if ref in self.containers else "")

    def list(self, filter: Filter = EVERYTHING) -> Sequence[ContainerStatus]:
        self.filters.append(filter)
        self._arrive("list")
        shown = {one.id: one for one in self.containers.values()}
        return [shown[id] for id in select(map(outline, shown.values()), filter)]

    def wait(
        self, ref: str, condition: str, timeout: float, still: Callable[[], bool] = lambda: True
    ) -> ContainerStatus:
        with self._arrival:
            self.given.append(("wait", ref, condition, timeout))
        error = self._note("wait")
        if error is not None:
            raise error
        while "wait" in self.gates and not self.gates["wait"].wait(0.02):
            if not still():
                with self._arrival:
                    self.left += 1
                raise Interrupted("cannot wait: nobody waits any more")
        return self._known(ref, self.containers[ref].state if ref in self.containers else "")

    def prune_containers(
        self, labels: Sequence[str], age: float, *, request_id: str, origin: str
    ) -> PruneStatus:
        self.prune_requests.append((request_id, origin))
        return self._answer(PRUNED_CONTAINERS, "prune_containers", tuple(labels), age)

    def plan(self, ref: str, patch: Mapping[str, Any]) -> PlanStatus:
        return self._answer(PLAN, "plan", ref, dict(patch))

    def stats(self, refs: Sequence[str], *, again: bool = False) -> Sequence[ContainerStats]:
        return self._answer([BUSY, IDLE] if not refs else [BUSY], "stats", tuple(refs), again)

    def top(self, ref: str) -> Sequence[ProcessStatus]:
        return self._answer(PROCESSES, "top", ref)

    def load_image(self, archive: Path) -> Sequence[ImageStatus]:
        self._arrive("load_image")
        return [IMAGE.model_copy(update={"name": str(archive)})]

    def load_spooled_image(self, archive: Path) -> Sequence[ImageStatus]:
        return self.load_image(archive)

    @property
    def spool_dir(self) -> Path:
        return self.spool

    def list_images(self) -> Sequence[ImageStatus]:
        self._arrive("list_images")
        return [IMAGE]

    def show_image(self, name: str) -> ImageDetail:
        return self._answer(DETAIL, "show_image", name)

    def pull_image(
        self, name: str, policy: PullPolicy, auth: Auth
    ) -> Generator[TransferStatus, None, ImageStatus]:
        yield from self._transfer("pull_image", name, policy, auth)
        return IMAGE

    def prefetch_image(self, name: str, policy: PullPolicy, auth: Auth) -> TransferStatus:
        return self._answer(MOVING, "prefetch_image", name, policy, auth)

    def push_image(
        self, name: str, to: str, auth: Auth
    ) -> Generator[TransferStatus, None, TransferStatus]:
        yield from self._transfer("push_image", name, to, auth)
        return DONE.model_copy(update={"direction": "push"})

    def tag_image(self, name: str, new: str) -> ImageStatus:
        return self._answer(IMAGE, "tag_image", name, new)

    def remove_image(self, name: str) -> ImageStatus:
        return self._answer(IMAGE, "remove_image", name)

    def prune_images(self, *, all: bool = False) -> PruneStatus:
        return self._answer(PRUNED, "prune_images", all)

    def save_images(self, names: Sequence[str]) -> Iterator[bytes]:
        self._answer(None, "save_images", names)
        yield from (b"", b"one ", bytes(2_500_000))

    def save_images_to(self, names: Sequence[str], archive: Path) -> None:
        self._answer(None, "save_images", names, archive)

    def commit(self, ref: str, name: str, change: Commit) -> ImageStatus:
        return self._answer(IMAGE, "commit", ref, name, change)

    def copy_out(
        self, ref: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        status = self._answer(FILE, "copy_out", ref, path, follow_link)

        def pieces() -> Generator[bytes, None, None]:
            self.transfers += 1
            try:
                yield from self.tars
            finally:
                self.transfers -= 1

        return status, pieces()

    def copy_in(
        self, request_id: str, ref: str, path: str, tar: Path, *, archive: bool, replace: bool
    ) -> int:
        self.volume_requests.append(request_id)
        self.tars.append(tar.read_bytes())
        return self._answer(3, "copy_in", ref, path, archive, replace)

    def diff(self, ref: str) -> Sequence[Difference]:
        return self._answer(DIFFERENCES, "diff", ref)

    def fits(self, spec: ContainerSpec) -> FitsStatus:
        return self._answer(UNFIT if spec.image in self.absent else FIT, "fits", spec)

    def list_flavors(self) -> Sequence[FlavorStatus]:
        return self._answer(FLAVORS, "list_flavors")

    def explain(self, ref: str) -> StoryStatus:
        found = self.containers.get(ref) or STORY.container
        return self._answer(STORY.model_copy(update={"container": found}), "explain", ref)

    def create_volume(
        self, name: str, labels: Mapping[str, str], *, request_id: str
    ) -> VolumeStatus:
        self.volume_requests.append(request_id)
        made = VOLUME.model_copy(update={"name": name, "labels": dict(labels)})
        return self._answer(made, "create_volume", name, dict(labels))

    def list_volumes(self) -> Sequence[VolumeStatus]:
        return self._answer([VOLUME, LONELY], "list_volumes")

    def show_volume(self, name: str) -> VolumeStatus:
        found = self._answer(
            {one.name: one for one in (VOLUME, LONELY)}.get(name), "show_volume", name
        )
        if found is None:
            raise VolumeNotFound(f"cannot find volume {name}: there is none", object=name)
        return found

    def remove_volume(self, name: str, *, request_id: str) -> VolumeStatus:
        self.volume_requests.append(request_id)
        return self._answer(LONELY, "remove_volume", name)

    def node_status(self) -> NodeStatus:
        self._arrive("node_status")
        words = "version boot_id kernel runtime runtime_why cgroup_mode snapshotter snapshotter_why"
        return NodeStatus(name="n1", started_at=1.0, **dict.fromkeys(words.split(), "x"))

    def changes(self, after: int, timeout: float) -> Sequence[Change]:
        def news() -> list[Change]:
            return [one for one in self.news if one.seq > after]

        with self._arrival:
            self.calls["changes"] += 1
            self._arrival.notify_all()
            self._arrival.wait_for(news, timeout)
            return news()

    def last_change(self) -> int:
        with self._arrival:
            return self.news[-1].seq if self.news else 0

    def tell(self, *changes: Change) -> None:
        """To who waits for changes."""
        with self._arrival:
            self.news.extend(changes)
            self._arrival.notify_all()

    def update(
        self,
        request: Request,
        ref: str,
        patch: Mapping[str, Any],
        *,
        apply: str = "now",
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        return self._versioned("update", request, ref, still, dict(patch), apply)

    def rollback(
        self,
        request: Request,
        ref: str,
        version: int | None = None,
        *,
        apply: str = "now",
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        return self._versioned("rollback", request, ref, still, version, apply)

    def rebuild(
        self, request: Request, ref: str, image: str, policy: PullPolicy, auth: Auth
    ) -> ContainerStatus:
        return self._versioned("rebuild", request, ref, lambda: True, image, policy, auth)

    def versions(self, ref: str) -> Sequence[VersionStatus]:
        return self._answer(VERSIONS, "versions", ref)

    def compare_versions(self, ref: str, before: int, after: int) -> Sequence[FieldChange]:
        return self._answer(PLAN.changes, "compare_versions", ref, before, after)

    def execute(
        self, request_id: str, ref: str, command: Command, *, timeout: float, output_max: int
    ) -> ExecStatus:
        asked = Names(self._known(ref, "running").id)
        self._answer(None, "execute", request_id, command, timeout, output_max)
        return self.execs.run(asked, command, timeout=timeout, output_max=output_max)

    def begin_exec(self, request_id: str, ref: str, command: Command) -> Session:
        self._answer(None, "exec", request_id, command)
        return self.execs.begin(Names(ref), command)

    def attach(
        self,
        ref: str,
        *,
        stdin: bool,
        from_start: bool,
        after: Mapping[str, int] | None = None,
    ) -> FakeAttachment:
        self._answer(None, "attach", ref, stdin, from_start, after)
        process = self.processes.setdefault(ref, FakeProcess())
        at = after["stdout"] if after else 0 if from_start else len(process.written)
        return FakeAttachment(process, ref, at)

    def logs(
        self,
        ref: str,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        stream: str | None = None,
    ) -> Iterator[LogChunk]:
        yield LogChunk("stdout", b"hello\n")

    def recent_logs(
        self,
        ref: str,
        *,
        tail: int,
        max_bytes: int,
        since: float | None = None,
        until: float | None = None,
        stream: str | None = None,
    ) -> LogsStatus:
        id = self._known(ref, "running").id
        lines = (LogLine(stream="stderr", at=5.0, text="hello"),)
        answer = LogsStatus(id=id, lines=lines, cut=True)
        return self._answer(answer, "logs", ref, tail, max_bytes, since, until, stream)

    def _answer(self, value: T, verb: str, *given: Any) -> T:
        with self._arrival:
            self.given.append((verb, *given))
        self._arrive(verb)
        return value

    def _versioned(
        self, verb: str, request: Request, ref: str, still: Callable[[], bool], *given: Any
    ) -> ContainerStatus:
        """Each request gives it one more version; with `apply` restart, once it is started again.
        Waits for the gate for as long as somebody waits for the answer."""
        with self._arrival:
            self.given.append((verb, ref, *given))
        while verb in self.gates and not self.gates[verb].wait(0.02):
            if not still():
                self._note(verb)
                with self._arrival:
                    self.left += 1
                raise Interrupted(f"cannot {verb}: nobody waits any more")
        with self._arrival:
            was = self._present(ref)
            new = max(was.version, was.pending_version or 0) + 1
            field = "pending_version" if "restart" in given else "version"
            return self._change(verb, request, was.model_copy(update={field: new}))

    def _transfer(self, verb: str, *given: Any) -> Iterator[TransferStatus]:
        """Says now and then that it waits for its gate."""
        with self._arrival:
            self.given.append((verb, *given))
            self.transfers += 1
        error = self._note(verb)
        try:
            if error is not None:
                raise error
            yield MOVING
            while verb in self.gates and not self.gates[verb].wait(0.05):
                yield MOVING
            yield DONE
        finally:
            with self._arrival:
                self.transfers -= 1

    def _present(self, ref: str) -> ContainerStatus:
        return self._known(ref, self.containers[ref].state if ref in self.containers else "")

    def _known(self, ref: str, state: str) -> ContainerStatus:
        if ref not in self.containers:
            raise ContainerNotFound(f"cannot find container {ref}: none here", object=ref)
        return self.containers[ref].model_copy(update={"state": state})

    def _change(self, verb: str, request: Request, status: ContainerStatus) -> ContainerStatus:
        with self._arrival:
            self.requests.append(request)
        self._arrive(verb)
        with self._arrival:
            if request.id not in self._outcomes:
                self._outcomes[request.id] = self.containers[status.id] = status
                self.done[verb] += 1
            return self._outcomes[request.id]

    def _arrive(self, verb: str) -> None:
        error = self._note(verb)
        with self._arrival:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if verb in self.gates and not self.gates[verb].wait(60):
                raise TimeoutError(f"the test has never opened the gate of {verb}")
        finally:
            with self._arrival:
                self._now -= 1
        if error is not None:
            raise error

    def _note(self, verb: str) -> BaseException | None:
        """Counts the call; returns what the test has it fail with."""
        with self._arrival:
            self.calls[verb] += 1
            failure = self.failures.get(verb) or None
            self._arrival.notify_all()
            return failure.pop(0) if failure else None
