"""The whole of what the front doors offer, put together from its parts; see `Service`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longshore.lifecycle.admission import Admission
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.containers import Containers
from longshore.lifecycle.copying import Copying
from longshore.lifecycle.execs import Commands
from longshore.lifecycle.fitting import Fitting
from longshore.lifecycle.history import History
from longshore.lifecycle.images import Images
from longshore.lifecycle.node import Node
from longshore.lifecycle.planning import Planning
from longshore.lifecycle.ports.logs import LogFiles
from longshore.lifecycle.pruning import Pruning
from longshore.lifecycle.rebuilding import Rebuilding
from longshore.lifecycle.recent_logs import recent
from longshore.lifecycle.stats import Stats
from longshore.lifecycle.story import Stories
from longshore.lifecycle.updates import Updates
from longshore.lifecycle.volumes import Volumes
from longshore.lifecycle.waiting import Waiting
from longshore.model.commit import Commit
from longshore.model.execs import Attachment, Command, Session
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.names import Names
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
from longshore.model.state import State
from longshore.model.status import (
    Change,
    ContainerStats,
    ContainerStatus,
    Difference,
    ExecStatus,
    FieldChange,
    FitsStatus,
    FlavorStatus,
    ImageDetail,
    ImageStatus,
    LogChunk,
    LogsStatus,
    NodeStatus,
    PathStatus,
    PlanStatus,
    ProcessStatus,
    PruneStatus,
    StoryStatus,
    TransferStatus,
    VersionStatus,
    VolumeStatus,
)
from longshore.model.transfer import Auth, Credential, PullPolicy

#: In these more may yet be written to a log.
_WRITING = frozenset(
    {
        State.CREATING,
        State.CREATED,
        State.STARTING,
        State.RUNNING,
        State.PAUSED,
        State.RESTARTING,
        State.STOPPING,
    }
)


@dataclass(frozen=True)
class Agent:
    """Satisfies `service.Service`.

    Args:
        archive: opens what the bus asks to load; raises PolicyForbids for what it may not.
        newest: with what was found of its health since it was last written down.
    """

    containers: Containers
    stories: Stories
    admission: Admission
    fitting: Fitting
    volumes: Volumes
    images: Images
    node: Node
    seen: Changes
    usage: Stats
    log_files: LogFiles
    spool_dir: Path
    waiting: Waiting
    pruning: Pruning
    planning: Planning
    updates: Updates
    rebuilding: Rebuilding
    history: History
    archive: Callable[[Path], AbstractContextManager[Path]]
    commands: Commands
    copying: Copying
    newest: Callable[[ContainerStatus], ContainerStatus]

    def create(
        self,
        request: Request,
        spec: ContainerSpec,
        *,
        start: bool = True,
        credential: Credential | None = None,
    ) -> ContainerStatus:
        return self.containers.create(request, spec, start=start, credential=credential)

    def is_ready(self, spec: ContainerSpec) -> bool:
        return self.admission.is_ready(spec)

    def fits(self, spec: ContainerSpec) -> FitsStatus:
        return self.fitting.fits(spec)

    def list_flavors(self) -> Sequence[FlavorStatus]:
        return self.admission.flavors().statuses()

    def start(self, request: Request, ref: str) -> ContainerStatus:
        return self.containers.start(request, ref)

    def stop(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        return self.containers.stop(request, ref, grace=grace)

    def delete(self, request: Request, ref: str, *, force: bool = False) -> ContainerStatus:
        return self.containers.delete(request, ref, force=force)

    def restart(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        return self.containers.restart(request, ref, grace=grace)

    def kill(self, request: Request, ref: str, *, signal: str = "SIGKILL") -> ContainerStatus:
        return self.containers.kill(request, ref, signal=signal)

    def pause(self, request: Request, ref: str) -> ContainerStatus:
        return self.containers.pause(request, ref)

    def unpause(self, request: Request, ref: str) -> ContainerStatus:
        return self.containers.unpause(request, ref)

    def rename(self, request: Request, ref: str, name: str) -> ContainerStatus:
        return self.containers.rename(request, ref, name)

    def update(
        self,
        request: Request,
        ref: str,
        patch: Mapping[str, Any],
        *,
        apply: str = "now",
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        return self.updates.update(request, ref, patch, apply=apply, still=still)

    def rollback(
        self,
        request: Request,
        ref: str,
        version: int | None = None,
        *,
        apply: str = "now",
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        return self.updates.rollback(request, ref, version, apply=apply, still=still)

    def rebuild(
        self, request: Request, ref: str, image: str, policy: PullPolicy, auth: Auth
    ) -> ContainerStatus:
        return self.rebuilding.rebuild(request, ref, image, policy, auth)

    def versions(self, ref: str) -> Sequence[VersionStatus]:
        return self.history.versions(ref)

    def compare_versions(self, ref: str, before: int, after: int) -> Sequence[FieldChange]:
        return self.history.compare(ref, before, after)

    def execute(
        self, request_id: str, ref: str, command: Command, *, timeout: float, output_max: int
    ) -> ExecStatus:
        return self.commands.execute(
            request_id, ref, command, timeout=timeout, output_max=output_max
        )

    def begin_exec(self, request_id: str, ref: str, command: Command) -> Session:
        return self.commands.begin(request_id, ref, command)

    def attach(
        self,
        ref: str,
        *,
        stdin: bool,
        from_start: bool,
        after: Mapping[str, int] | None = None,
    ) -> Attachment:
        def follow(id: str) -> Generator[LogChunk, None, None]:
            return self.log_files.read(
                Names(id),
                tail=None if from_start or after is not None else 0,
                follow=True,
                ended=lambda: not self._writing(id),
                after=after,
            )

        return self.commands.attach(ref, follow, stdin=stdin)

    def show(self, ref: str) -> ContainerStatus:
        return self.newest(self.containers.show(ref))

    def list(self, filter: Filter = EVERYTHING) -> Sequence[ContainerStatus]:
        return [self.newest(one) for one in self.containers.list(filter)]

    def wait(
        self, ref: str, condition: str, timeout: float, still: Callable[[], bool] = lambda: True
    ) -> ContainerStatus:
        return self.waiting.wait(ref, condition, timeout, still)

    def prune_containers(
        self, labels: Sequence[str], age: float, *, request_id: str, origin: str
    ) -> PruneStatus:
        return self.pruning.prune(labels, age, request_id=request_id, origin=origin)

    def plan(self, ref: str, patch: Mapping[str, Any]) -> PlanStatus:
        return self.planning.plan(ref, patch)

    def stats(self, refs: Sequence[str], *, again: bool = False) -> Sequence[ContainerStats]:
        return self.usage.stats(refs, again=again)

    def top(self, ref: str) -> Sequence[ProcessStatus]:
        return self.usage.top(ref)

    def explain(self, ref: str) -> StoryStatus:
        return self.stories.explain(ref)

    def load_image(self, archive: Path) -> Sequence[ImageStatus]:
        with self.archive(archive) as opened:
            return self.load_spooled_image(opened)

    def load_spooled_image(self, archive: Path) -> Sequence[ImageStatus]:
        return self.images.load(archive)

    def list_images(self) -> Sequence[ImageStatus]:
        return self.images.list()

    def show_image(self, name: str) -> ImageDetail:
        return self.images.show(name)

    def pull_image(
        self, name: str, policy: PullPolicy, auth: Auth
    ) -> Generator[TransferStatus, None, ImageStatus]:
        return self.images.pull(name, policy, auth)

    def prefetch_image(self, name: str, policy: PullPolicy, auth: Auth) -> TransferStatus:
        return self.images.prefetch(name, policy, auth)

    def push_image(
        self, name: str, to: str, auth: Auth
    ) -> Generator[TransferStatus, None, TransferStatus]:
        return self.images.push(name, to, auth)

    def tag_image(self, name: str, new: str) -> ImageStatus:
        return self.images.tag(name, new)

    def remove_image(self, name: str) -> ImageStatus:
        return self.images.remove(name)

    def prune_images(self, *, all: bool = False) -> PruneStatus:
        return self.images.prune(all=all)

    def save_images(self, names: Sequence[str]) -> Iterator[bytes]:
        return self.images.save(names)

    def save_images_to(self, names: Sequence[str], archive: Path) -> None:
        self.images.save_to(names, archive)

    def commit(self, ref: str, name: str, change: Commit) -> ImageStatus:
        return self.images.commit(ref, name, change)

    def copy_out(
        self, ref: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        return self.copying.copy_out(ref, path, follow_link=follow_link)

    def copy_in(
        self, request_id: str, ref: str, path: str, tar: Path, *, archive: bool, replace: bool
    ) -> int:
        return self.copying.copy_in(request_id, ref, path, tar, archive=archive, replace=replace)

    def diff(self, ref: str) -> Sequence[Difference]:
        return self.copying.diff(ref)

    def create_volume(
        self, name: str, labels: Mapping[str, str], *, request_id: str
    ) -> VolumeStatus:
        return self.volumes.create(name, labels, request_id=request_id)

    def list_volumes(self) -> Sequence[VolumeStatus]:
        return self.volumes.list()

    def show_volume(self, name: str) -> VolumeStatus:
        return self.volumes.show(name)

    def remove_volume(self, name: str, *, request_id: str) -> VolumeStatus:
        return self.volumes.remove(name, request_id=request_id)

    def node_status(self) -> NodeStatus:
        return self.node.status()

    def changes(self, after: int, timeout: float) -> Sequence[Change]:
        return self.seen.after(after, timeout)

    def last_change(self) -> int:
        return self.seen.last

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
        id = self.containers.show(ref).id
        return self.log_files.read(
            Names(id),
            tail=tail,
            follow=follow,
            ended=lambda: not self._writing(id),
            since=since,
            until=until,
            timestamps=timestamps,
            stream=stream,
        )

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
        id = self.containers.show(ref).id
        chunks = self.logs(id, tail=tail, since=since, until=until, timestamps=True, stream=stream)
        return recent(id, chunks, tail, max_bytes)

    def _writing(self, id: str) -> bool:
        record = self.containers.record(id)
        return record is not None and record.state in _WRITING
