"""One host in memory and one of real neighbours: what is tested here must be true of both."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.lab.agent import PrivateAgent
from bench.lab.containerd import PrivateContainerd
from bench.lab.host import audit
from bench.lab.image import busybox_archive
from fakes.copies import FakeCopies
from fakes.host import FakeHost
from longshore.config import load
from longshore.host.containerd.client import Client
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.network import Network
from longshore.lifecycle.ports import Host
from longshore.lifecycle.ports.copying import Copies
from longshore.lifecycle.ports.execs import Execs
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.neighbours import Neighbourhood, meet


@pytest.fixture(scope="module")
def there() -> Iterator[Neighbourhood]:
    folder = Path(tempfile.mkdtemp(prefix="lsc-"))
    with PrivateContainerd(folder) as containerd:
        agent = PrivateAgent(folder, containerd.socket)
        config = load([], [agent.configure()])
        layout = Layout(config.state_dir, config.run_dir)
        for needed in (layout.containers, layout.volumes, layout.namespaces, layout.spool):
            needed.mkdir(parents=True)
        client = Client(containerd.socket, config.containerd.namespace)
        there = meet(config, layout, client)
        there.host.network.prepare()
        there.host.images.load(busybox_archive(folder / "busybox.tar"), lambda names: nullcontext())
        yield there
        assert containerd.leftovers() == []
        network = there.host.network
        assert isinstance(network, Network)
        network.teardown()
        agent.forget_cgroups()
        there.close()
        client.close()
        assert audit(agent.scope) == []
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def real_host(there: Neighbourhood) -> Host:
    return there.host


@pytest.fixture(scope="module")
def real_execs(there: Neighbourhood) -> Execs:
    return there.execs


@pytest.fixture
def copies(host: Host, request: pytest.FixtureRequest) -> Copies:
    """Of that host."""
    if isinstance(host.rootfs, Rootfs):
        there: Neighbourhood = request.getfixturevalue("there")
        return there.copies
    return FakeCopies()


@pytest.fixture(params=["fake", "real"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    if request.param == "real":
        real: Host = request.getfixturevalue("real_host")
        return real
    return FakeHost().host(Layout(tmp_path / "state", tmp_path / "run"))


@pytest.fixture
def names() -> Names:
    return Names(str(uuid.uuid4()))
