"""The agent's own API on a unix socket: threads, bounds, and who may open it."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2_grpc

from longshore.errors import HostFailed
from longshore.lifecycle import lanes
from longshore.lifecycle.service import Service
from longshore.local import sockets
from longshore.local.copy_service import CopyService
from longshore.local.door import Door
from longshore.local.exec_service import ExecService
from longshore.local.health import WATCHERS, Health
from longshore.local.image_service import ImageService
from longshore.local.operation_service import OperationService
from longshore.local.peers import Peers
from longshore.local.service import STREAMS, AgentService
from longshore.local.stats_service import StatsService
from longshore.local.story_service import StoryService
from longshore.local.upkeep_service import UpkeepService
from longshore.local.version_service import VersionService
from longshore.local.volume_service import VolumeService
from longshore.pb.longshore.v1 import agent_pb2, agent_pb2_grpc

LOG = logging.getLogger(__name__)
NAME = agent_pb2.DESCRIPTOR.services_by_name["Agent"].full_name
MIB = 1024 * 1024
#: Threads beyond the lanes, so that a refusal is never waited for.
_SPARE = 4
#: What grpc takes off the wire, so that a message above `max_message` still gets our own error.
_WIRE_MAX = 4 * MIB
_OPTIONS = [
    ("grpc.max_receive_message_length", _WIRE_MAX),
    # Clients that follow something ping now and then; grpc takes that for an attack by default.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class LocalServer:
    """Serves `service` at `socket`, mode 0660, from `start` to `stop`.

    Args:
        group: whose members may use it, beside the owner; a missing one is logged.
        verbs: creates and starts at work at a time; other verbs, and those that wait for an
            image, have places of their own.
        streams: watches and logs at a time.
        max_message: bytes of a create message.
        max_image: bytes of an image archive, or of a tar of files.
        grace: seconds that calls at work get when the server stops.
    """

    def __init__(
        self,
        service: Service,
        socket: Path,
        *,
        group: str = "longshore",
        verbs: int = 16,
        streams: int = 16,
        max_message: int = MIB,
        max_image: int = 16 * 1024 * MIB,
        grace: float = 5.0,
    ) -> None:
        self._path = socket
        self._group = group
        self._service = service
        self._grace = grace
        self._verbs, self._streams = verbs, streams
        self._max_message, self._max_image = max_message, max_image
        self._made = ExitStack()

    def start(self) -> None:
        """Raises HostBusy when a live agent listens there, HostFailed when it cannot listen."""
        with ExitStack() as made:
            made.callback(os.close, sockets.lock(self._path))
            callers = Peers(self._path, self._group)
            made.callback(callers.stop)
            sizes = {**lanes.sizes(self._verbs), STREAMS: self._streams}
            door = Door(callers, lanes.Lanes(sizes))
            health = Health(("", NAME))
            pool = ThreadPoolExecutor(
                sum(sizes.values()) + WATCHERS + _SPARE, thread_name_prefix="local-api"
            )
            server = _server(self._methods(door), health, pool)
            made.callback(self._end, door, health, server, pool)
            with sockets.publishing(self._path, self._group) as hidden:
                _bind(server, hidden, self._path)
                callers.start(hidden)
                server.start()
            self._made = made.pop_all()
        LOG.info("local API at %s", self._path)

    def stop(self) -> None:
        """Takes no new calls, gives those at work their grace, and takes the sockets away."""
        self._made.close()

    def _methods(self, door: Door) -> agent_pb2_grpc.AgentServicer:
        """Each rpc of agent.proto by its name, as the generated code looks them up; what nobody
        serves answers UNIMPLEMENTED."""
        parts = (
            AgentService(self._service, door, self._max_message),
            CopyService(self._service, door, self._max_image),
            OperationService(self._service, door),
            ExecService(self._service, door),
            ImageService(self._service, door, self._max_image),
            VersionService(self._service, door),
            VolumeService(self._service, door),
            StatsService(self._service, door),
            StoryService(self._service, door),
            UpkeepService(self._service, door),
        )
        servicer = agent_pb2_grpc.AgentServicer()
        for part in parts:
            vars(servicer).update(part.methods())
        return servicer

    def _end(
        self,
        door: Door,
        health: Health,
        server: grpc.Server,
        pool: ThreadPoolExecutor,
    ) -> None:
        health.leave()
        door.leaving.set()
        server.stop(self._grace).wait(self._grace + 1)
        idle = door.idle(timeout=1)
        if not idle:
            LOG.warning("local calls are still at work; their threads end when they do")
        pool.shutdown(wait=idle, cancel_futures=True)
        self._path.unlink(missing_ok=True)


def _server(
    methods: agent_pb2_grpc.AgentServicer, health: Health, pool: ThreadPoolExecutor
) -> grpc.Server:
    server = grpc.server(pool, options=_OPTIONS)
    agent_pb2_grpc.add_AgentServicer_to_server(methods, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.methods(), server)
    return server


def _bind(server: grpc.Server, hidden: Path, path: Path) -> None:
    try:
        server.add_insecure_port(f"unix:{hidden}")
    except RuntimeError as error:
        raise HostFailed(f"cannot listen at {path}: {error}", object=str(path)) from error
