"""More is asked for at once than the node has: who runs, who does not, and what the node says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.rabbitmq import PrivateRabbit
from e2e.lab import Lab, running_lab, states, until
from longshore.bus.client import ComputeClient
from longshore.errors import Exhausted, InvalidSpec, LongshoreError
from longshore.model.status import ContainerStatus, NodeStatus

MIB = 2**20
#: What containers may have of this node, whatever it has: 500 MiB, and 2.5 cores.
CAPACITY = {"memory": 500 * MIB, "cpus": 2.5}
AT_ONCE, EACH, FITTING = 16, 64 * MIB, 7
FLAVORS = """
[flavor.small]
description = "an eighth of it"
limits.memory = "64m"
limits.cpus = 0.25
"""


@pytest.fixture(scope="module")
def small(
    containerd: PrivateContainerd, rabbit: PrivateRabbit, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A node that keeps all but that from its containers."""
    flavors = tmp_path_factory.mktemp("flavors") / "flavors.toml"
    flavors.write_text(FLAVORS)
    cores = psutil.cpu_count() or 1
    options = {
        "reserve.memory": psutil.virtual_memory().total - CAPACITY["memory"],
        "overcommit.cpus": CAPACITY["cpus"] / cores,
        "flavors.file": flavors,
        "converge.workers": AT_ONCE,
    }
    with running_lab(containerd, "small", rabbit.url, options=options) as lab:
        until(lambda: ("rabbitmq", "up") in states(lab))
        yield lab


@pytest.fixture
def node(small: Lab, rabbit: PrivateRabbit) -> Iterator[ComputeClient]:
    small.wait_clean()
    # Patient: what was asked is answered after the agent's next start, and after all the others.
    with ComputeClient(rabbit.url, origin="e2e", timeout=180.0) as client:
        yield client
    small.agent.start()
    small.delete_all()
    small.wait_clean()


def asked(lab: Lab, memory: int = EACH) -> dict[str, Any]:
    return lab.spec(command=["sleep", "1000"], nics=[], limits={"memory": memory, "cpus": 0.25})


def outcome(node: ComputeClient, lab: Lab, spec: dict[str, Any]) -> ContainerStatus | Exhausted:
    try:
        return node.create(lab.agent.node, spec)
    except Exhausted as error:
        return error


def row(status: NodeStatus, name: str) -> tuple[float, float, float]:
    (one,) = (one for one in status.resources if one.name == name)
    return one.capacity, one.claimed, one.free


def memory_of_cgroups(lab: Lab) -> int:
    """What the kernel lets all of the agent's containers have together."""
    root, total = Path("/sys/fs/cgroup"), 0
    for pattern in (
        f"memory/{lab.agent.cgroup}/*/memory.limit_in_bytes",
        f"{lab.agent.cgroup}*/*/memory.max",
    ):
        for file in root.glob(pattern):
            try:
                text = file.read_text().strip()
            except OSError:  # it ends just now
                continue
            # One that is just being made has no limit yet, and nothing running in it.
            total += int(text) if text.isdigit() and int(text) < 2**50 else 0
    return total


@contextmanager
def watched(lab: Lab) -> Iterator[list[tuple[float, int]]]:
    """What was claimed and what the kernel allowed, seen again and again meanwhile."""
    seen: list[tuple[float, int]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                claimed = row(lab.client.node_status(), "memory")[1]
            except LongshoreError:  # the agent is dead just now
                claimed = 0
            seen.append((claimed, memory_of_cgroups(lab)))
            time.sleep(0.01)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def none_over(seen: list[tuple[float, int]]) -> bool:
    return bool(seen) and all(max(one) <= CAPACITY["memory"] for one in seen)


def test_of_sixteen_at_once_those_run_that_fit(small: Lab, node: ComputeClient) -> None:
    specs = [asked(small) for _ in range(AT_ONCE)]
    with watched(small) as seen, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda spec: outcome(node, small, spec), specs))
        running = [one for one in answers if isinstance(one, ContainerStatus)]
        refused = [one for one in answers if isinstance(one, Exhausted)]
        assert (len(running), len(refused)) == (FITTING, AT_ONCE - FITTING)
        assert {one.state for one in running} == {"running"}
        assert {one.limits and one.limits.memory for one in running} == {EACH}
        assert memory_of_cgroups(small) == FITTING * EACH
        for error in refused:
            (missing,) = error.details["missing"]
            assert error.field == "limits.memory"
            assert (missing["resource"], missing["asked"]) == ("memory", EACH)
            # Who was refused had less than it wanted; never less than what the seven leave.
            assert missing["free"] == CAPACITY["memory"] - FITTING * EACH
            assert "not enough memory: asked 64 MiB, 52 MiB free" in str(error)
        status = node.node_status(small.agent.node)
        left = CAPACITY["memory"] - FITTING * EACH
        assert row(status, "memory") == (CAPACITY["memory"], FITTING * EACH, left)
        assert row(status, "cpus") == (2.5, 0.25 * FITTING, 2.5 - 0.25 * FITTING)
        # Refused ones are not there at all; nor does asking make anything.
        assert sorted(one.id for one in small.client.list()) == sorted(one.id for one in running)
        assert node.fits(small.agent.node, asked(small, int(left))).fits
        tight = node.fits(small.agent.node, asked(small))
        assert (tight.fits, [one.free for one in tight.missing]) == (False, [left])
        # Given back at the end, and then it is there for another.
        small.client.stop(running[0].id, grace=0)
        assert not node.fits(small.agent.node, asked(small)).fits
        node.delete(small.agent.node, running[0].id)
        another = asked(small)
        assert node.create(small.agent.node, another).state == "running"
        for one in small.client.list():
            node.delete(small.agent.node, one.id, force=True)
    assert none_over(seen)
    assert row(node.node_status(small.agent.node), "memory")[1] == 0


def test_nor_when_the_agent_is_killed_in_the_middle(small: Lab, node: ComputeClient) -> None:
    specs = [asked(small) for _ in range(AT_ONCE)]
    with watched(small) as seen, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [pool.submit(outcome, node, small, spec) for spec in specs]
        until(lambda: small.client.list())
        small.agent.kill()
        small.agent.start()
        settled = [answer.result() for answer in answers]
    running = [one for one in settled if isinstance(one, ContainerStatus)]
    assert len(running) == FITTING
    assert sorted(one.id for one in small.client.list()) == sorted(one.id for one in running)
    assert {one.state for one in small.client.list()} == {"running"}
    assert none_over(seen)
    claimed = row(node.node_status(small.agent.node), "memory")[1]
    assert claimed == memory_of_cgroups(small) == FITTING * EACH


def test_a_flavor_of_the_node(small: Lab, node: ComputeClient) -> None:
    (flavor,) = node.list_flavors(small.agent.node)
    assert flavor == small.client.list_flavors()[0]
    assert (flavor.name, flavor.limits.memory, flavor.limits.cpus) == ("small", EACH, 0.25)
    spec = small.spec(
        command=["sleep", "1000"], nics=[], flavor={"name": "small"}, limits={"cpus": 0.5}
    )
    made = node.create(small.agent.node, spec)
    assert made.limits is not None
    assert (made.limits.memory, made.limits.cpus) == (EACH, 0.5)
    assert (made.spec["flavor"]["name"], made.spec["limits"]["memory"]) == ("small", EACH)
    assert row(node.node_status(small.agent.node), "cpus")[1] == 0.5
    with pytest.raises(InvalidSpec, match="this node has no flavor big"):
        node.create(small.agent.node, small.spec(flavor={"name": "big"}))
    answer = node.fits(small.agent.node, small.spec(flavor={"name": "big"}))
    assert answer.error is not None
    assert (answer.error.code, answer.error.field) == ("invalid_spec", "flavor")
    inline = {"name": "big", "limits": {"memory": 501 * MIB}}
    refused = node.fits(small.agent.node, small.spec(flavor=inline))
    assert [one.asked for one in refused.missing] == [501 * MIB]
