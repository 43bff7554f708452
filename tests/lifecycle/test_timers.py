"""The clockwork for automatic starts: in order, paced, and no earlier than asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from longshore.lifecycle.clock import Clock
from longshore.lifecycle.timers import Timers


@dataclass
class Clockwork:
    """`shift`: by how much somebody set the clock of the wall."""

    time: float = 0.0
    shift: float = 1000.0
    rung: list[str] = field(default_factory=list)

    def timers(self, rate: float = 100.0, most: float = 60.0) -> Timers:
        clock = Clock(now=lambda: self.time + self.shift, timer=lambda: self.time)
        return Timers(clock, self.rung.append, rate, most)

    def go(self, timers: Timers, until: float) -> None:
        while True:
            wait = timers.run()
            if wait > 0:
                if self.time + wait > until:
                    self.time = until
                    return
                self.time += wait


def test_in_the_order_of_their_times() -> None:
    work = Clockwork()
    timers = work.timers()
    for id, at in (("c", 1003.0), ("a", 1001.0), ("b", 1002.0)):
        assert not timers.is_due(id, at)
    work.go(timers, 2.5)
    assert work.rung == ["a", "b"]
    assert timers.is_due("a", 1001.0)
    assert not timers.is_due("c", 1003.0)
    work.go(timers, 3.5)
    assert work.rung == ["a", "b", "c"]


def test_no_more_in_a_second_than_the_rate() -> None:
    work = Clockwork()
    timers = work.timers(rate=10.0)
    for number in range(100):
        timers.is_due(str(number), 1001.0)
    work.go(timers, 6.0)
    assert 50 <= len(work.rung) <= 51
    work.go(timers, 11.0)
    assert len(work.rung) == 100


def test_what_is_forgotten_or_set_anew_does_not_ring_at_its_old_time() -> None:
    work = Clockwork()
    timers = work.timers()
    timers.is_due("a", 1001.0)
    timers.is_due("b", 1001.0)
    timers.forget("a")
    timers.forget("b")
    timers.is_due("b", 1005.0)
    work.go(timers, 4.0)
    assert work.rung == []
    work.go(timers, 6.0)
    assert work.rung == ["b"]
    timers.forget("b")
    assert len(timers) == 0


def test_a_clock_that_is_set_back_makes_nobody_wait_for_ever() -> None:
    work = Clockwork()
    timers = work.timers(most=60.0)
    timers.is_due("a", 1_000_000.0)
    work.go(timers, 61.0)
    assert work.rung == ["a"]


def test_the_thread_rings_and_ends() -> None:
    work = Clockwork()
    timers = work.timers()
    timers.start()
    timers.is_due("a", 0.0)
    assert timers.stop(10.0)
    timers.run()
    assert work.rung == ["a"]
