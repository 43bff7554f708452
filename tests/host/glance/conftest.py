"""One Keystone and one Glance for all tests of this room."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.host import Scope, audit
from bench.lab.image import busybox_archive
from bench.lab.openstack import PrivateOpenStack
from host.glance.kit import Clock, glance_of, pull
from host.glance.proxy import GlanceProxy
from longshore.host.glance.source import Glance


@pytest.fixture(scope="session")
def cloud() -> Iterator[PrivateOpenStack]:
    with tempfile.TemporaryDirectory(prefix="lsh-cloud-") as name:
        with PrivateOpenStack(Path(name)) as one:
            yield one
        assert audit(Scope(folders=[Path(name)], ids=[])) == []


@pytest.fixture(scope="session")
def containerd() -> Iterator[PrivateContainerd]:
    with tempfile.TemporaryDirectory(prefix="lsh-ctd-") as name:
        with PrivateContainerd(Path(name)) as one:
            yield one
        assert audit(Scope(folders=[Path(name)], ids=[])) == []


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return busybox_archive(tmp_path_factory.mktemp("glance") / "busybox.tar").read_bytes()


@pytest.fixture(scope="session")
def web(cloud: PrivateOpenStack, archive: bytes) -> str:
    """The id of an image that is as it should be."""
    return cloud.upload("web", archive)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def proxy(cloud: PrivateOpenStack) -> Iterator[GlanceProxy]:
    with GlanceProxy(cloud.glance_port) as one:
        yield one


@pytest.fixture
def glance(cloud: PrivateOpenStack, spool: Path, clock: Clock) -> Glance:
    return glance_of(cloud, spool, clock)


@pytest.fixture
def behind(cloud: PrivateOpenStack, spool: Path, clock: Clock, proxy: GlanceProxy) -> Glance:
    """Glance as it is seen through the proxy."""
    return glance_of(cloud, spool, clock, endpoint_override=proxy.url)


@pytest.fixture
def same_digest(glance: Glance, web: str) -> list[str]:
    return pull(glance, web)
