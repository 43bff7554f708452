"""How much of the agent's CPU it takes to tell what many containers use.

python -m bench.stats [--containers 200] [--readings 40]

The containers are real, each with an interface and limits, and do nothing. CPU time is the agent
process's own, user and system, over all readings; what it uses while nobody asks, over as long a
time, is taken off. Exit code 1 if a reading of all takes more than the goal.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import psutil

from bench.lab.agent import PrivateAgent
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import busybox_archive
from longshore.cli.output import Column, print_table
from longshore.local.client import LocalClient

#: Milliseconds of CPU for one reading of 200 containers.
GOAL = 50.0
_FOR = 200
#: Above the time for which the agent shares a reading.
_INTERVAL = 0.3
_AT_ONCE = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.stats")
    parser.add_argument("--containers", type=int, default=_FOR)
    parser.add_argument("--readings", type=int, default=40)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lsh-stats-"))
    try:
        with PrivateContainerd(folder) as containerd:
            # No tick meanwhile: it looks at each container, and would be counted too.
            quiet = {"converge.interval": 3600}
            agent = PrivateAgent(folder, containerd.socket, options=quiet)
            try:
                with agent, LocalClient(agent.socket, 120) as client:
                    return _measure(agent, client, options.containers, options.readings)
            finally:
                agent.forget()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(agent: PrivateAgent, client: LocalClient, containers: int, readings: int) -> int:
    with busybox_archive(agent.archives / "busybox.tar").open("rb") as file:
        client.load_image(file)
    ids = [str(uuid.uuid4()) for _ in range(containers)]

    def create(id: str) -> None:
        client.create(
            {
                "id": id,
                "name": f"c{id[:8]}",
                "image": "busybox:latest",
                "command": ["sleep", "86400"],
                "limits": {"cpus": 0.01, "memory": 2**25, "pids": 32},
            }
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(create, ids))
        try:
            return _report(psutil.Process(agent.pid), client, containers, readings)
        finally:
            list(pool.map(lambda id: client.delete(id, force=True), ids))


def _report(agent: psutil.Process, client: LocalClient, containers: int, readings: int) -> int:
    assert len(client.stats()) == containers
    idle = _used(agent, lambda: time.sleep(readings * _INTERVAL))

    def once() -> None:
        for _ in range(readings):
            client.stats()
            time.sleep(_INTERVAL)

    def stream() -> None:
        with closing(client.follow_stats(interval=_INTERVAL)) as found:
            list(islice(found, readings))

    rows, per_reading = [], []
    for name, work in (("asked for", once), ("followed", stream)):
        cpu = max(0.0, (_used(agent, work) - idle) / readings * 1000)
        per_reading.append(cpu)
        rows.append([name, f"{cpu:.1f} ms", f"{cpu / containers * 1000:.0f} µs"])
    columns = [Column("READING"), Column("CPU", right=True), Column("A CONTAINER", right=True)]
    print_table(columns, rows)
    goal = GOAL * containers / _FOR
    print(f"{containers} containers, {agent.num_fds()} files open in the agent; ", end="")
    print(f"the goal is at most {goal:g} ms")
    return 0 if max(per_reading) <= goal else 1


def _used(agent: psutil.Process, work: Callable[[], None]) -> float:
    """Seconds of CPU meanwhile."""
    before = agent.cpu_times()
    work()
    after = agent.cpu_times()
    return (after.user + after.system) - (before.user + before.system)


if __name__ == "__main__":
    sys.exit(main())
