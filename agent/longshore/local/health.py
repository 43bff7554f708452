"""The standard gRPC health service: SERVING from start to stop, for load balancers and probes.

grpcio-health-checking's own servicer holds a lock while it sends, which its callback for a
watcher who leaves takes too: stopping could wait for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

#: Watchers at a time; each has a thread.
WATCHERS = 8
_LOOK = 0.5


class Health:
    """Of the services `names`; '' is the server as a whole."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._leaving = threading.Event()
        self._watchers = threading.BoundedSemaphore(WATCHERS)

    def methods(self) -> SimpleNamespace:
        """Each rpc by its name, as the generated code looks them up."""
        return SimpleNamespace(Check=self.check, List=self.list, Watch=self.watch)

    def leave(self) -> None:
        """From now on NOT_SERVING, and no watcher is waited for."""
        self._leaving.set()

    def check(self, request: Any, context: grpc.ServicerContext) -> Any:
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:64]!r}")
        return health_pb2.HealthCheckResponse(status=status)

    def list(self, request: Any, context: grpc.ServicerContext) -> Any:
        del request, context
        statuses = {
            name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in self._names
        }
        return health_pb2.HealthListResponse(statuses=statuses)

    def watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Each status once, as it comes about; the last one is NOT_SERVING."""
        if not self._watchers.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHERS} are watching already")
        try:
            yield health_pb2.HealthCheckResponse(status=self._status(request.service))
            while context.is_active() and not self._leaving.wait(_LOOK):
                pass
            yield health_pb2.HealthCheckResponse(status=self._status(request.service))
        finally:
            self._watchers.release()

    def _status(self, name: str) -> Any:
        if name not in self._names:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        if self._leaving.is_set():
            return health_pb2.HealthCheckResponse.NOT_SERVING
        return health_pb2.HealthCheckResponse.SERVING
