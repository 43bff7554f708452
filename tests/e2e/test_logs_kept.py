"""Logs of a real container: kept short while it writes, and found by their time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.lab.containerd import PrivateContainerd
from e2e.flood import LINE, flood
from e2e.lab import Lab, running_lab, until
from longshore.bus.client import ComputeClient

MIB = 2**20
LIMIT = 4 * MIB
#: Of each file the block in which what is kept begins.
_BLOCKS = 4 * 65536


@pytest.fixture(scope="module")
def small(containerd: PrivateContainerd) -> Iterator[Lab]:
    """A node where a log may have 4 MiB."""
    with running_lab(containerd, "logs", options={"logs.max_size": LIMIT}) as one:
        yield one


def text(lab: Lab, id: str, **choice: float) -> bytes:
    chunks = lab.client.logs(id, stream="stdout", **choice)  # type: ignore[arg-type]  # numbers all
    return b"".join(chunk.data for chunk in chunks)


def test_much_is_kept_short_and_whole(small: Lab) -> None:
    """Eighty megabytes, as fast as they come: what is kept is the newest, and whole; and so is what
    somebody reads meanwhile."""
    blocks, lines = 80, 8192
    one = flood(small, blocks=blocks, lines=lines, rate=100_000)
    while not one.is_over():
        one.seen()
    until(lambda: one.disk() <= LIMIT + _BLOCKS)
    seen = one.seen()
    assert seen.at_end
    assert seen.blocks[-1][0] == blocks - 1
    assert LIMIT // 2 <= seen.size <= LIMIT
    assert one.seen(tail=5).size == 5 * LINE
    assert (one.folder / "stdout.log").stat().st_size > 80 * MIB
    small.client.delete(one.id, force=True)


def test_since_and_until_over_a_restart_of_the_agent(lab: Lab) -> None:
    """What each second wrote is found by it; what was written while nobody looked has one time."""
    script = "n=0; while true; do date +%s; echo $n >&2; n=$((n+1)); sleep 0.2; done"
    id = lab.client.create(lab.spec(command=["sh", "-c", script])).id

    def seconds(**choice: float) -> list[int]:
        return [int(line) for line in text(lab, id, **choice).split()]

    def since(began: int, span: int) -> None:
        until(lambda: seconds()[-1] > began + span)
        every = seconds()
        for at in range(began, began + span):
            assert seconds(since=at, until=at + 1) == [one for one in every if one == at]

    began = until(seconds)[-1] + 1
    since(began, 3)
    lab.agent.kill()
    down = time.time()
    log = lab.agent.state_dir / "containers" / id / "stdout.log"
    size = log.stat().st_size
    until(lambda: log.stat().st_size > size + 60)
    lab.agent.start()
    up = int(time.time()) + 1
    since(up + 1, 2)
    # Those of before have their times still, and those between are of neither side.
    assert seconds(until=began + 3)[-1] == began + 2
    between = seconds(since=down - 1, until=up + 1)
    assert {one for one in seconds() if down < one < up - 1} <= set(between)
    # Nothing is told twice or left out, however it is cut.
    cut = up + 1
    lines = text(lab, id, until=cut)
    assert text(lab, id).startswith(lines)
    assert text(lab, id)[len(lines) :].startswith(text(lab, id, since=cut)[:10])
    lab.client.delete(id, force=True)


@pytest.mark.usefixtures("clean")
def test_over_the_bus(lab: Lab, nodes: ComputeClient) -> None:
    script = "for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; sleep 0.3; done"
    id = lab.client.create(lab.spec(command=["sh", "-c", script])).id
    until(lambda: lab.client.show(id).state == "stopped")
    found = nodes.logs(lab.agent.node, id)
    assert sorted(line.text for line in found.lines) == sorted(
        f"{stream} {number}" for stream in ("out", "err") for number in range(1, 6)
    )
    # In the order of their times, each stream's in its own.
    times = [line.at for line in found.lines if line.at is not None]
    assert len(times) == 10
    assert times == sorted(times)
    assert times[-1] - times[0] > 1.0
    last = nodes.logs(lab.agent.node, id, tail=2, stream="stderr")
    assert [line.text for line in last.lines] == ["err 4", "err 5"]
    small = nodes.logs(lab.agent.node, id, max_bytes=8)
    assert (len(small.lines), small.cut) == (1, True)
    assert nodes.logs(lab.agent.node, id, since=times[-1] + 1).lines == ()
    lab.client.delete(id)


def test_room_for_the_log_is_promised(small: Lab) -> None:
    def claimed() -> float:
        resources = small.client.node_status().resources
        return sum(one.claimed for one in resources if one.name in ("disk", "logs"))

    before = claimed()
    id = small.client.create(small.spec()).id
    assert claimed() - before == LIMIT
    small.client.delete(id, force=True)
    assert claimed() == before
