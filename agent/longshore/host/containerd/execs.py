"""Commands in a running container: the shim starts them beside its first process.

A command that has ended stays in the shim, with its descriptors, until it is deleted. So whoever
begins one removes it, whatever came of it; and what cannot be removed at once, or was begun by an
agent that died, stays known by its folder of FIFOs until it could be (`Clearing`).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import uuid4

import psutil
from google.protobuf.any_pb2 import Any as AnyMessage

from longshore.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    LongshoreError,
    NotFound,
    StartFailed,
)
from longshore.host.containerd import exec_process, streams
from longshore.host.containerd.clearing import Clearing
from longshore.host.containerd.client import Client
from longshore.host.containerd.exec_calls import ExecCalls
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.containerd.streams import Input, Outputs
from longshore.model.execs import Command, Kept, Output
from longshore.model.layout import Layout
from longshore.model.linux import signal_number
from longshore.model.names import Names
from longshore.model.status import ExecStatus
from longshore.pb.containerd import containers_pb2, tasks_pb2

#: Seconds that a killed command gets to end, and its output to come.
_KILLED = 10.0
#: Seconds without output after which an ended command's output is over, though a process that it
#: left behind still has it open.
_SILENCE = 1.0
#: Of a command whose end nobody saw, because its container is gone.
_UNSEEN = 128 + SIGKILL
#: More than pipe, shim and FIFO hold together: what comes after so many bytes was written by what
#: an ended command left behind.
_LAST = 1024 * 1024
_REWAIT = 0.2
_LOOK = 0.5


class Execs:
    """`Execs` of lifecycle's ports.

    Args:
        capabilities: what a privileged command gets, with CAP_.
        start_timeout: seconds that the runtime gets to start one.
    """

    def __init__(
        self,
        client: Client,
        layout: Layout,
        rootfs: Rootfs,
        capabilities: frozenset[str],
        start_timeout: float = 30.0,
    ) -> None:
        self._client = client
        self._layout = layout
        self._rootfs = rootfs
        self._capabilities = capabilities
        self._start_timeout = start_timeout
        self.clearing = Clearing(client, layout)

    def run(self, names: Names, command: Command, *, timeout: float, output_max: int) -> ExecStatus:
        """As the port says.

        Raises:
            DeadlineExceeded: it was killed after `timeout` seconds and does not end.
        """
        kept = Kept(output_max)
        session = self.begin(names, command)
        begun = time.monotonic()
        until, timed_out = begun + timeout, False
        try:
            while (code := session.exit_code) is None:
                left = until - time.monotonic()
                if left <= 0:
                    if timed_out:
                        raise _stuck(names)
                    timed_out, until = True, time.monotonic() + _KILLED
                    session.signal("SIGKILL")
                    continue
                output = session.read(min(left, _LOOK))
                if output is not None:
                    kept.add(output)
        finally:
            session.close()
        return kept.status(code, time.monotonic() - begun, timed_out=timed_out)

    def begin(self, names: Names, command: Command) -> ExecSession:
        """As the port says. Raises Exhausted when no FIFO or descriptor is left."""
        spec = self._spec(names)
        user = self._rootfs.user(names, command.user) if command.user else None
        process = exec_process.process(spec, command, user, self._capabilities)
        call = ExecCalls(self._client, names, f"longshore-{uuid4().hex}")
        folder = self._layout.exec(names, call.id)
        asked = ["stdout"] if command.tty else ["stdout", "stderr"]
        fifos = streams.make(folder, [*asked, *(["stdin"] if command.stdin else [])])
        stdin = fifos.pop("stdin", None)
        try:
            session = ExecSession(call, command, fifos, stdin, self.clearing)
        except LongshoreError:
            streams.remove(folder)
            raise
        try:
            session.start(process, self._stdin(spec, command, stdin), self._start_timeout)
        except BaseException:
            session.close()
            raise
        return session

    def _spec(self, names: Names) -> Any:
        """The OCI spec that the container runs by."""
        request = containers_pb2.GetContainerRequest(id=names.id)
        what = f"run a command in {names.id}"
        call = self._client.containers.Get
        return json.loads(
            self._client.call(call, request, what, object=names.id).container.spec.value
        )

    def _stdin(self, spec: Any, command: Command, stdin: Path | None) -> str:
        if stdin is not None:
            return str(stdin)
        return "/dev/null" if exec_process.is_mapped(spec) and not command.tty else ""


class ExecSession:
    """`Session` of `model.execs`: one command."""

    def __init__(
        self,
        call: ExecCalls,
        command: Command,
        fifos: dict[str, Path],
        stdin: Path | None,
        clearing: Clearing,
    ) -> None:
        self._call = call
        self._command = command
        self._fifos = fifos
        self._clearing = clearing
        self._ended = threading.Event()
        self._code = _UNSEEN
        self._wait_broke = False
        self._over = False
        self._alive = False
        self._quiet_since: float | None = None
        self._last = 0
        self._closing = threading.Lock()
        self._closed = False
        self._reading = threading.Lock()
        self._outputs = Outputs(fifos)
        self._input = Input(stdin, self._ended.is_set, "send input to a command") if stdin else None
        self.pid = 0

    def start(self, process: Any, stdin: str, timeout: float) -> None:
        """Waits for its end from before its start, so that none is missed."""
        command = self._command
        self._call.make(
            tasks_pb2.ExecProcessRequest(
                stdin=stdin,
                stdout=str(self._fifos["stdout"]),
                stderr=str(self._fifos.get("stderr", "")),
                terminal=command.tty,
                spec=AnyMessage(type_url=exec_process.URL, value=json.dumps(process).encode()),
            )
        )
        self._watch()
        self._alive = True
        try:
            self.pid = self._call.start(timeout)
        except StartFailed:
            self._alive = False
            raise
        if command.tty and command.rows and command.columns:
            self._call.resize(command.rows, command.columns)

    def read(self, timeout: float) -> Output | None:
        with self._reading:
            if self._closed or self._over:
                return None
            if self._wait_broke:
                self._wait_broke = False
                time.sleep(_REWAIT)
                self._watch()
            ended = self._ended.is_set()
            output = self._outputs.read(min(timeout, _SILENCE) if ended else timeout)
            now = time.monotonic()
            if output is not None or not ended:
                self._quiet_since = now
            if ended and output is not None:
                self._last += len(output.data)
            quiet = now - (self._quiet_since or now) >= _SILENCE
            self._over = ended and (self._outputs.ended or quiet or self._last > _LAST)
            return output

    @property
    def exit_code(self) -> int | None:
        if self._ended.is_set() and (self._over or self._outputs.ended):
            return self._code
        return None

    def write(self, data: bytes) -> int:
        if self._input is None:
            raise Conflict("cannot send input to a command: it has none")
        return self._input.write(data)

    def end_input(self) -> None:
        """A terminal has no end of its own: it gets the character that programs take for one."""
        if self._input is None:
            return
        if self._command.tty:
            self._input.write(b"\x04")
            return
        self._input.reach()
        self._call.close_input()
        self._input.close()

    def resize(self, rows: int, columns: int) -> None:
        if self._command.tty and not self._ended.is_set():
            self._call.resize(rows, columns)

    def signal(self, name: str) -> None:
        try:
            number = signal_number(name)
        except ValueError as error:
            raise InvalidRequest(f"cannot signal a command: {error}", field="signal") from error
        if self._ended.is_set():
            return
        if number == SIGKILL:
            self._kill()
        else:
            self._call.kill(number)

    def close(self) -> None:
        """Nothing is raised: what cannot be removed now is tried again until it could be."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            if self._input is not None:
                self._input.close()
            self._outputs.ring()
            with self._reading:
                self._end()
                self._outputs.close()

    def _end(self) -> None:
        names, id = self._call.names, self._call.id
        with self._clearing.later_if_it_fails(names, id):
            if self._alive and not self._ended.is_set():
                self._kill()
            until = time.monotonic() + _KILLED
            while (
                self._alive and not self._ended.is_set() and (left := until - time.monotonic()) > 0
            ):
                self._outputs.read(min(left, _LOOK))
            # The shim waits for what nobody reads.
            until = time.monotonic() + _SILENCE
            while self._alive and not self._over and not self._outputs.ended:
                if (left := until - time.monotonic()) <= 0:
                    break
                self._outputs.read(left)
            if self._input is not None:
                self._call.close_input()
            self._call.delete()
            streams.remove(self._clearing.layout.exec(names, id))

    def _kill(self) -> None:
        """With the processes of its group, which would otherwise stay in the container for good."""
        with contextlib.suppress(OSError, psutil.Error):
            if self.pid and self._call.names.id in Path(f"/proc/{self.pid}/cgroup").read_text():
                group = os.getpgid(self.pid)
                if group != os.getpgid(psutil.Process(self.pid).ppid()):
                    os.killpg(group, SIGKILL)
        self._call.kill(SIGKILL)

    def _watch(self) -> None:
        self._call.wait(self._told)

    def _told(self, code: int | None, error: LongshoreError | None) -> None:
        """From a thread of gRPC."""
        if error is not None and not isinstance(error, NotFound):
            self._wait_broke = True  # containerd was restarted, say: the command goes on
        else:
            self._code = _UNSEEN if code is None else code
            self._ended.set()
        self._outputs.ring()


def _stuck(names: Names) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"cannot end a command in {names.id}: it was killed and still runs after {_KILLED:g} s",
        object=names.id,
        hint="it may be stuck in the kernel, on a dead mount for example",
    )
