"""What a create and a delete cost, counted from outside. Counts, never times.

A count that changes is no fault in itself: it is a change that somebody should have meant. Put
the new number here with its reason in the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from e2e.counting import CallCounter, commits, settle, strace, traced
from e2e.lab import Lab, running_lab

ROUNDS = 5
#: Calls to containerd. Create: find the image; take a lease, prepare the snapshot, ask for its
#: layers (for the user's number); record the container, give the lease back; ask for the
#: snapshot's mounts, create the task, wait for its end, start it.
CREATE_CALLS = 10
#: Look at the task; delete it, which containerd refuses while it runs: wait, look whether it is
#: paused, kill, delete; see that the task is gone, remove the record, the snapshot, the lease.
DELETE_CALLS = 10
_PROCESSES = ("clone", "clone3", "fork", "vfork", "execve", "execveat")
_SYNCS = ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range", "msync")


@dataclass(frozen=True)
class Counted:
    lab: Lab
    counter: CallCounter

    def spec(self) -> dict[str, Any]:
        """With a port, limits and a bind mount, as in the main job."""
        return self.lab.spec(
            ports=[{"container_port": 80}],
            limits={"memory": 2**26, "cpus": 0.5, "pids": 32},
            mounts=[
                {"type": "bind", "source": str(self.lab.agent.volumes / "data"), "target": "/data"}
            ],
        )

    def count(self, call: Callable[[], object]) -> tuple[int, int]:
        """Calls to containerd and transactions, with all that it sets off in the background."""
        calls, transactions = self.counter.calls, self._commits()
        call()
        settle(lambda: self.counter.calls)
        return self.counter.calls - calls, self._commits() - transactions

    def _commits(self) -> int:
        return commits(self.lab.agent.state_dir / "journal.sqlite")


@pytest.fixture(scope="module")
def counted(containerd: PrivateContainerd) -> Iterator[Counted]:
    at = containerd.folder / "counted.sock"
    with (
        CallCounter(at, containerd.socket) as counter,
        running_lab(
            containerd,
            "costs",
            # No tick meanwhile: its calls would be counted too.
            options={"containerd.socket": at, "converge.interval": 3600},
        ) as lab,
    ):
        lab.volume("data")
        one = Counted(lab, counter)
        # What is done once in an agent's life is not what a create costs.
        spec = one.spec()
        lab.client.create(spec)
        lab.client.delete(spec["id"], force=True)
        settle(lambda: counter.calls)
        yield one
        lab.wait_clean()


def test_calls_and_transactions(counted: Counted) -> None:
    """Two transactions a verb: the intent, and what came of it."""
    made, removed = [], []
    for _ in range(ROUNDS):
        spec = counted.spec()
        made.append(counted.count(partial(counted.lab.client.create, spec)))
        removed.append(counted.count(partial(counted.lab.client.delete, spec["id"], force=True)))
    assert made == [(CREATE_CALLS, 2)] * ROUNDS
    assert removed == [(DELETE_CALLS, 2)] * ROUNDS


def test_the_agent_forks_nothing_and_syncs_once_a_verb(counted: Counted, tmp_path: Path) -> None:
    output, lab = tmp_path / "strace", counted.lab
    specs = [counted.spec() for _ in range(ROUNDS)]
    with strace(lab.agent.pid, output, *_PROCESSES, *_SYNCS):
        for spec in specs:
            lab.client.create(spec)
        for spec in specs:
            lab.client.delete(spec["id"], force=True)
    started = traced(output, rf"\b({'|'.join(_PROCESSES)})\(")
    # The namespaces are made by threads of the moment, so that something is seen at all.
    assert len(started) >= ROUNDS
    assert [line for line in started if "CLONE_THREAD" not in line] == []
    syncs = traced(output, rf"\b({'|'.join(_SYNCS)})\(")
    assert len(syncs) == 2 * ROUNDS
    assert all("journal.sqlite-wal>" in line for line in syncs)
