"""An authority, built images and a containerd that is pulled into; a registry that goes wrong is
each test's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.bad_registry import BadRegistry
from bench.lab.built import Built
from bench.lab.certificates import Authority, Certificate
from bench.lab.containerd import PrivateContainerd
from bench.lab.host import Scope, audit
from host.registry.pulled import SNAPSHOTTER, Node, Pull
from longshore.host.containerd import introspect
from longshore.host.containerd.client import Client
from longshore.host.containerd.images import Images


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """Good for 127.0.0.1 and localhost."""
    return authority.issue("registry")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with Built(tmp_path_factory.mktemp("built")) as one:
        yield one


@pytest.fixture
def bad(certificate: Certificate) -> Iterator[BadRegistry]:
    """By TLS, without authentication."""
    with BadRegistry(certificate) as one:
        yield one


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="lsh-bad-") as name:
        folder = Path(name)
        with PrivateContainerd(folder) as containerd:
            client = Client(containerd.socket, "longshore")
            introspect.ensure_namespace(client)
            yield Node(containerd, client, Images(client, SNAPSHOTTER, spool=folder))
            client.close()
        assert audit(Scope(folders=[folder], ids=[])) == []


@pytest.fixture
def nothing_left(node: Node) -> Iterator[None]:
    """The store is after the test as it was before it, which is as the last one left it."""
    before = node.before or node.kept()
    yield
    node.before = node.kept()
    assert node.before == before


@pytest.fixture
def pull(
    node: Node, authority: Authority, bad: BadRegistry, tmp_path: Path, nothing_left: None
) -> Pull:
    return Pull(node, authority.pem, tmp_path, bad)
