"""One containerd for all tests of this room; a node is it, its images, and one OCI runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.host import Scope, audit
from bench.lab.image import busybox_archive
from host.containerd.stepwise import SNAPSHOTTER, Node, spec_of, traces, until
from longshore.host.cgroup import Cgroups
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images
from longshore.host.containerd.node import detect
from longshore.host.containerd.records import ContainerRecords
from longshore.host.containerd.runtime import choose_runtime
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.containerd.tasks import Tasks
from longshore.model.host import Image, Runtime
from longshore.model.layout import Layout


@pytest.fixture(scope="session")
def containerd() -> Iterator[PrivateContainerd]:
    with tempfile.TemporaryDirectory(prefix="lsh-ctd-") as name:
        folder = Path(name)
        with PrivateContainerd(folder) as one:
            yield one
        assert audit(Scope(folders=[folder], ids=[])) == []


@pytest.fixture(scope="session")
def client(containerd: PrivateContainerd) -> Iterator[Client]:
    one = Client(containerd.socket, "longshore")
    introspect.ensure_namespace(one)
    yield one
    one.close()


@pytest.fixture(scope="session")
def images(client: Client, containerd: PrivateContainerd) -> Images:
    return Images(client, SNAPSHOTTER, spool=containerd.folder)


@pytest.fixture(scope="session")
def busybox(images: Images, containerd: PrivateContainerd) -> Image:
    return images.load(busybox_archive(containerd.folder / "busybox.tar"))[0]


@pytest.fixture(scope="session", params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest, client: Client) -> Runtime:
    return choose_runtime(client, systemd_cgroup=False, binaries=[request.param])


@pytest.fixture
def node(
    runtime: Runtime, client: Client, containerd: PrivateContainerd, busybox: Image
) -> Iterator[Node]:
    """A node on which a test leaves nothing: what is not removed is found, and then removed."""
    layout = Layout(containerd.folder / "state", containerd.folder / "run")
    node = Node(
        containerd=containerd,
        rootfs=Rootfs(client, SNAPSHOTTER),
        records=ContainerRecords(client, SNAPSHOTTER, runtime),
        tasks=Tasks(
            client, SNAPSHOTTER, containerd.bundles, Cgroups().processes, layout, timeout=20.0
        ),
        layout=layout,
        oci=detect(runtime),
        image=busybox,
    )
    yield node
    for id in node.rootfs.owned() | node.records.owned() | set(node.tasks.list()):
        node.remove(spec_of(id=id))
    assert containerd.leftovers() == []
    until(lambda: containerd.shims() == [])
    until(lambda: [path for names in node.made for path in traces(node, names)] == [])
