"""Creating a task: the one call that must not be cut off half-way.

The deadline of a call travels with it. When it is over containerd kills the shim there and then,
and what the runtime has made by that moment belongs to nobody. So containerd is given much more
time than a caller waits, and whoever comes later waits for the same call.
"""

from __future__ import annotations

from typing import Any

import grpc

from longshore.errors import DeadlineExceeded, HostFailed, LongshoreError
from longshore.host.containerd.client import Client, translated
from longshore.host.containerd.refusal import start_failure
from longshore.pb.containerd import tasks_pb2

#: containerd gives up after this, should nobody have ended it before.
_LIMIT = 600.0


class Creations:
    """Creates that have not answered yet, also those that nobody waits for any more.

    Args:
        timeout: seconds that a caller waits.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._calls: dict[str, Any] = {}

    def begin(self, request: tasks_pb2.CreateTaskRequest) -> None:
        """Makes the call, unless one for the same container is still open."""
        if request.container_id not in self._calls:
            self._calls[request.container_id] = self._client.tasks.Create.future(
                request, timeout=_LIMIT, metadata=self._client.metadata()
            )

    def is_open(self, id: str) -> bool:
        return id in self._calls

    def result(self, id: str) -> int:
        """Waits for the call that was begun, and returns the pid.

        Raises:
            DeadlineExceeded: the runtime is still at it.
            CommandNotFound, StartFailed: the runtime refused it.
            Conflict: the container has a task.
            HostFailed and its children: from containerd.
        """
        what = f"create container {id}"
        try:
            with translated(what, id):
                pid = int(self._calls[id].result(self._timeout).pid)
        except grpc.FutureTimeoutError as error:
            raise DeadlineExceeded(
                f"cannot {what}: the runtime is still at it after {self._timeout:g} s", object=id
            ) from error
        except LongshoreError as error:
            self._calls.pop(id, None)
            if type(error) is HostFailed:
                raise start_failure(error, what, id) from error
            raise
        self._calls.pop(id, None)
        return pid

    def settle(self, id: str, timeout: float) -> None:
        """Waits until no call for the container is open: what came of it is then to be seen.

        Raises:
            DeadlineExceeded: the runtime is still at it.
        """
        call = self._calls.get(id)
        if call is None:
            return
        try:
            call.exception(timeout)
        except grpc.FutureTimeoutError as error:
            raise DeadlineExceeded(
                f"cannot end container {id}: the runtime is still creating it", object=id
            ) from error
        self._calls.pop(id, None)
