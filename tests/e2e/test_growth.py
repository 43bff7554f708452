"""Two hundred containers come and go; the agent is as large as before, and the host as clean."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from e2e.lab import Lab, until

pytestmark = pytest.mark.usefixtures("clean")

COUNT = 200
AT_ONCE = 8
#: Bytes. What may stay of 200 containers: their changes of state, of which the newest 4096 are
#: kept for watchers, and the journal's page cache. One record with its spec leaked per container
#: would be more.
RSS_GROWTH = 4 * 2**20
#: What leaks does so each time; what the allocator takes for its own ends it takes once.
ROUNDS = 3


@dataclass(frozen=True)
class Size:
    descriptors: int
    threads: int
    children: int
    rss: int


def test_growth(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    # More at once than later: pools of threads grow when all of theirs are at work, up to their
    # bound, and never shrink.
    _come_and_go(lab, COUNT // 2, 2 * AT_ONCE)
    grown = []
    for _ in range(ROUNDS):
        before = _size(lab)
        _come_and_go(lab, COUNT, AT_ONCE)
        # The last exits are still being heard of.
        after = until(partial(_no_larger, lab, before))
        with capsys.disabled():
            print(f"\n{COUNT} containers: {before} → {after}")
        assert after.children == 0
        grown.append(after.rss - before.rss)
        if grown[-1] < RSS_GROWTH:
            break
    assert min(grown) < RSS_GROWTH
    lab.wait_clean()


def _come_and_go(lab: Lab, count: int, at_once: int) -> None:
    volume = lab.volume("data")

    def one(number: int) -> str:
        spec = lab.spec(
            ports=[{"container_port": 80}],
            limits={"memory": 2**26, "cpus": 0.5, "pids": 32},
            mounts=[{"type": "bind", "source": str(volume), "target": "/data"}],
        )
        created = lab.client.create(spec)
        assert created.state == "running"
        return lab.client.delete(created.id, force=True).state

    with ThreadPoolExecutor(at_once) as pool:
        assert list(pool.map(one, range(count))) == ["absent"] * count


def _no_larger(lab: Lab, before: Size) -> Size | None:
    now = _size(lab)
    counts = now.descriptors <= before.descriptors and now.threads <= before.threads
    return now if counts else None


def _size(lab: Lab) -> Size:
    agent = psutil.Process(lab.agent.pid)
    return Size(
        len(list(Path(f"/proc/{agent.pid}/fd").iterdir())),
        agent.num_threads(),
        len(agent.children()),
        agent.memory_info().rss,
    )
