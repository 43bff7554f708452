"""The containerd calls of one container, made bare: what any agent has to pay at least.

Snapshot prepare, container create, task create, start, with the messages and one lease for all
made beforehand: no journal, no network, no read-back. Runtime, image and OCI spec are the
agent's, so that the runtime has the same work; the network namespace it makes itself, empty.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from longshore.host.containerd import leases
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.introspect import ensure_namespace, pid
from longshore.host.containerd.node import OciNode, detect
from longshore.host.containerd.oci import oci_spec
from longshore.host.containerd.records import SPEC_URL, shim_runtime
from longshore.host.containerd.runtime import systemd_is_init
from longshore.host.files import Files
from longshore.model.host import Image, Runtime, User
from longshore.model.layout import Layout
from longshore.model.mounts import Bind
from longshore.model.names import Names
from longshore.model.record import Facts
from longshore.model.spec import ContainerSpec
from longshore.pb.containerd import (
    containers_pb2,
    containers_pb2_grpc,
    snapshots_pb2,
    snapshots_pb2_grpc,
    tasks_pb2,
    tasks_pb2_grpc,
)

_PATIENCE = 30.0
#: One for all, so that the collector of what earlier containers left spares the next.
_LEASE = "bare"


@dataclass(frozen=True)
class Place:
    """A containerd namespace of one's own, the image in it, and what containers are made with."""

    channel: grpc.Channel
    namespace: str
    snapshotter: str
    runtime: Runtime
    image: Image
    layout: Layout
    node: OciNode

    def call(self, stub: type, method: str, request: Any) -> Any:
        return getattr(stub(self.channel), method)(
            request,
            timeout=_PATIENCE,
            metadata=(("containerd-namespace", self.namespace), ("containerd-lease", _LEASE)),
        )


@dataclass(frozen=True)
class Ready:
    """The messages of one container, made beforehand."""

    snapshot: snapshots_pb2.PrepareSnapshotRequest
    record: containers_pb2.CreateContainerRequest
    task: tasks_pb2.CreateTaskRequest
    start: tasks_pb2.StartRequest


@contextmanager
def place(
    socket: Path, namespace: str, archive: Path, folder: Path, *, cgroup: str, runtime: str,
    snapshotter: str,
) -> Iterator[Place]:  # fmt: skip
    """Makes the namespace and loads the image into it; both stay.

    Args:
        folder: for the containers' files.
        cgroup: parent of the containers' cgroups.
    """
    binary = Runtime(runtime, runtime, systemd_is_init(), "")
    client = Client(socket, namespace)
    try:
        ensure_namespace(client)
        image = Images(client, snapshotter, spool=folder).load(archive)[0]
        with leases.held(client, _LEASE), grpc.insecure_channel(f"unix:{socket}") as channel:
            yield Place(
                channel=channel,
                namespace=namespace,
                snapshotter=snapshotter,
                runtime=binary,
                image=image,
                layout=Layout(folder / "state", folder / "run"),
                node=detect(binary, cgroup, pid(client)),
            )
    finally:
        client.close()


def ready(where: Place, spec: ContainerSpec) -> Ready:
    """Writes the container's log and /etc files, and makes its messages."""
    names = Names(spec.id)
    files = Files(where.layout)
    files.write(names, spec, Facts())
    files.show(names)
    record = containers_pb2.Container(
        id=spec.id,
        image=where.image.name,
        runtime=shim_runtime(where.runtime),
        spec=AnyMessage(type_url=SPEC_URL, value=json.dumps(_oci(where, spec, names)).encode()),
        snapshotter=where.snapshotter,
        snapshot_key=spec.id,
    )
    return Ready(
        snapshots_pb2.PrepareSnapshotRequest(
            snapshotter=where.snapshotter, key=spec.id, parent=where.image.chain_id
        ),
        containers_pb2.CreateContainerRequest(container=record),
        tasks_pb2.CreateTaskRequest(
            container_id=spec.id,
            stdout=str(where.layout.stdout(names)),
            stderr=str(where.layout.stderr(names)),
        ),
        tasks_pb2.StartRequest(container_id=spec.id),
    )


def start(where: Place, made: Ready) -> Mapping[str, float]:
    """Makes the four calls; returns how long each took, in seconds, by the agent's step names."""
    tasks = tasks_pb2_grpc.TasksStub
    moments = [time.perf_counter()]
    mounts = where.call(snapshots_pb2_grpc.SnapshotsStub, "Prepare", made.snapshot).mounts
    moments.append(time.perf_counter())
    where.call(containers_pb2_grpc.ContainersStub, "Create", made.record)
    moments.append(time.perf_counter())
    made.task.rootfs.extend(mounts)
    where.call(tasks, "Create", made.task)
    moments.append(time.perf_counter())
    where.call(tasks, "Start", made.start)
    moments.append(time.perf_counter())
    names = ("rootfs", "record", "process", "start")
    return {name: moments[i + 1] - moments[i] for i, name in enumerate(names)}


def remove(where: Place, id: str) -> None:
    tasks, containers = tasks_pb2_grpc.TasksStub, containers_pb2_grpc.ContainersStub
    where.call(tasks, "Kill", tasks_pb2.KillRequest(container_id=id, signal=9))
    where.call(tasks, "Wait", tasks_pb2.WaitRequest(container_id=id))
    where.call(tasks, "Delete", tasks_pb2.DeleteTaskRequest(container_id=id))
    where.call(containers, "Delete", containers_pb2.DeleteContainerRequest(id=id))
    snapshot = snapshots_pb2.RemoveSnapshotRequest(snapshotter=where.snapshotter, key=id)
    where.call(snapshots_pb2_grpc.SnapshotsStub, "Remove", snapshot)
    files = Files(where.layout)
    files.unshow(Names(id))
    files.remove(Names(id))


def _oci(where: Place, spec: ContainerSpec, names: Names) -> dict[str, Any]:
    """The agent's, but for what is made around it: the network namespace and bound volumes."""
    oci = oci_spec(spec, names, where.image.config, User(), where.layout, where.node)
    for namespace in oci["linux"]["namespaces"]:
        namespace.pop("path", None)
    sources = {mount.target: mount.source for mount in spec.mounts if isinstance(mount, Bind)}
    for mount in oci["mounts"]:
        mount["source"] = sources.get(mount["destination"], mount["source"])
    return oci
