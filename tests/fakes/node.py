"""The fake service as it is seen on the node: names, changes, logs, images, and full statuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.service import FakeService
from longshore.errors import ContainerNotFound
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
from longshore.model.status import (
    Cannot,
    Change,
    ContainerStatus,
    ConvergeStatus,
    ErrorStatus,
    ImageStatus,
    LimitsStatus,
    LogChunk,
    NeighbourStatus,
    NicStatus,
    NodeStatus,
    PortStatus,
    Resource,
    StepStatus,
)
from longshore.model.transfer import Credential

NOW = 1_700_000_000.0
GIB = 1024**3
BUSYBOX = ImageStatus(
    name="busybox:1", digest="sha256:" + "ab" * 32, size=2 * 10**6, created_at=NOW
)


@dataclass
class FakeNode(FakeService):
    """`output` is what a container has written, by its id; `archives` what was loaded."""

    specs: dict[str, ContainerSpec] = field(default_factory=dict)
    output: dict[str, list[LogChunk]] = field(default_factory=dict)
    archives: list[tuple[Path, int]] = field(default_factory=list)
    images: list[ImageStatus] = field(default_factory=lambda: [BUSYBOX])
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    state_on_create: str = "running"
    exit_code: int | None = None
    open_logs: int = 0
    _changes: list[Change] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def create(
        self,
        request: Request,
        spec: ContainerSpec,
        *,
        start: bool = True,
        credential: Credential | None = None,
    ) -> ContainerStatus:
        self.specs[spec.id] = spec
        self.credentials.append(credential)
        state = self.state_on_create if start else "created"
        made = status(spec, state).model_copy(update={"exit_code": self.exit_code})
        if not self.is_ready(spec):
            made = made.model_copy(update={"image_digest": None})
        return self._move("create", request, made, "absent")

    def start(self, request: Request, ref: str) -> ContainerStatus:
        return self._to("start", request, ref, self.state_on_create, exit_code=self.exit_code)

    def stop(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        self.asked.append(("stop", ref, grace))
        return self._to("stop", request, ref, "stopped", exit_code=143, finished_at=NOW + 90)

    def restart(self, request: Request, ref: str, *, grace: float | None = None) -> ContainerStatus:
        self.asked.append(("restart", ref, grace))
        return self._to("restart", request, ref, "running")

    def kill(self, request: Request, ref: str, *, signal: str = "SIGKILL") -> ContainerStatus:
        self.asked.append(("kill", ref, signal))
        return self._to("kill", request, ref, "stopped", exit_code=137, finished_at=NOW + 90)

    def pause(self, request: Request, ref: str) -> ContainerStatus:
        return self._to("pause", request, ref, "paused")

    def unpause(self, request: Request, ref: str) -> ContainerStatus:
        return self._to("unpause", request, ref, "running")

    def rename(self, request: Request, ref: str, name: str) -> ContainerStatus:
        return self._to("rename", request, ref, "running", name=name)

    def delete(self, request: Request, ref: str, *, force: bool = False) -> ContainerStatus:
        self.asked.append(("delete", ref, force))
        gone = self._to("delete", request, ref, "absent")
        self.containers.pop(gone.id, None)
        return gone

    def show(self, ref: str) -> ContainerStatus:
        self._arrive("show")
        return self._find(ref)

    def load_spooled_image(self, archive: Path) -> Sequence[ImageStatus]:
        self.archives.append((archive, archive.stat().st_size))
        self._arrive("load_image")
        return [BUSYBOX.model_copy(update={"size": archive.stat().st_size})]

    def list_images(self) -> Sequence[ImageStatus]:
        self._arrive("list_images")
        return list(self.images)

    def node_status(self) -> NodeStatus:
        self._arrive("node_status")
        return NODE

    def changes(self, after: int, timeout: float) -> Sequence[Change]:
        with self._changed:
            self._changed.wait_for(lambda: len(self._changes) > after, timeout)
            return self._changes[after:]

    def last_change(self) -> int:
        with self._changed:
            return len(self._changes)

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
        """Remembers of the choice what is not the default."""
        choice = {"since": since, "until": until, "stream": stream, "timestamps": timestamps}
        chosen = {key: value for key, value in choice.items() if value}
        self.asked.append(("logs", ref, tail, follow, *([chosen] if chosen else [])))
        self._arrive("logs")
        found = self._find(ref)
        self.open_logs += 1
        try:
            yield from self.output.get(found.id, [])
            while follow and self._state(found.id) in ("created", "running"):
                yield LogChunk("stdout", b"")
                with self._changed:
                    self._changed.wait(0.05)
        finally:
            self.open_logs -= 1

    def ended(self, ref: str, code: int) -> None:
        """Its process ends by itself."""
        before = self._find(ref)
        now = {"state": "stopped", "exit_code": code, "finished_at": NOW + 60}
        self._announce(before.state, before.model_copy(update=now))

    def add(self, spec: ContainerSpec, state: str = "running", **changes: Any) -> ContainerStatus:
        """Puts a container there without a verb."""
        one = status(spec, state).model_copy(update=changes)
        self.containers[one.id] = one
        return one

    def _state(self, id: str) -> str:
        return self.containers[id].state if id in self.containers else "absent"

    def _present(self, ref: str) -> ContainerStatus:
        return self._find(ref)

    def _find(self, ref: str) -> ContainerStatus:
        for one in list(self.containers.values()):
            if ref in (one.id, one.name) or one.id.startswith(ref):
                return one
        raise ContainerNotFound(
            f"cannot find container {ref}: there is none", object=ref, hint="longshore ps -a"
        )

    def _to(
        self, verb: str, request: Request, ref: str, state: str, **changes: Any
    ) -> ContainerStatus:
        if request.id in self._outcomes:
            return self._change(verb, request, self._outcomes[request.id])
        before = self._find(ref)
        after = before.model_copy(update={"state": state, **changes})
        return self._move(verb, request, after, before.state)

    def _move(
        self, verb: str, request: Request, after: ContainerStatus, previous: str
    ) -> ContainerStatus:
        done = self.done[verb]
        result = self._change(verb, request, after)
        if self.done[verb] > done:
            self._announce(previous, result)
        return result

    def gap(self) -> None:
        """Changes are missing from here on."""
        self._add(id="", name="", previous="", state="", generation=0, reason="lost", kind="gap")

    def happens(self, ref: str, kind: str) -> None:
        """Something that changes no state."""
        one = self._find(ref)
        self._add(
            id=one.id,
            name=one.name,
            previous=one.state,
            state=one.state,
            generation=one.generation,
            reason=f"its {kind} changed",
            kind=kind,
        )

    def _add(self, **fields: Any) -> None:
        with self._changed:
            count = len(self._changes)
            self._changes.append(Change(seq=count + 1, at=NOW + count, **fields))
            self._changed.notify_all()

    def _announce(self, previous: str, after: ContainerStatus) -> None:
        self.containers[after.id] = after
        self._add(
            id=after.id,
            name=after.name,
            previous=previous,
            state=after.state,
            generation=after.generation,
            reason=after.reason,
            exit_code=after.exit_code,
        )
        if after.state == "stopped" and after.spec.get("auto_remove"):
            self._announce("stopped", after.model_copy(update={"state": "absent"}))
            self.containers.pop(after.id, None)


def status(spec: ContainerSpec, state: str) -> ContainerStatus:
    """Every field filled, as a real agent's would be."""
    runs = state == "running"
    return ContainerStatus(
        id=spec.id,
        name=spec.name,
        image=spec.image,
        image_digest=BUSYBOX.digest,
        state=state,
        desired="running" if runs else "stopped",
        generation=1,
        reason="asked for",
        error=None if state != "failed" else PORT_IN_USE,
        created_at=NOW,
        started_at=NOW if runs else None,
        pid=4242 if runs else None,
        command=(spec.entrypoint or ()) + spec.command or ("sh",),
        nics=tuple(
            NicStatus(
                network=nic.network,
                interface="eth0",
                mac=nic.mac or "02:00:00:00:00:02",
                address=nic.address or "10.88.0.2",
                prefix=16,
                gateway="10.88.0.1",
            )
            for nic in spec.nics
        ),
        ports=tuple(
            PortStatus(
                protocol=port.protocol,
                host_ip=port.host_ip,
                host_port=port.host_port or 32768,
                container_port=port.container_port,
            )
            for port in spec.ports
        ),
        limits=LimitsStatus(memory=spec.limits.memory, cpus=spec.limits.cpus),
        labels=spec.labels,
        steps=(StepStatus(name="rootfs", seconds=0.0031), StepStatus(name="start", seconds=0.021)),
        spec=spec.model_dump(mode="json"),
    )


PORT_IN_USE = ErrorStatus(
    code="port_in_use",
    error="PortInUse",
    message="cannot publish 0.0.0.0:80/tcp: nginx listens there",
    field="ports[0]",
    object="0.0.0.0:80/tcp",
    hint="choose another host port",
    details={"pid": 77, "share": 0.5, "names": ["a", "b"]},
)

NODE = NodeStatus(
    name="node-1",
    version="0.1.0",
    boot_id="b6f0c1de-0000-4000-8000-000000000001",
    kernel="6.12.0",
    started_at=NOW,
    runtime="crun 1.21",
    runtime_why="the fastest that works here (10 ms against runc's 28 ms)",
    cgroup_mode="v2",
    snapshotter="overlayfs",
    snapshotter_why="containerd's default works here",
    neighbours=(
        NeighbourStatus(name="containerd", state="up", version="1.7.24", since=NOW),
        NeighbourStatus(name="broker", state="down", since=NOW + 60, detail="connection refused"),
    ),
    resources=(
        Resource(
            name="cpus",
            unit="cores",
            total=3,
            reserved=1,
            ratio=4,
            capacity=8,
            claimed=1.5,
            free=6.5,
        ),
        Resource(
            name="memory",
            unit="bytes",
            total=16 * GIB,
            capacity=16 * GIB,
            claimed=GIB,
            free=15 * GIB,
        ),
        Resource(name="pids", unit="count", total=32768, capacity=32768, claimed=100, free=32668),
    ),
    containers={"running": 2, "stopped": 1},
    cannot=(
        Cannot(feature="limits.disk", why="ext4 without project quota under the state folder"),
    ),
    converge=ConvergeStatus(at=NOW + 30, seconds=0.012, containers=3, findings=("adopted web",)),
)
