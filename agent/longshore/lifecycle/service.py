"""What the two front doors (bus/, local/) offer, and all that they know of lifecycle/."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from longshore.model.commit import Commit
from longshore.model.execs import Attachment, Command, Session
from longshore.model.filters import EVERYTHING, Filter
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
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

__all__ = ["LogChunk", "Service"]


class Service(Protocol):
    """`ref` is a container's id, its name, or an unambiguous beginning of its id.

    Mutating verbs are idempotent by `request.id`, or `request_id`: the same one again returns what
    came of the first, also after a restart of the agent. All raise longshore.errors only.
    """

    def create(
        self,
        request: Request,
        spec: ContainerSpec,
        *,
        start: bool = True,
        credential: Credential | None = None,
    ) -> ContainerStatus:
        """`credential`: for the image's registry, kept in memory until the container is made."""

    def is_ready(self, spec: ContainerSpec) -> bool:
        """Whether a create of it will not have to wait for an image. Asks at most containerd."""

    def start(self, request: Request, ref: str) -> ContainerStatus: ...

    def stop(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        """`grace` seconds between the stop signal and SIGKILL; None: the spec's."""

    def delete(self, request: Request, ref: str, *, force: bool = False) -> ContainerStatus:
        """Returns its last status, with state `absent`. `force`: also while it runs."""

    def restart(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        """Ends its process as `stop` does, if it runs, and starts it again."""

    def kill(self, request: Request, ref: str, *, signal: str = "SIGKILL") -> ContainerStatus:
        """Sends a signal (a name, with or without SIG, or a number) to its first process. One
        killed by SIGKILL stays stopped, and this returns once it is; what another signal leads to
        is its restart policy's to say."""

    def pause(self, request: Request, ref: str) -> ContainerStatus: ...

    def unpause(self, request: Request, ref: str) -> ContainerStatus: ...

    def rename(self, request: Request, ref: str, name: str) -> ContainerStatus:
        """Raises NameInUse. What its processes see stays, also a host name that was its name."""

    def update(
        self,
        request: Request,
        ref: str,
        patch: Mapping[str, Any],
        *,
        apply: str = "now",
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        """Changes its spec by a merge patch (RFC 7396) of what it is to have; `plan` says what that
        takes. Returns once the new version is in use.

        Args:
            apply: `now`: it is started again if need be. `restart`: once it is started again for
                another reason; this returns at once then.
            still: as of `wait`.

        Raises:
            InvalidSpec: what comes out is none; or a field is not an update's to change.
            UpdateTakenBack: it could not be started, ended, or was not healthy in time; the former
                version is in use again.
            DeadlineExceeded: that is not known yet; ask again. Its details have `on_trial`.
            Interrupted: nobody waits any more; the update goes on.
        """

    def rollback(
        self,
        request: Request,
        ref: str,
        version: int | None = None,
        *,
        apply: str = "now",
        still: Callable[[], bool] = lambda: True,
    ) -> ContainerStatus:
        """An update to what that version was; None: the last one before its present one that was
        not taken back. It gets a number of its own. Raises as `update`; InvalidRequest: it has no
        such version."""

    def rebuild(
        self, request: Request, ref: str, image: str, policy: PullPolicy, auth: Auth
    ) -> ContainerStatus:
        """Makes it anew of another image, with the same addresses, ports, volumes and all else of
        its spec; what it wrote into its own layer is gone. Nothing is stopped before the image is
        here. One that does not run is made anew at its next start."""

    def versions(self, ref: str) -> Sequence[VersionStatus]:
        """Of its spec, oldest first: the last ten, and those that are pending or on trial."""

    def compare_versions(self, ref: str, before: int, after: int) -> Sequence[FieldChange]:
        """How the second differs from the first. Raises InvalidRequest: it has no such version."""

    def execute(
        self, request_id: str, ref: str, command: Command, *, timeout: float, output_max: int
    ) -> ExecStatus:
        """Runs a command in it to its end, and returns what it wrote, of each output the first
        `output_max` bytes. Asked again it is not run again. Raises IllegalTransition when it does
        not run, CommandNotFound."""

    def begin_exec(self, request_id: str, ref: str, command: Command) -> Session:
        """Begins a command in it. Raises as `execute`."""

    def attach(
        self,
        ref: str,
        *,
        stdin: bool,
        from_start: bool,
        after: Mapping[str, int] | None = None,
    ) -> Attachment:
        """Its first process. `from_start`: with all that it wrote so far. `after`: with what it
        wrote behind the position of an earlier attachment."""

    def show(self, ref: str) -> ContainerStatus: ...

    def list(self, filter: Filter = EVERYTHING) -> Sequence[ContainerStatus]:
        """All of the node, oldest first, unless it says otherwise. Raises ContainerNotFound for one
        of `filter.after`."""

    def wait(
        self, ref: str, condition: str, timeout: float, still: Callable[[], bool] = lambda: True
    ) -> ContainerStatus:
        """Returns once it is `not-running`, `removed`, `running` or `healthy`, or, with
        `next-exit`, has ended since the call. Raises DeadlineExceeded after `timeout` seconds,
        Conflict for what cannot come about any more, and Interrupted when `still`, asked now and
        then, says that nobody waits any more."""

    def prune_containers(
        self, labels: Sequence[str], age: float, *, request_id: str, origin: str
    ) -> PruneStatus:
        """Deletes those that do not run, have all these labels (`key`, `key=value`) and ended (or,
        never started, were made) at least `age` seconds ago."""

    def plan(self, ref: str, patch: Mapping[str, Any]) -> PlanStatus:
        """What a merge patch (RFC 7396) of its spec would take. Changes nothing. Raises
        InvalidSpec: what comes out is none."""

    def stats(self, refs: Sequence[str], *, again: bool = False) -> Sequence[ContainerStats]:
        """In the order of `refs`, of those of them that run; of all that run, by name, if it is
        empty.

        `again`: it is asked once more: also the only one may have ended, or be gone. Raises
        IllegalTransition for one alone that does not run.
        """

    def top(self, ref: str) -> Sequence[ProcessStatus]:
        """Its processes, by pid. Raises IllegalTransition when it does not run."""

    def explain(self, ref: str) -> StoryStatus:
        """How it came to be as it is, and what comes next; also of one that is gone, for as long as
        that is kept."""

    def load_image(self, archive: Path) -> Sequence[ImageStatus]:
        """From an archive beneath one of the node's archive roots."""

    def load_spooled_image(self, archive: Path) -> Sequence[ImageStatus]:
        """From an archive that the front door itself wrote into `spool_dir`."""

    @property
    def spool_dir(self) -> Path:
        """A folder on the state file system where a front door may put an archive for a while."""

    def list_images(self) -> Sequence[ImageStatus]: ...

    def show_image(self, name: str) -> ImageDetail: ...

    def pull_image(
        self, name: str, policy: PullPolicy, auth: Auth
    ) -> Generator[TransferStatus, None, ImageStatus]:
        """Yields how it goes, now and then, and returns the image.

        One pull serves all who ask. Closing the generator ends this caller's interest, and the
        pull when it was the last.
        """

    def prefetch_image(self, name: str, policy: PullPolicy, auth: Auth) -> TransferStatus:
        """Has it pulled in the background; `node_status().transfers` tells how it goes."""

    def push_image(
        self, name: str, to: str, auth: Auth
    ) -> Generator[TransferStatus, None, TransferStatus]:
        """Sends image `name` to `to` (a registry's name or glance://name); returns the last, whose
        `digest` is what it is there."""

    def tag_image(self, name: str, new: str) -> ImageStatus: ...

    def remove_image(self, name: str) -> ImageStatus:
        """Raises ImageInUse while a container uses it and no other name of it stays."""

    def prune_images(self, *, all: bool = False) -> PruneStatus:
        """Removes content that no image needs, with `all` also images that no container uses."""

    def save_images(self, names: Sequence[str]) -> Iterator[bytes]:
        """One archive of all of them, as a tar, in pieces."""

    def save_images_to(self, names: Sequence[str], archive: Path) -> None:
        """To a new file beneath one of the node's archive roots."""

    def commit(self, ref: str, name: str, change: Commit) -> ImageStatus:
        """A new image from a container's files."""

    def copy_out(
        self, ref: str, path: str, *, follow_link: bool = False
    ) -> tuple[PathStatus, Generator[bytes, None, None]]:
        """What `path` in the container is, and a tar of it, whose names begin with its last part.
        It need not run. Close the generator. Raises PathNotFound."""

    def copy_in(
        self, request_id: str, ref: str, path: str, tar: Path, *, archive: bool, replace: bool
    ) -> int:
        """Unpacks a tar, a file in `spool_dir`, in folder `path` of the container; all of it or, if
        the tar is refused, nothing. Returns how many entries it had. `archive`: with the owners
        that it names. `replace`: a folder may take a file's place, and the reverse. Raises
        PathNotFound, Conflict, Exhausted."""

    def diff(self, ref: str) -> Sequence[Difference]:
        """What of its files differs from its image's, by path."""

    def fits(self, spec: ContainerSpec) -> FitsStatus:
        """Whether a create of it would be admitted now; makes and claims nothing."""

    def list_flavors(self) -> Sequence[FlavorStatus]:
        """By name."""

    def create_volume(
        self, name: str, labels: Mapping[str, str], *, request_id: str
    ) -> VolumeStatus:
        """One that is there with these labels is fine. Raises VolumeExists for others."""

    def list_volumes(self) -> Sequence[VolumeStatus]:
        """By name."""

    def show_volume(self, name: str) -> VolumeStatus:
        """Raises VolumeNotFound."""

    def remove_volume(self, name: str, *, request_id: str) -> VolumeStatus:
        """With its content; returns what it was. Raises VolumeNotFound, VolumeInUse."""

    def node_status(self) -> NodeStatus:
        """Asks no neighbour, so that a stuck one cannot hold it up."""

    def changes(self, after: int, timeout: float) -> Sequence[Change]:
        """Changes with `seq` above `after` (0: all since the agent's start); waits up to `timeout`
        seconds for the first. Where some are missing a `gap` comes first, which says why."""

    def last_change(self) -> int:
        """`seq` of the newest change, or what those after the agent's start are above."""

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
        """What the container wrote, from its last `tail` lines on (None: all).

        `since`, `until`: Unix seconds. `timestamps`: whole lines, each piece with its time.
        `stream`: only of `stdout` or `stderr`. With `follow` it goes on until the container has
        ended or the caller closes the iterator; it yields an empty chunk from time to time so that
        a caller who went away is noticed, and a first one when nothing will be missed any more.
        """

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
        """The last `tail` lines of what `logs` would give, of them no more than `max_bytes`."""
