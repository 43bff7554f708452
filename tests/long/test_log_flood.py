"""A minute of 100 MB of log each second: the disk is capped, and the agent hardly notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from bench.lab.containerd import PrivateContainerd
from e2e.flood import LINE, Flood, Seen, flood
from e2e.lab import Lab, running_lab

MB, MIB = 10**6, 2**20
SECONDS = 60
#: A block has 4 MiB; so many of them in a hundred seconds are 100 MB each second.
LINES, RATE = 4 * MIB // LINE, 2400
#: [logs] max_size: some seconds of it.
LIMIT = 512 * MIB
#: By how much it may be above that for a moment, in bytes: what comes between two looks is known
#: from what came between the two before, and this machine may be busy.
ABOVE = 64 * MIB
#: The agent's memory may grow by as much as this, in bytes.
FLAT = 8 * MIB


@dataclass
class Sample:
    at: float
    disk: int
    rss: int
    cpu: float


@pytest.fixture
def node(containerd: PrivateContainerd) -> Iterator[Lab]:
    with running_lab(containerd, "flood", options={"logs.max_size": LIMIT}) as one:
        yield one


@pytest.mark.timeout(900)
def test_a_minute_of_flood(node: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    agent = psutil.Process(node.agent.pid)
    one = flood(node, blocks=SECONDS * RATE // 100, lines=LINES, rate=RATE)
    samples = [_sample(one, agent)]
    while not one.is_over():
        time.sleep(0.25)  # between two samples; nothing waits for it
        samples.append(_sample(one, agent))
    written = (one.folder / "stdout.log").stat().st_size
    seen = one.seen()
    wrong = [_off(one, seen, second) for second in _whole_seconds(seen)]
    took = samples[-1].at - samples[0].at
    with capsys.disabled():
        print(
            f"\n{written / MB:.0f} MB in {took:.0f} s ({written / MB / took:.0f} MB/s); "
            f"disk at most {max(s.disk for s in samples) / MIB:.0f} MiB of {LIMIT // MIB}; "
            f"agent {samples[0].rss / MIB:.1f} → {samples[-1].rss / MIB:.1f} MiB, at most "
            f"{max(s.rss for s in samples) / MIB:.1f}, "
            f"{(samples[-1].cpu - samples[0].cpu) / took:.1%} of a core; kept "
            f"{seen.size / MIB:.0f} MiB, {len(seen.blocks)} blocks of {len(wrong)} whole seconds; "
            f"--since gives {max(wrong)} blocks of 4 MiB too many at most"
        )
    assert max(sample.disk for sample in samples) <= LIMIT + ABOVE
    assert max(sample.rss for sample in samples) - samples[0].rss <= FLAT
    # Nothing is lost in what is kept, and it is the newest.
    assert seen.at_end
    assert seen.blocks[-1][0] == SECONDS * RATE // 100 - 1
    assert seen.size >= LIMIT // 2
    assert wrong


def _sample(one: Flood, agent: psutil.Process) -> Sample:
    times = agent.cpu_times()
    return Sample(time.monotonic(), one.disk(), agent.memory_info().rss, times.user + times.system)


def _whole_seconds(seen: Seen) -> list[int]:
    """Those of which all blocks are kept."""
    return sorted({second for _, second in seen.blocks})[1:]


def _off(one: Flood, all: Seen, second: int) -> int:
    """How many blocks of before this second `--since` gives; of those after it, each has to be
    there, and none may be older than the second before."""
    found = one.seen(since=second)
    wanted = [block for block in all.blocks if block[1] >= second]
    assert found.blocks[-len(wanted) :] == wanted
    early = found.blocks[: -len(wanted)]
    for _, at in early:
        assert at == second - 1
    return len(early)
