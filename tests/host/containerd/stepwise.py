"""A container taken through the steps of a create by hand, for tests of this room."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.lab.containerd import RUNTIME_STATE, PrivateContainerd
from longshore.host.cgroup import Cgroups
from longshore.host.containerd.asked import look_up
from longshore.host.containerd.node import OciNode
from longshore.host.containerd.oci import oci_spec
from longshore.host.containerd.records import ContainerRecords
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.containerd.tasks import Tasks
from longshore.host.files import Files
from longshore.host.init import Init
from longshore.host.volumes import Volumes
from longshore.model.anonymous import with_anonymous
from longshore.model.host import Exit, Image, TaskStatus
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec, parse

SNAPSHOTTER = "overlayfs"


@dataclass(frozen=True)
class Node:
    """What one container passes through, in the order of the steps of a create."""

    containerd: PrivateContainerd
    rootfs: Rootfs
    records: ContainerRecords
    tasks: Tasks
    layout: Layout
    oci: OciNode
    image: Image
    made: list[Names] = field(default_factory=list)

    @property
    def sources(self) -> Path:
        """The root of bind mounts."""
        return self.containerd.folder / "srv"

    def make(
        self, change: Callable[[dict[str, Any]], object] | None = None, **fields: Any
    ) -> ContainerSpec:
        """All up to the record. `change` is done to the OCI spec before it is recorded."""
        spec = spec_of(**fields)
        names = Names(spec.id)
        self.made.append(names)
        folder = self.layout.folder(names)
        folder.mkdir(parents=True)
        for file in ("hostname", "hosts", "resolv.conf", "stdout.log", "stderr.log"):
            (folder / file).touch()
        Files(self.layout).show(names)
        self.layout.namespaces.mkdir(parents=True, exist_ok=True)
        netns = self.layout.netns(names)
        netns.touch()
        subprocess.run(["unshare", f"--net={netns}", "true"], check=True)
        self.rootfs.prepare(names, self.image)
        user = self.rootfs.user(names, spec.user or self.image.config.user, spec.groups)
        asked = replace(look_up(spec, Init()), flags=Volumes(self.layout, list).flags(names))
        oci = oci_spec(spec, names, self.image.config, user, self.layout, self.oci, None, asked)
        if change is not None:
            change(oci)
        self.records.put(names, self.image, oci, {"longshore/name": spec.name, **spec.labels})
        self.rootfs.release(names)
        return spec

    def create(self, spec: ContainerSpec) -> int:
        """Binds what is in `sources`, and the image's own volumes, which somebody has filled."""
        names = Names(spec.id)
        mounts = with_anonymous(spec.mounts, self.image.config.volumes, names.id)
        Volumes(self.layout, lambda: [self.sources]).mount(names, mounts)
        return self.tasks.create(names, self.layout.stdout(names), self.layout.stderr(names))

    def run(
        self, change: Callable[[dict[str, Any]], object] | None = None, **fields: Any
    ) -> ContainerSpec:
        """Up to a running task."""
        spec = self.make(change, **fields)
        self.create(spec)
        self.tasks.start(Names(spec.id))
        return spec

    def outcome(self, **fields: Any) -> tuple[int, str, str]:
        """Runs a container to its end: exit code, stdout, stderr."""
        spec = self.run(**fields)
        code = self.ended(spec)
        return (code, *self.output(spec))

    def finish(self, spec: ContainerSpec) -> tuple[str, str]:
        """Starts what was created, runs it to its end: stdout and stderr."""
        self.tasks.start(Names(spec.id))
        self.ended(spec)
        return self.output(spec)

    def ended(self, spec: ContainerSpec) -> int:
        """The exit code of a container that ends by itself and is then removed."""
        names = Names(spec.id)
        until(lambda: self.tasks.get(names).status is TaskStatus.STOPPED)
        ended = self.remove(spec)
        assert ended is not None
        return ended.code

    def output(self, spec: ContainerSpec) -> tuple[str, str]:
        names = Names(spec.id)
        return self.layout.stdout(names).read_text(), self.layout.stderr(names).read_text()

    def shell(self, script: str, **fields: Any) -> str:
        """What a script prints; it must succeed."""
        code, out, err = self.outcome(command=["sh", "-ec", script], **fields)
        assert (code, err) == (0, "")
        return out

    def remove(self, spec: ContainerSpec) -> Exit | None:
        names = Names(spec.id)
        ended = self.tasks.delete(names)
        Volumes(self.layout, list).unmount(names)
        Files(self.layout).unshow(names)
        Cgroups().remove(names)
        self.records.remove(names)
        self.rootfs.remove(names)
        self.rootfs.release(names)
        netns = self.layout.netns(names)
        if netns.exists():
            subprocess.run(["umount", netns], check=True)
            netns.unlink()
        return ended


def traces(node: Node, names: Names) -> list[Path]:
    """What a runtime or a shim keeps of a container."""
    bundles = node.containerd.home / "state/io.containerd.runtime.v2.task/longshore"
    places = [
        bundles / names.id,
        RUNTIME_STATE / "longshore" / names.id,
        *Path("/sys/fs/cgroup").glob(f"*/{names.cgroup}"),
    ]
    return [path for path in places if path.exists()]


def spec_of(**fields: Any) -> ContainerSpec:
    """A spec as it comes in a message."""
    message: Mapping[str, Any] = {
        "id": str(uuid4()),
        "name": "test",
        "image": "busybox",
        "command": ["sleep", "1000"],
        **fields,
    }
    return parse(json.loads(json.dumps(message)))


def until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for what another process does; fails if it never does."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
