"""What real containers use, and who is in them, over both doors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from e2e.counting import strace, traced
from e2e.lab import Lab, until
from longshore.bus.client import ComputeClient
from longshore.errors import Conflict, ContainerNotFound
from longshore.model.values import MIB


@pytest.fixture(autouse=True)
def _deleted(lab: Lab, clean: None) -> Iterator[None]:
    yield
    lab.delete_all()


BUSY = ["sh", "-c", "while :; do :; done"]


def test_a_container_at_work(lab: Lab, nodes: ComputeClient) -> None:
    spec = lab.spec(command=BUSY, limits={"cpus": 0.2, "memory": 64 * MIB, "pids": 20})
    lab.client.create(spec)
    with closing(lab.client.follow_stats([spec["name"]], 0.3)) as readings:

        def held_up() -> bool:
            (one,) = next(readings)
            return one.cpu.throttled > 2 and one.cpu.cores is not None

        until(held_up)
    (one,) = lab.client.stats()
    assert (one.id, one.name) == (spec["id"], spec["name"])
    assert one.cpu.limit == 0.2
    assert one.cpu.throttled_seconds > 0
    assert one.cpu.periods >= one.cpu.throttled
    assert (one.memory.limit, one.pids, one.pids_limit) == (64 * MIB, 1, 20)
    assert 0 < one.memory.working_set <= one.memory.usage < 64 * MIB
    assert [nic.interface for nic in one.network] == ["eth0"]
    # The same agent, the same numbers, but for what has passed since.
    (far,) = nodes.stats(lab.agent.node, [spec["id"]])
    assert far.id == one.id
    assert far.cpu.seconds >= one.cpu.seconds


def test_who_is_in_it_and_who_is_not(lab: Lab) -> None:
    running, own, stopped = (
        lab.spec(),
        lab.spec(nics=[], command=["sleep", "600"]),
        lab.spec(),
    )
    for spec in (running, own, stopped):
        lab.client.create(spec)
    lab.client.stop(stopped["id"], grace=0)
    found = {one.id: one for one in lab.client.stats()}
    assert found.keys() == {running["id"], own["id"]}
    assert found[own["id"]].network == ()
    names = [own["name"], stopped["name"], running["name"]]
    assert [one.name for one in lab.client.stats(names)] == [own["name"], running["name"]]
    with pytest.raises(Conflict, match="it is stopped"):
        lab.client.stats([stopped["name"]])
    with pytest.raises(Conflict, match="it is stopped"):
        lab.client.top(stopped["name"])
    with pytest.raises(ContainerNotFound):
        lab.client.stats(["nobody"])


def test_traffic_is_as_the_container_sees_it(lab: Lab) -> None:
    server = lab.spec(command=["sh", "-c", "head -c 1000000 /dev/zero > /x; httpd -f -p 80 -h /"])
    address = lab.client.create(server).nics[0].address
    client = lab.spec(
        command=[
            "sh",
            "-c",
            f"until wget -q -O /dev/null http://{address}/x; do :; done; sleep 600",
        ]
    )
    lab.client.create(client)

    def came() -> bool:
        (one,) = lab.client.stats([client["id"]])
        return one.network[0].rx_bytes >= 1_000_000

    until(came)
    (far,) = lab.client.stats([server["id"]])
    (near,) = lab.client.stats([client["id"]])
    assert far.network[0].tx_bytes >= 1_000_000 > far.network[0].rx_bytes
    assert near.network[0].tx_bytes < 1_000_000


def test_processes(lab: Lab, nodes: ComputeClient) -> None:
    spec = lab.spec(command=["sh", "-c", "sleep 601 & exec sleep 602"])
    first = lab.client.create(spec).pid
    until(lambda: {one.command for one in lab.client.top(spec["id"])} == {"sleep 601", "sleep 602"})
    one, two = lab.client.top(spec["id"])
    assert (one.pid, one.parent, one.host_pid, one.user) == (1, 0, first, "root")
    assert (two.parent, two.command, two.user) == (1, "sleep 601", "root")
    assert nodes.top(lab.agent.node, spec["id"])[0].host_pid == first


def test_processes_in_a_user_namespace(lab: Lab) -> None:
    spec = lab.spec(command=["sleep", "600"], security={"user_namespace": True})
    first = lab.client.create(spec).pid
    (one,) = lab.client.top(spec["id"])
    assert (one.pid, one.host_pid, one.user) == (1, first, "root")


def test_nothing_is_kept_of_one_that_is_gone(lab: Lab) -> None:
    """Descriptors, after the agent was killed in the middle of it too."""

    def held(id: str) -> int:
        folder = f"/proc/{lab.agent.pid}/fd"
        return sum(id in os.readlink(f"{folder}/{one}") for one in _there(folder))

    spec, other = lab.spec(), lab.spec()
    lab.client.create(spec)
    lab.client.create(other)
    lab.client.stats()
    assert held(spec["id"]) > 5
    lab.agent.kill()
    lab.agent.start()
    assert len(lab.client.stats()) == 2
    lab.client.delete(spec["id"], force=True)
    assert [one.id for one in lab.client.stats()] == [other["id"]]
    assert held(spec["id"]) == 0


def test_a_reading_walks_no_tree(lab: Lab) -> None:
    for _ in range(3):
        lab.client.create(lab.spec())
    lab.client.stats()
    output = lab.agent.home / "strace"
    # Longer than a reading is shared.
    with closing(lab.client.follow_stats(interval=0.3)) as readings:
        next(readings)
        with strace(lab.agent.pid, output, "openat", "getdents64", "clone", "clone3", "setns"):
            for _ in range(3):
                assert len(next(readings)) == 3
    assert len(traced(output, r"/proc/net/dev")) >= 2
    assert traced(output, r"/sys/fs/cgroup|getdents64|setns\(") == []


def _there(folder: str) -> list[str]:
    return [one for one in os.listdir(folder) if os.path.islink(f"{folder}/{one}")]
