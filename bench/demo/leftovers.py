"""What is left of deleted containers: counted on the host itself, not asked of the agent."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.demo.stage import Stage
from bench.lab import host, process
from longshore.host.containerd import leases
from longshore.host.containerd.client import Client
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.pb.containerd import containers_pb2, snapshots_pb2, tasks_pb2

_CGROUP = Path("/sys/fs/cgroup")


def count(stage: Stage, ids: Sequence[str], snapshotter: str) -> Mapping[str, list[str]]:
    """Kind → what there is of it, for the containers `ids` in all of the demo's namespaces."""
    agent = stage.agent
    layout = Layout(agent.state_dir, agent.run_dir)
    found = {
        "process": list(_processes(ids)),
        "mount": list(_mounts(ids, _server_pid(stage.containerd_socket))),
        "network namespace": _having(ids, layout.namespaces.glob("*")),
        "veth": [name for id in ids if (name := _veth(id))],
        "nft element": host.elements(agent.table),
        "cgroup": _having(ids, _CGROUP.glob("*/*"), _CGROUP.glob("*/*/*")),
        "file": _having(ids, layout.containers.glob("*"), layout.volumes.glob("*")),
    }
    for kind, ask in _IN_CONTAINERD.items():
        found[kind] = []
        for namespace in (stage.namespace, stage.bare_namespace):
            client = Client(stage.containerd_socket, namespace)
            try:
                found[kind] += [f"{namespace}/{one}" for one in ask(client, snapshotter)]
            finally:
                client.close()
    return found


def _processes(ids: Sequence[str]) -> Iterator[str]:
    """A container's own, by their cgroup; its shim, by its arguments."""
    for one in process.processes():
        try:
            groups = Path(f"/proc/{one.pid}/cgroup").read_text()
        except OSError:
            continue
        words = " ".join(one.command)
        if any(id in groups or id in words for id in ids):
            yield f"{one.pid} {words}"


def _mounts(ids: Sequence[str], containerd: int) -> Iterator[str]:
    """Here and where containerd lives, which may be a mount namespace of its own."""
    for pid in ("self", containerd):
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            point = line.split()[4]
            if any(id in point for id in ids):
                yield point


def _veth(id: str) -> str | None:
    name = Names(id).veth
    return name if Path(f"/sys/class/net/{name}").exists() else None


def _having(ids: Sequence[str], *places: Iterator[Path]) -> list[str]:
    wanted = set(ids)
    return [
        str(path)
        for paths in places
        for path in paths
        if path.name in wanted or any(id in path.name for id in wanted)
    ]


def _server_pid(path: Path) -> int:
    """The process that listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(5.0)
        wire.connect(str(path))
        credentials = wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("iII", credentials)[0]
    return pid


def _snapshots(client: Client, snapshotter: str) -> list[str]:
    """The writable ones; the images' own stay."""
    request = snapshots_pb2.ListSnapshotsRequest(snapshotter=snapshotter, filters=["kind==active"])
    answers = client.stream(client.snapshots.List, request, "list snapshots")
    return [info.name for answer in answers for info in answer.info]


def _containers(client: Client, _: str) -> list[str]:
    request = containers_pb2.ListContainersRequest()
    answers = client.stream(client.containers.ListStream, request, "list containers")
    return [one.container.id for one in answers]


def _tasks(client: Client, _: str) -> list[str]:
    answer = client.call(client.tasks.List, tasks_pb2.ListTasksRequest(), "list tasks")
    return [task.id for task in answer.tasks]


_IN_CONTAINERD: Mapping[str, Callable[[Client, str], list[str]]] = {
    "snapshot": _snapshots,
    "lease": lambda client, _: leases.names(client),
    "containerd container": _containers,
    "containerd task": _tasks,
}
