"""What lifecycle relies on, of meters, in memory and on the real kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from fakes.usage import FakeUsage
from host.statskit import contain, emptied, parent, worker
from longshore.host.stats import Usage as RealUsage
from longshore.lifecycle.ports.stats import Usage
from longshore.model.running import Running
from longshore.model.status import CpuStats


@dataclass
class Metered:
    """Two containers, the first of which can be ended."""

    usage: Usage
    both: tuple[Running, Running]

    def end(self) -> None: ...


@dataclass
class _Real(Metered):
    where: str = ""
    kill: object = None

    def end(self) -> None:
        assert callable(self.kill)
        self.kill()
        emptied(self.where, self.both[0].id)


@dataclass
class _Fake(Metered):
    def end(self) -> None:
        assert isinstance(self.usage, FakeUsage)
        del self.usage.seconds[self.both[0].id]


@pytest.fixture(params=["fake", "real"])
def metered(request: pytest.FixtureRequest) -> Iterator[Metered]:
    if request.param == "fake":
        both = (Running("a", "c-a", 1), Running("b", "c-b", 2))
        yield _Fake(FakeUsage({"a": 1.0, "b": 1.0}), both)
        return
    with parent() as where, worker(program=("cat",)) as a, worker(program=("cat",)) as b:
        usage = RealUsage()
        yield _Real(usage, (contain(where, a.pid), contain(where, b.pid)), where, a.end)
        usage.keep(())


def test_readings(metered: Metered) -> None:
    a, b = (replace(one, cpus=0.5, memory=2**26, pids_limit=32) for one in metered.both)
    before = time.time()
    found = metered.usage.read([a, b], time.time, {})
    assert found.keys() == {a.id, b.id}
    one = found[a.id]
    assert (one.id, one.name, one.pids) == (a.id, a.name, 1)
    assert before <= one.at <= time.time()
    assert one.cpu.cores is None
    assert (one.cpu.limit, one.memory.limit, one.pids_limit) == (0.5, 2**26, 32)
    assert metered.usage.read([], time.time, {}) == {}


def test_cores_are_since_the_reading_before(metered: Metered) -> None:
    a, b = metered.both
    first = metered.usage.read([a, b], lambda: 1.0, {})
    assert [one.cpu.cores for one in first.values()] == [None, None]
    idle = first[a.id].model_copy(update={"cpu": CpuStats(seconds=-4.0)})
    second = metered.usage.read([a, b], lambda: 3.0, {a.id: idle})
    assert second[a.id].cpu.cores == (second[a.id].cpu.seconds + 4.0) / 2
    assert second[b.id].cpu.cores is None
    # A clock that was set back tells nothing.
    assert metered.usage.read([a], lambda: 0.5, {a.id: idle})[a.id].cpu.cores is None


def test_one_that_has_ended_is_left_out(metered: Metered) -> None:
    a, b = metered.both
    assert metered.usage.read([a, b], time.time, {}).keys() == {a.id, b.id}
    metered.end()
    assert metered.usage.read([a, b], time.time, {}).keys() == {b.id}
    assert metered.usage.read([a], time.time, {}) == {}


def test_letting_go_changes_no_reading(metered: Metered) -> None:
    a, b = metered.both
    for kept in ([a.id], [], [a.id, b.id], ["nobody"]):
        metered.usage.keep(kept)
        assert metered.usage.read([a, b], time.time, {}).keys() == {a.id, b.id}
