"""Tasks: the running side of a container, each in the care of its own shim.

The shim appends the container's output to two files by itself, so nothing here is a pipe that
a container depends on, and no process or thread is kept per container.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp

from longshore.errors import Conflict, DeadlineExceeded, HostBusy, HostFailed, NotFound, StartFailed
from longshore.host.containerd import consoles, remapped, shims, snapshots, streams
from longshore.host.containerd.client import Client, Refused, translated
from longshore.host.containerd.creation import Creations
from longshore.host.containerd.oci_limits import changeable
from longshore.host.containerd.refusal import start_failure
from longshore.model.host import Exit, Ids, Task, TaskStatus
from longshore.model.layout import Layout
from longshore.model.limits import Limits
from longshore.model.names import Names, is_container_id
from longshore.pb.containerd import process_pb2, tasks_pb2

#: Type of the message that holds `linux.resources` of an OCI spec, as JSON.
RESOURCES_URL = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
#: A wait is begun anew after this: no call is for ever, not even one that is meant to last.
WAIT_TIMEOUT = 3600.0
_STATUS: Mapping[int, TaskStatus] = {
    process_pb2.UNKNOWN: TaskStatus.UNKNOWN,
    process_pb2.CREATED: TaskStatus.CREATED,
    process_pb2.RUNNING: TaskStatus.RUNNING,
    process_pb2.STOPPED: TaskStatus.STOPPED,
    process_pb2.PAUSED: TaskStatus.PAUSED,
    process_pb2.PAUSING: TaskStatus.PAUSED,
}
_MADE = frozenset({TaskStatus.CREATED, TaskStatus.RUNNING, TaskStatus.PAUSED})
#: 'Not while it runs' and its like; 1.6 has a code of its own for few of them.
_REFUSALS = (HostFailed, Refused)
#: crun gives a container's root the files that it begins with. Without this it begins with the
#: node's /dev/null itself, which would then be the container's to chmod; the shim reads this one,
#: and hands on a pipe.
_NULL = "/dev/null"
#: containerd tells nobody when it has cleared up after a shim that died.
_CLEARING_PAUSE = 0.02
#: How long after our start a create of the agent before us may still be under way.
_INHERITING = 120.0
#: Seconds that containerd gets to clear up after it by itself; now and then it never does.
_CLEARING = 5.0
_ENDED = frozenset({TaskStatus.STOPPED, TaskStatus.ABSENT})


class Tasks:
    """`Tasks` of lifecycle's ports.

    Args:
        bundles: where containerd makes the bundles of our namespace.
        processes: pids in a container's cgroup, for what died half-made and left them behind.
        timeout: seconds for what kills or removes processes, or lists all.
        create_timeout: seconds for a create; under a burst the runtime takes its time.
    """

    def __init__(
        self,
        client: Client,
        snapshotter: str,
        bundles: Path,
        processes: Callable[[Names], Collection[int]],
        layout: Layout,
        timeout: float = 30.0,
        create_timeout: float = 60.0,
    ) -> None:
        self._client = client
        self._snapshotter = snapshotter
        self._bundles = bundles
        self._processes = processes
        self._layout = layout
        self._timeout = timeout
        self._creations = Creations(client, create_timeout)
        self._born = time.monotonic()

    def begin(
        self,
        names: Names,
        stdout: Path,
        stderr: Path,
        ids: Ids | None = None,
        *,
        tty: bool = False,
        stdin: bool = False,
    ) -> None:
        """Asks the runtime to set everything up; both files must be there. `create` waits."""
        if self._creations.is_open(names.id):
            return
        source = _NULL if ids and not tty else ""
        if stdin:
            folder = self._layout.stdin(names).parent
            source = str(streams.make(folder, [self._layout.stdin(names).name])["stdin"])
        self._creations.begin(
            tasks_pb2.CreateTaskRequest(
                container_id=names.id,
                rootfs=self._rootfs(names, ids),
                stdin=source,
                stdout=str(stdout),
                stderr="" if tty else str(stderr),
                terminal=tty,
            )
        )

    def create(
        self,
        names: Names,
        stdout: Path,
        stderr: Path,
        ids: Ids | None = None,
        *,
        tty: bool = False,
        stdin: bool = False,
    ) -> int:
        """Waits for what `begin` has begun, or does it all.

        Returns:
            The pid of the first process, which waits for `start`.

        Raises:
            CommandNotFound: the command is not in the image.
            StartFailed: the runtime refused the container; its own words are in the message.
            DeadlineExceeded: it is still at it. Calling again waits on; `delete` waits, and
                removes what came of it.
            HostFailed and its children: from containerd.
        """
        self.begin(names, stdout, stderr, ids, tty=tty, stdin=stdin)
        try:
            return self._creations.result(names.id)
        except Conflict:
            there = self.get(names)
            if there.status in _MADE:
                return there.pid
        except StartFailed:
            # It may have been broken off together with one that the agent before us asked for.
            if not self._inherits():
                raise
        self.delete(names)
        self.begin(names, stdout, stderr, ids, tty=tty, stdin=stdin)
        return self._creations.result(names.id)

    def update(self, names: Names, limits: Limits) -> None:
        """Has the runtime set the limits of a task's cgroup again, as far as it can while it runs.

        Raises:
            NotFound: there is no task.
            HostFailed and its children: the kernel does not take one, such as less memory than is
                used; in the runtime's own words.
        """
        wanted = changeable(limits)
        if not wanted:
            return
        request = tasks_pb2.UpdateTaskRequest(
            container_id=names.id,
            resources=AnyMessage(type_url=RESOURCES_URL, value=json.dumps(wanted).encode()),
        )
        what = f"set the limits of container {names.id}"
        self._call(self._client.tasks.Update, request, what, names.id)

    def start(self, names: Names, console: Path | None = None) -> None:
        """Lets the waiting process go on. A task that runs already is fine.

        Args:
            console: where what it writes to its terminal goes, behind what is there.

        Raises:
            CommandNotFound, StartFailed: the process could not become the command.
            HostFailed and its children: from containerd.
        """
        what = f"start container {names.id}"
        request = tasks_pb2.StartRequest(container_id=names.id)
        if console is not None:
            consoles.append(self.get(names).pid, console)
        try:
            self._call(self._client.tasks.Start, request, what, names.id)
        except HostFailed as error:
            if type(error) not in _REFUSALS:
                raise
            if self.get(names).status in (TaskStatus.RUNNING, TaskStatus.PAUSED):
                return
            raise start_failure(error, what, names.id) from error

    def pause(self, names: Names) -> None:
        """Freezes all processes of the container. One that is frozen stays so.

        Raises:
            NotFound: there is no task.
            Conflict: it does not run.
            HostFailed and its children: from containerd.
        """
        what = f"pause container {names.id}"
        request = tasks_pb2.PauseTaskRequest(container_id=names.id)
        try:
            self._call(self._client.tasks.Pause, request, what, names.id)
        except HostFailed as error:
            status = self.get(names).status
            if status is TaskStatus.PAUSED:
                return
            if status is TaskStatus.RUNNING or type(error) not in _REFUSALS:
                raise
            raise Conflict(f"cannot {what}: it is {status}", object=names.id) from error

    def resume(self, names: Names) -> None:
        """Lets frozen processes go on. A task that is not frozen, or is gone, is fine.

        Raises:
            HostFailed and its children: from containerd.
        """
        request = tasks_pb2.ResumeTaskRequest(container_id=names.id)
        try:
            self._call(self._client.tasks.Resume, request, f"resume container {names.id}", names.id)
        except NotFound:
            return
        except HostFailed:
            if self.get(names).status is TaskStatus.PAUSED:
                raise

    def kill(self, names: Names, signal: int, *, everyone: bool = False) -> None:
        """Sends a signal to the first process or to all. A task that is gone is fine."""
        what = f"send signal {signal} to container {names.id}"
        request = tasks_pb2.KillRequest(container_id=names.id, signal=signal, all=everyone)
        try:
            self._call(self._client.tasks.Kill, request, what, names.id)
        except NotFound:
            return
        except HostFailed:
            # Runtimes say 'it has ended already' in many words, and the state says it in one.
            if self.get(names).status not in _ENDED:
                raise

    def get(self, names: Names) -> Task:
        request = tasks_pb2.GetRequest(container_id=names.id)
        what = f"look at container {names.id}"
        try:
            answer = self._client.call(self._client.tasks.Get, request, what, object=names.id)
        except NotFound:
            return Task()
        return _task(answer.process)

    def list(self) -> Mapping[str, Task]:
        """All tasks of ours by container id. A shim that does not answer: UNKNOWN."""
        request = tasks_pb2.ListTasksRequest()
        # containerd asks one shim after the other, and waits for each that hangs.
        answer = self._call(self._client.tasks.List, request, "list tasks", None)
        return {
            process.id: _task(process) for process in answer.tasks if is_container_id(process.id)
        }

    def wait(self, names: Names, on_exit: Callable[[], None]) -> None:
        """Calls `on_exit` once the task has ended, or the wait broke for any other reason.

        It comes from a thread of gRPC that serves all waits, so it must return at once; when
        the task is gone already it may come before this returns.
        """
        request = tasks_pb2.WaitRequest(container_id=names.id)
        with translated(f"wait for container {names.id}", names.id):
            future = self._client.tasks.Wait.future(
                request, timeout=WAIT_TIMEOUT, metadata=self._client.metadata()
            )
        future.add_done_callback(lambda _: on_exit())

    def delete(self, names: Names) -> Exit | None:
        """Kills what is left of the task and removes it, its shim and its bundle.

        Returns:
            How it ended, or None if there was none.

        Raises:
            DeadlineExceeded: a process does not die; it may be stuck in the kernel.
            HostFailed and its children: from containerd.
        """
        self._creations.settle(names.id, self._timeout)
        if self.get(names).status not in _ENDED:
            self._end(names)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                end: Exit | None = self._delete(names)
            except NotFound:
                self._end_inherited(names)
                self._end_orphans(names)
                end = None
            except HostBusy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_CLEARING_PAUSE)
                continue
            streams.remove(self._layout.stdin(names).parent)
            return end

    def _rootfs(self, names: Names, ids: Ids | None) -> Sequence[Any]:
        found = snapshots.mounts(self._client, self._snapshotter, names)
        return remapped.mounts(found, names.id, self._layout.layers(names)) if ids else found

    def _inherits(self) -> bool:
        return time.monotonic() - self._born < _INHERITING

    def _end_inherited(self, names: Names) -> None:
        """Waits for containerd to break off a create that an agent which died had asked for."""
        if self._inherits():
            shims.wait_until_gone(self._bundles, self._client.namespace, names.id, _CLEARING)

    def _end_orphans(self, names: Names) -> None:
        """A runtime that was killed half-way (its shim, containerd or the agent died in a create)
        leaves a process waiting in the cgroup that no task tells of."""
        for pid in self._processes(names):
            try:
                os.kill(pid, SIGKILL)
            except ProcessLookupError:
                continue

    def _end(self, names: Names) -> None:
        """Kills the first process, and with its pid namespace all others; returns once dead."""
        what = f"end container {names.id}"
        request = tasks_pb2.WaitRequest(container_id=names.id)
        ended = self._client.tasks.Wait.future(
            request, timeout=self._timeout, metadata=self._client.metadata()
        )
        if self.get(names).status is TaskStatus.PAUSED:
            # A frozen process takes no signal, not even this one.
            self.resume(names)
        self.kill(names, SIGKILL)
        try:
            with translated(what, names.id):
                ended.result()
        except NotFound:
            return
        except DeadlineExceeded as error:
            raise DeadlineExceeded(
                f"cannot {what}: it was killed and still runs after {self._timeout:g} s",
                object=names.id,
                hint="a process of it may be stuck in the kernel, on a dead mount for example",
            ) from error

    def _delete(self, names: Names) -> Exit:
        request = tasks_pb2.DeleteTaskRequest(container_id=names.id)
        what = f"delete the task of {names.id}"
        answer = self._call(self._client.tasks.Delete, request, what, names.id)
        # A task that was never started may have no time of its end.
        return Exit(code=answer.exit_status, at=_seconds(answer.exited_at) or time.time())

    def _call(self, method: Any, request: Any, what: str, id: str | None) -> Any:
        return self._client.call(method, request, what, object=id, timeout=self._timeout)


def _task(process: process_pb2.Process) -> Task:
    status = _STATUS.get(process.status, TaskStatus.UNKNOWN)
    if status is not TaskStatus.STOPPED:
        return Task(status=status, pid=process.pid)
    return Task(
        status=status,
        pid=process.pid,
        exit_code=process.exit_status,
        exited_at=_seconds(process.exited_at),
    )


def _seconds(stamp: Timestamp) -> float:
    """Unix seconds; Go's zero time, which lies before the epoch, is 0."""
    return max(0.0, stamp.seconds + stamp.nanos / 1e9)
