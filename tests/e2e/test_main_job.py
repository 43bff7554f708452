"""The main job as a scheduler sees it: over the bus, on a real host, and looked at from outside."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.lab.image import PAGE, Config, busybox_archive
from e2e.lab import Lab, free_port, until
from e2e.probes import alive, datagram, kernel_limit, node_address, page, udp_echo
from fields.proofs import proves
from longshore.bus.client import ComputeClient
from longshore.errors import ContainerExists, ContainerNotFound, RequestConflict
from longshore.model.status import ContainerStatus

pytestmark = pytest.mark.usefixtures("clean")

#: Serves the page, asks for it at the node's published port, and ends as its TERM handler says.
_SCRIPT = """
trap 'exit 7' TERM
echo "user $(id -u):$(id -g) says $GREETING on $(hostname)"
echo "this is an error" >&2
echo written > /rw/from-container
touch /ro/no 2>/dev/null || echo "/ro is read-only"
cat /ro/seed
httpd -p 80 -h /www
until wget -q -O /rw/hairpin.new "http://$NODE:$PORT/"; do sleep 0.05; done
mv /rw/hairpin.new /rw/hairpin
sleep 1000 & wait
"""


@dataclass(frozen=True)
class Job:
    """The container of most of these tests, running."""

    lab: Lab
    spec: dict[str, Any]
    request: str
    created: ContainerStatus
    rw: Path
    tcp: int
    udp: int

    @property
    def addresses(self) -> list[str]:
        """Where the node is asked: loopback, the way out, and the bridge."""
        return ["127.0.0.1", node_address(), self.created.nics[0].gateway]


@pytest.fixture
def job(lab: Lab, nodes: ComputeClient, clean: None) -> Iterator[Job]:
    rw, ro, tcp, udp = lab.volume("rw"), lab.volume("ro"), free_port(), free_port()
    os.chown(rw, 1000, 1000)
    (ro / "seed").write_text("sown\n")
    spec = lab.spec(
        command=["sh", "-c", _SCRIPT],
        env={"GREETING": "ahoy", "NODE": node_address(), "PORT": str(tcp)},
        user="app",
        hostname="web.test",
        labels={"tier": "front"},
        limits={"memory": 64 * 2**20, "cpus": 0.5, "pids": 40},
        ports=[
            {"container_port": 80, "host_port": tcp},
            {"container_port": 9000, "host_port": udp, "protocol": "udp"},
            {"container_port": 80},
        ],
        mounts=[
            {"type": "bind", "source": str(rw), "target": "/rw"},
            {"type": "bind", "source": str(ro), "target": "/ro", "read_only": True},
        ],
    )
    request = str(uuid.uuid4())
    created = nodes.create(lab.agent.node, spec, request_id=request)
    assert created.state == "running"
    yield Job(lab, spec, request, created, rw, tcp, udp)
    if any(one.id == created.id for one in nodes.list(lab.agent.node)):
        nodes.delete(lab.agent.node, created.id, force=True)


def log_of(lab: Lab, ref: str) -> dict[str, str]:
    streams: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    for chunk in lab.client.logs(ref):
        streams[chunk.stream] += chunk.data
    return {name: data.decode() for name, data in streams.items()}


def has_ended(lab: Lab, id: str) -> bool:
    return lab.client.show(id).state == "stopped"


def is_longer(values: Sequence[object], than: int) -> bool:
    return len(values) > than


def test_it_runs_as_was_asked(job: Job) -> None:
    until((job.rw / "hairpin").exists)
    assert log_of(job.lab, job.created.id) == {
        "stdout": "user 1000:1000 says ahoy on web.test\n/ro is read-only\nsown\n",
        "stderr": "this is an error\n",
    }
    assert (job.rw / "from-container").read_text() == "written\n"
    assert (job.rw / "from-container").stat().st_uid == 1000
    assert job.created.labels == {"tier": "front"}
    info = json.loads(
        job.lab.containerd.ctr("containers", "info", job.created.id, namespace=job.lab.namespace)
    )
    assert info["Labels"]["tier"] == "front"
    assert [step.name for step in job.created.steps][-1] == "start"


def test_limits_are_the_kernels(job: Job) -> None:
    pid = job.created.pid
    assert pid is not None
    assert kernel_limit(pid, "memory") == 64 * 2**20
    assert kernel_limit(pid, "pids") == 40
    assert kernel_limit(pid, "cpu quota") == 50_000
    shown = job.created.limits
    assert shown is not None
    assert (shown.memory, shown.pids, shown.cpus) == (64 * 2**20, 40, 0.5)


@proves(
    "ports[].container_port", "ports[].host_port", "ports[].protocol",
    back="pages and datagrams through the port",
)  # fmt: skip
def test_published_ports_are_reachable_from_everywhere(job: Job, nodes: ComputeClient) -> None:
    # From the container itself, by way of the node.
    until((job.rw / "hairpin").exists)
    assert (job.rw / "hairpin").read_bytes() == PAGE
    chosen = job.created.ports[2].host_port
    for address in job.addresses:
        for port in (job.tcp, chosen):
            assert page(address, port) == PAGE
    assert job.created.pid is not None
    with udp_echo(job.created.pid, 9000):
        for address in job.addresses:
            assert datagram(address, job.udp, b"ahoy") == b"echo ahoy"
    # From another container: published, and straight at its address.
    inside = f"http://{job.created.nics[0].address}:80/"
    for url in (*(f"http://{at}:{job.tcp}/" for at in job.addresses[1:]), inside):
        other = job.lab.spec(command=["wget", "-q", "-O", "-", url])
        nodes.create(job.lab.agent.node, other)
        until(partial(has_ended, job.lab, other["id"]))
        assert log_of(job.lab, other["id"]) == {"stdout": PAGE.decode(), "stderr": ""}, url
        assert nodes.delete(job.lab.agent.node, other["id"]).exit_code == 0


def test_the_agents_restart_is_not_noticed(job: Job, nodes: ComputeClient) -> None:
    until((job.rw / "hairpin").exists)
    over, pages, failures = threading.Event(), [], []

    def fetch() -> None:
        while not over.is_set():
            try:
                pages.append(page("127.0.0.1", job.tcp))
            except OSError as error:
                failures.append(error)

    visitor = threading.Thread(target=fetch)
    visitor.start()
    try:
        for end in (job.lab.agent.stop, job.lab.agent.kill):
            seen = len(pages)
            end()
            until(partial(is_longer, pages, seen + 5))
            job.lab.agent.start()
    finally:
        over.set()
        visitor.join()
    assert failures == []
    assert set(pages) == {PAGE}
    now = nodes.show(job.lab.agent.node, job.created.id)
    assert (now.state, now.pid, now.started_at) == (
        "running",
        job.created.pid,
        job.created.started_at,
    )


def test_stop_start_delete(job: Job, nodes: ComputeClient) -> None:
    node, id, pid = job.lab.agent.node, job.created.id, job.created.pid
    until((job.rw / "hairpin").exists)
    stopped = nodes.stop(node, id, grace=10.0)
    assert (stopped.state, stopped.exit_code, stopped.pid) == ("stopped", 7, None)
    assert pid is not None
    assert not alive(pid)
    with pytest.raises(OSError, match=r"refused|reset|timed out"):
        page("127.0.0.1", job.tcp)
    (job.rw / "hairpin").unlink()
    started = nodes.start(node, id)
    assert (started.nics, started.ports) == (job.created.nics, job.created.ports)
    assert started.pid != pid
    until((job.rw / "hairpin").exists)
    assert page(node_address(), job.tcp) == PAGE
    # The log goes on after what the first run wrote.
    assert log_of(job.lab, id)["stderr"] == "this is an error\n" * 2
    assert nodes.delete(node, id, force=True).state == "absent"
    with pytest.raises(ContainerNotFound):
        nodes.show(node, id)
    job.lab.wait_clean()
    assert sorted(path.name for path in job.rw.iterdir()) == ["from-container", "hairpin"]


def test_the_same_request_gets_the_same_answer(job: Job, nodes: ComputeClient) -> None:
    node = job.lab.agent.node
    again = nodes.create(node, job.spec, request_id=job.request)
    assert again == job.created
    assert len(job.lab.containerd.shims()) == 1
    with pytest.raises(RequestConflict) as conflict:
        nodes.create(node, {**job.spec, "user": "root"}, request_id=job.request)
    assert (conflict.value.field, conflict.value.object) == ("request_id", job.request)
    with pytest.raises(ContainerExists) as taken:
        nodes.create(node, {**job.spec, "name": "another"})
    assert (taken.value.field, taken.value.object) == ("id", job.created.id)
    assert [one.id for one in nodes.list(node)] == [job.created.id]
    # Also after the agent has died and forgotten all that it did not write down.
    job.lab.agent.kill()
    job.lab.agent.start()
    assert nodes.create(node, job.spec, request_id=job.request) == job.created


def test_images_come_over_the_bus_too(lab: Lab, nodes: ComputeClient) -> None:
    archive = busybox_archive(
        lab.agent.archives / "greeter.tar", "greeter:2", config=Config(command=("echo", "ahoy"))
    )
    (loaded,) = nodes.load_image(lab.agent.node, archive)
    assert loaded.name == "docker.io/library/greeter:2"
    assert loaded in nodes.list_images(lab.agent.node)
    spec = lab.spec(image="greeter:2")
    created = nodes.create(lab.agent.node, spec)
    assert created.image_digest == loaded.digest
    until(partial(has_ended, lab, created.id))
    assert log_of(lab, created.id) == {"stdout": "ahoy\n", "stderr": ""}
    ended = nodes.delete(lab.agent.node, created.id)
    assert ended.exit_code == 0


def test_a_password_that_everybody_can_read_is_told(lab: Lab) -> None:
    """By the next agent's first look at everything, in its log and in its status."""
    config = lab.agent.configure()
    config.chmod(0o644)
    try:
        lab.agent.stop()
        lab.agent.start()
        (told,) = [one for one in lab.client.node_status().converge.findings if str(config) in one]
        assert "everybody can read it" in told
        assert told in lab.agent.log.read_text()
    finally:
        config.chmod(0o600)
        lab.agent.stop()
        lab.agent.start()
    assert not any(str(config) in one for one in lab.client.node_status().converge.findings)


def test_the_node_says_what_it_is(lab: Lab, nodes: ComputeClient) -> None:
    spec = lab.spec(limits={"memory": 2**26, "cpus": 0.5, "pids": 20})
    nodes.create(lab.agent.node, spec)
    status = nodes.node_status(lab.agent.node)
    assert status.name == lab.agent.node
    assert status.runtime in ("crun", "runc")
    assert status.runtime_why
    assert {one.name: one.state for one in status.neighbours} == {
        "containerd": "up",
        "rabbitmq": "up",
    }
    assert status.containers == {"running": 1}
    claimed = {one.name: one.claimed for one in status.resources}
    assert (claimed["cpus"], claimed["memory"], claimed["pids"]) == (0.5, 2**26, 20)
    # Judged where containerd keeps the root file systems, which may be another disk than ours.
    quota = [one.why for one in status.cannot if one.feature == "limits.disk"]
    assert all(str(lab.containerd.home) in why for why in quota)
    # The same value by the other door.
    local = lab.client.node_status()
    assert (
        local.model_copy(update={"converge": status.converge}).resources[:3]
        == (status.resources[:3])
    )
    assert local.neighbours == status.neighbours
    nodes.delete(lab.agent.node, spec["id"], force=True)
