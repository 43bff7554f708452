"""Work in line: so much at once, so much of one lane, and none lost where threads are not had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from fakes.lifecycle import until
from longshore.errors import HostBusy
from longshore.lifecycle.line import Line


@dataclass
class Doing:
    """Work that goes on until it may end."""

    may_end: threading.Event = field(default_factory=threading.Event)
    begun: list[str] = field(default_factory=list)

    def work(self, name: str) -> None:
        self.begun.append(name)
        assert self.may_end.wait(20)


@pytest.fixture
def doing() -> Iterator[Doing]:
    doing = Doing()
    yield doing
    doing.may_end.set()


def put(line: Line, doing: Doing, lane: str, count: int) -> None:
    for number in range(count):
        line.put(partial(doing.work, f"{lane}{number}"), lane)


def _wait(event: threading.Event) -> None:
    assert event.wait(20)


def test_a_lane_has_its_share_and_leaves_the_rest_to_others(doing: Doing) -> None:
    line = Line("line", 6, 2)
    put(line, doing, "dead", 50)
    put(line, doing, "a", 2)
    put(line, doing, "b", 1)
    until(lambda: len(doing.begun) == 5)
    assert set(doing.begun) == {"dead0", "dead1", "a0", "a1", "b0"}
    put(line, doing, "c", 9)
    until(lambda: len(doing.begun) == 6)
    doing.may_end.set()
    until(lambda: len(doing.begun) == 62)
    assert line.stop(10)
    for lane in ("dead", "a", "b", "c"):
        begun = [int(one[len(lane) :]) for one in doing.begun if one.startswith(lane)]
        assert sorted(begun) == list(range(len(begun)))


def test_lanes_take_turns() -> None:
    line, first, begun = Line("line", 1), threading.Event(), list[str]()
    line.put(partial(_wait, first))
    for name in ("a0", "a1", "a2", "b0", "b1", "c0"):
        line.put(partial(begun.append, name), name[0])
    first.set()
    until(lambda: len(begun) == 6)
    assert begun == ["a0", "b0", "c0", "a1", "b1", "a2"]
    assert line.stop(10)


def test_no_thread_is_to_be_had(doing: Doing, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line("line", 4)

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(HostBusy, match="can't start new thread"):
            put(line, doing, "a", 1)
    put(line, doing, "b", 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        put(line, doing, "c", 3)  # one is there that does it later
    assert doing.begun == ["b0"]
    doing.may_end.set()
    until(lambda: doing.begun == ["b0", "c0", "c1", "c2"])
    assert line.stop(10)


class Held:
    """What a thread has of its own: it cannot end before it may."""

    def __init__(self, ends: threading.Event, may_end: threading.Event) -> None:
        self._ends, self._may_end = ends, may_end

    def __del__(self) -> None:
        self._ends.set()
        self._may_end.wait(20)


def test_who_has_done_its_last_is_in_nobodys_way_and_is_waited_for(doing: Doing) -> None:
    line, ends, may_end = Line("line", 2), threading.Event(), threading.Event()
    own, threads = threading.local(), list[threading.Thread]()

    def work() -> None:
        own.held = Held(ends, may_end)
        threads.append(threading.current_thread())

    line.put(work)
    _wait(ends)
    put(line, doing, "a", 2)
    until(lambda: len(doing.begun) == 2)
    doing.may_end.set()
    assert not line.stop(0.2)
    may_end.set()
    assert line.stop(10)
    assert [one.is_alive() for one in threads] == [False]
