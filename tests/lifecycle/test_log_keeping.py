"""Who looks at logs, and when; and the last lines for who cannot read a stream."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from longshore.errors import HostFailed
from longshore.lifecycle.log_keeping import LogKeeping
from longshore.lifecycle.recent_logs import recent
from longshore.model.names import Names
from longshore.model.status import LogChunk, LogLine

A, B = str(uuid4()), str(uuid4())


@dataclass
class FakeWatch:
    """Tells what a test puts into `news`, one at a time."""

    news: deque[set[str]] = field(default_factory=deque)
    waits: list[float] = field(default_factory=list)
    lacking: bool = False
    failure: Exception | None = None
    closed: bool = False
    _wake: threading.Event = field(default_factory=threading.Event)

    def grown(self, timeout: float) -> set[str]:
        self.waits.append(timeout)
        if self.failure:
            raise self.failure
        if self.news:
            return self.news.popleft()
        self._wake.wait(min(timeout, 10.0))
        return set()

    def unwatched(self) -> bool:
        return self.lacking

    def interrupt(self) -> None:
        self._wake.set()

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeKeeper:
    looks: Counter[str] = field(default_factory=Counter)
    failing: set[str] = field(default_factory=set)
    closed: bool = False

    def look(self, names: Names) -> bool:
        self.looks[names.id] += 1
        if names.id in self.failing:
            raise HostFailed("cannot keep the log: disk on fire")
        return True

    def forget(self, names: Names) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def watch() -> FakeWatch:
    return FakeWatch()


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


def test_what_fails_is_a_finding_and_tried_again(watch: FakeWatch, keeper: FakeKeeper) -> None:
    keeping = LogKeeping(watch, keeper, lambda: 0.0)
    keeper.failing = {A}
    watch.news.extend([{A, B}, {B}, set()])
    keeping.look()
    assert keeping.findings() == ["cannot keep the log: disk on fire"]
    keeping.look()
    assert keeper.looks == {A: 2, B: 2}
    keeper.failing = set()
    keeping.look()
    assert keeping.findings() == []
    assert keeper.looks == {A: 3, B: 2}
    # Not long while one is in trouble, else until there is news.
    assert watch.waits[0] > 10 > watch.waits[1] == watch.waits[2]


def test_those_that_cannot_be_watched_are_looked_at_often(
    watch: FakeWatch, keeper: FakeKeeper
) -> None:
    keeping = LogKeeping(watch, keeper, lambda: 0.0)
    watch.lacking = True
    watch.news.append({A})
    keeping.look()
    assert watch.waits == [1.0]
    assert ["every second" in one for one in keeping.findings()] == [True]


def test_looking_takes_a_small_part_of_a_core(watch: FakeWatch, keeper: FakeKeeper) -> None:
    times = iter([0.0, 0.001, 0.0, 0.02, 0.0, 5.0])
    keeping = LogKeeping(watch, keeper, lambda: next(times))
    watch.news.extend([{A}, {A}, {A}])
    assert [keeping._round() for _ in range(3)] == pytest.approx([0.1, 0.4, 1.0])


def test_a_watch_that_fails_ends_nothing(watch: FakeWatch, keeper: FakeKeeper) -> None:
    keeping = LogKeeping(watch, keeper, lambda: 0.0)
    watch.failure = HostFailed("cannot list")
    assert keeping._round() == 1.0
    assert keeping.findings() == ["cannot list"]
    watch.failure = None
    watch.news.append({A})
    keeping._round()
    assert (keeping.findings(), keeper.looks[A]) == ([], 1)


def test_it_leaves_in_order(watch: FakeWatch, keeper: FakeKeeper) -> None:
    keeping = LogKeeping(watch, keeper, lambda: 0.0)
    keeping.start()
    assert keeping.stop(10)
    assert watch.closed
    assert keeper.closed


def chunk(text: bytes, at: float = 1.0) -> LogChunk:
    return LogChunk("stdout", text, at)


def texts(*chunks: LogChunk, tail: int = 100, size: int = 1000) -> tuple[list[str], bool]:
    found = recent("id", chunks, tail, size)
    return [line.text for line in found.lines], found.cut


def test_recent_lines() -> None:
    assert texts(chunk(b"a\nb\n"), chunk(b"c\r\n"), tail=2) == (["b", "c"], False)
    assert texts(chunk(b"a\nb\n"), tail=0) == ([], False)
    assert texts() == ([], False)
    assert texts(chunk(b"a\nb\n"), chunk(b"c\n"), size=4) == (["b", "c"], True)
    assert texts(chunk(b"x" * 50 + b"y\n"), size=4) == (["xxy"], True)
    found = recent("id", [LogChunk("stderr", b"\xff", 0.0)], 5, 5)
    assert found.lines == (LogLine(stream="stderr", at=None, text="\N{REPLACEMENT CHARACTER}"),)
