"""The main job with Glance: uploaded by OpenStack's client, created over the bus, running."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.openstack import NODE_PASSWORD, PrivateOpenStack
from bench.lab.rabbitmq import PrivateRabbit
from e2e.lab import Lab, code_of, running_lab, states, until
from host.glance.kit import falsify
from longshore.bus.client import ComputeClient
from longshore.model.reference import GLANCE


@pytest.fixture(scope="module")
def rabbit() -> Iterator[PrivateRabbit]:
    with tempfile.TemporaryDirectory(prefix="lsh-mq-") as name, PrivateRabbit(Path(name)) as one:
        yield one


@pytest.fixture(scope="module")
def lab(
    cloud: PrivateOpenStack, containerd: PrivateContainerd, rabbit: PrivateRabbit
) -> Iterator[Lab]:
    options = {
        "glance.auth_url": cloud.auth_url,
        "glance.username": "longshore",
        "glance.password": NODE_PASSWORD,
        "glance.project_name": "cloud",
    }
    with running_lab(containerd, "glance", rabbit.url, options=options) as one:
        yield one


@pytest.fixture(scope="module")
def nodes(lab: Lab, rabbit: PrivateRabbit) -> Iterator[ComputeClient]:
    until(lambda: ("rabbitmq", "up") in states(lab))
    with ComputeClient(rabbit.url, origin="glance") as client:
        yield client


def uploaded(cloud: PrivateOpenStack, archive: bytes, folder: Path) -> str:
    file = folder / "image.tar"
    file.write_bytes(archive)
    made = cloud.openstack(
        "image", "create", "--container-format", "docker", "--disk-format", "raw",
        "--file", file, "app", "-f", "json",
    )  # fmt: skip
    return str(made["id"])


def test_with_a_wrong_hash_it_is_refused_and_nothing_stays(
    cloud: PrivateOpenStack, lab: Lab, nodes: ComputeClient, archive: bytes, tmp_path: Path
) -> None:
    id = uploaded(cloud, archive, tmp_path)
    falsify(cloud.images / id, -1)
    spec = lab.spec(image=f"{GLANCE}{id}")
    assert code_of(lambda: nodes.create(lab.agent.node, spec)) == "bad_image"
    assert f"{GLANCE}{id}" not in [image.name for image in lab.client.list_images()]
    nodes.delete(lab.agent.node, spec["id"], force=True)
    lab.wait_clean()
    assert NODE_PASSWORD not in lab.agent.log.read_text()


def test_a_container_from_glance(
    cloud: PrivateOpenStack, lab: Lab, nodes: ComputeClient, archive: bytes, tmp_path: Path
) -> None:
    name = f"{GLANCE}{uploaded(cloud, archive, tmp_path)}"
    made = nodes.create(lab.agent.node, lab.spec(image=name))
    assert made.state == "running"
    assert name in [image.name for image in lab.client.list_images()]
    cloud.kill("glance")
    try:
        again = nodes.create(lab.agent.node, lab.spec(image=name))
    finally:
        cloud.start_service("glance")
    assert again.state == "running"
    for one in (made, again):
        nodes.delete(lab.agent.node, one.id, force=True)
    lab.wait_clean()
