"""containerd's calls for one command in a container."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import grpc

from longshore.errors import HostFailed, LongshoreError, NotFound
from longshore.host.containerd.client import Client, Refused, translate, translated
from longshore.host.containerd.refusal import start_failure
from longshore.model.names import Names
from longshore.pb.containerd import tasks_pb2

#: A wait is begun anew after this: no call is for ever.
_WAIT = 3600.0


class ExecCalls:
    """`id`: unique in the container. What is gone already is as good as done."""

    def __init__(self, client: Client, names: Names, id: str) -> None:
        self.names = names
        self.id = id
        self._client = client
        self._tasks = client.tasks
        self._what = f"run a command in {names.id}"

    def make(self, request: tasks_pb2.ExecProcessRequest) -> None:
        """Raises NotFound: the container has no task."""
        request.container_id, request.exec_id = self.names.id, self.id
        self._call(self._tasks.Exec, request, self._what)

    def start(self, timeout: float) -> int:
        """Returns its pid.

        Raises:
            CommandNotFound, StartFailed: the runtime cannot run it.
            HostFailed and its children.
        """
        request = tasks_pb2.StartRequest(container_id=self.names.id, exec_id=self.id)
        try:
            return int(self._call(self._tasks.Start, request, self._what, timeout).pid)
        except HostFailed as error:
            if type(error) not in (HostFailed, Refused):
                raise
            raise start_failure(error, self._what, self.names.id) from error

    def wait(self, told: Callable[[int | None, LongshoreError | None], None]) -> None:
        """Calls back once, from a thread of gRPC, with the exit code or why it is not known."""
        request = tasks_pb2.WaitRequest(container_id=self.names.id, exec_id=self.id)
        with translated(self._what, self.names.id):
            future = self._tasks.Wait.future(
                request, timeout=_WAIT, metadata=self._client.metadata()
            )

        def done(answer: Any) -> None:
            try:
                code = int(answer.result().exit_status)
            except grpc.RpcError as error:
                told(None, translate(error, self._what, self.names.id))
            except grpc.FutureCancelledError:
                return  # the client was closed: the agent leaves
            else:
                told(code, None)

        future.add_done_callback(done)

    def kill(self, signal: int) -> None:
        request = tasks_pb2.KillRequest(container_id=self.names.id, exec_id=self.id, signal=signal)
        with contextlib.suppress(Refused):  # it was made, and never started
            self._if_there(self._tasks.Kill, request, f"signal a command in {self.names.id}")

    def resize(self, rows: int, columns: int) -> None:
        request = tasks_pb2.ResizePtyRequest(
            container_id=self.names.id, exec_id=self.id, height=rows, width=columns
        )
        self._if_there(self._tasks.ResizePty, request, f"resize a terminal in {self.names.id}")

    def close_input(self) -> None:
        request = tasks_pb2.CloseIORequest(container_id=self.names.id, exec_id=self.id, stdin=True)
        self._if_there(
            self._tasks.CloseIO, request, f"end the input of a command in {self.names.id}"
        )

    def delete(self) -> None:
        request = tasks_pb2.DeleteProcessRequest(container_id=self.names.id, exec_id=self.id)
        self._if_there(self._tasks.DeleteProcess, request, f"remove a command of {self.names.id}")

    def _if_there(self, method: Any, request: Any, what: str) -> None:
        try:
            self._call(method, request, what)
        except NotFound:
            return

    def _call(self, method: Any, request: Any, what: str, timeout: float | None = None) -> Any:
        return self._client.call(method, request, what, object=self.names.id, timeout=timeout)
