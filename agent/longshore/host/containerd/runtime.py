"""Which OCI runtime runs containers here: the fastest of those that really work.

A runtime can be installed and yet refuse this host (crun before 1.9 does where cgroup v1 and v2
are mounted side by side), and whether it works depends on where containerd runs. So each is
asked to create a container through containerd, exactly as later ones will be; it needs no
image, is never started, and is gone again before the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from google.protobuf.any_pb2 import Any as AnyMessage

from longshore.errors import HostUnavailable, LongshoreError
from longshore.host.containerd import shims
from longshore.host.containerd.client import Client
from longshore.host.containerd.records import SPEC_URL, shim_runtime
from longshore.host.containerd.refusal import reason
from longshore.model.host import Runtime
from longshore.model.names import CGROUP_PARENT
from longshore.pb.containerd import containers_pb2, tasks_pb2, types_pb2

#: Fastest first: a bare run takes crun a third of the time that runc needs.
FASTEST_FIRST = ("crun", "runc")
_TIMEOUT = 30.0


def systemd_is_init() -> bool:
    """Whether systemd runs this host: then it has to know of cgroups, or resets their limits."""
    return Path("/run/systemd/system").is_dir()


def choose_runtime(
    client: Client,
    *,
    systemd_cgroup: bool,
    binaries: Sequence[str] = FASTEST_FIRST,
    cgroup_parent: str = CGROUP_PARENT,
) -> Runtime:
    """The first of `binaries` that can create a container here, with the reason.

    Args:
        systemd_cgroup: let systemd make the cgroups.
        binaries: names in containerd's PATH or absolute paths, the most wanted first.
        cgroup_parent: where the probe's cgroup is made, as containers' will be.

    Raises:
        HostUnavailable: none works; each one's reason is in the message.
    """
    refusals: list[str] = []
    for binary in binaries:
        runtime = Runtime(Path(binary).name, binary, systemd_cgroup, "")
        try:
            bundles = _probe(client, runtime, cgroup_parent)
        except HostUnavailable:
            raise
        except LongshoreError as error:
            refusals.append(f"{binary} does not: {reason(error.message)}")
            continue
        why = "; ".join([_reason(binaries, refusals), *refusals])
        return replace(runtime, why=why, bundles=bundles)
    raise HostUnavailable(
        f"cannot run containers: no OCI runtime works here: {'; '.join(refusals)}",
        hint="install crun or runc where containerd finds it",
    )


def _reason(binaries: Sequence[str], refusals: Sequence[str]) -> str:
    if len(binaries) == 1:
        return "configured, and works here"
    return "the one that works here" if refusals else "the fastest that works here"


def _probe(client: Client, runtime: Runtime, cgroup_parent: str) -> Path:
    """Has this runtime create a container under this containerd, and removes it.

    Returns:
        Where containerd made its bundle.

    Raises:
        LongshoreError: it cannot.
    """
    # Named like a container: what a probe that died left behind, the sweep finds and removes. A new
    # name each time: runtimes keep their state in one place of the host, whichever containerd asks.
    id = str(uuid4())
    record = containers_pb2.Container(
        id=id,
        runtime=shim_runtime(runtime),
        spec=AnyMessage(
            type_url=SPEC_URL,
            value=json.dumps(_spec(id, cgroup_parent, systemd=runtime.systemd_cgroup)).encode(),
        ),
    )
    rootfs = types_pb2.Mount(type="tmpfs", source="tmpfs", options=["size=64k"])
    try:
        client.call(
            client.containers.Create,
            containers_pb2.CreateContainerRequest(container=record),
            f"probe {runtime.name}",
        )
        client.call(
            client.tasks.Create,
            tasks_pb2.CreateTaskRequest(container_id=id, rootfs=[rootfs]),
            f"probe {runtime.name}",
            timeout=_TIMEOUT,
        )
        made = shims.of_container(client.namespace, id)
        return made[0].bundle.parent if made else runtime.bundles
    finally:
        _remove(client, id)


def _remove(client: Client, id: str) -> None:
    removals: Sequence[tuple[Any, Any]] = (
        (client.tasks.Kill, tasks_pb2.KillRequest(container_id=id, signal=9)),
        (client.tasks.Wait, tasks_pb2.WaitRequest(container_id=id)),
        (client.tasks.Delete, tasks_pb2.DeleteTaskRequest(container_id=id)),
        (client.containers.Delete, containers_pb2.DeleteContainerRequest(id=id)),
    )
    for method, request in removals:
        try:
            client.call(method, request, f"remove the probe {id}", timeout=_TIMEOUT)
        except HostUnavailable:
            raise
        except LongshoreError:
            # Not there, or ended already; whatever stays the sweep removes.
            continue


def _spec(id: str, parent: str, *, systemd: bool) -> dict[str, Any]:
    """The least that needs all that can fail: cgroups, namespaces, and mounts of the kernel's."""
    namespaces = ("pid", "ipc", "uts", "mount", "network", "cgroup")
    path = f"{parent}.slice:{parent}:{id}" if systemd else f"/{parent}/{id}"
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            # The only program there is in an empty root; it is not run.
            "args": ["/proc/self/exe"],
            "env": ["PATH=/"],
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
        ],
        "linux": {
            "cgroupsPath": path,
            "namespaces": [{"type": kind} for kind in namespaces],
            "resources": {"pids": {"limit": 16}, "memory": {"limit": 64 * 1024 * 1024}},
        },
    }
