"""A whole lifecycle on a fake host and a real journal, for tests that make it fail."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.execs import FakeConsoles, FakeExecs
from fakes.host import FakeHost
from longshore.host.journal import Journal
from longshore.lifecycle.admission import Admission
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.collection import Collection, Watermarks
from longshore.lifecycle.containers import Containers
from longshore.lifecycle.converge import Converge
from longshore.lifecycle.create import CREATE
from longshore.lifecycle.execs import Commands
from longshore.lifecycle.fetches import Fetches
from longshore.lifecycle.history import History
from longshore.lifecycle.holding import Holding
from longshore.lifecycle.holds import Holds
from longshore.lifecycle.images import Images
from longshore.lifecycle.pipeline import Step
from longshore.lifecycle.planning import Planning
from longshore.lifecycle.pulls import Pulls
from longshore.lifecycle.rebuilding import Rebuilding
from longshore.lifecycle.restarts import Restarts
from longshore.lifecycle.shelf import Shelf
from longshore.lifecycle.sweep import Pace, Sweep
from longshore.lifecycle.timers import Timers
from longshore.lifecycle.trials import Trials
from longshore.lifecycle.updates import Updates
from longshore.lifecycle.versioning import Verdicts
from longshore.lifecycle.volumes import Volumes
from longshore.model.addressing import NetworkConfig
from longshore.model.capacity import Stock
from longshore.model.current import Current
from longshore.model.flavors import Flavors
from longshore.model.layout import Layout
from longshore.model.node import Space
from longshore.model.policy import Ceiling, Rules, capabilities, check, check_privileged
from longshore.model.request import Request
from longshore.model.restarts import Backoff
from longshore.model.spec import ContainerSpec, parse

CEILING = Ceiling(frozenset(range(4)), frozenset({"default"}))
RULES = Rules(capabilities=capabilities(["NET_ADMIN"]))

STOCK = (
    Stock("cpus", "cores", 4, ratio=4.0),
    Stock("memory", "bytes", 2**33),
    Stock("pids", "count", 32768),
    Stock("disk", "bytes", 2**40),
)
#: The clock of a `Lifecycle` takes a second for each look at it.
BACKOFF = Backoff(first=1000.0, most=8000.0, reset=100_000.0)
PROBATION = 2000.0


class Died(BaseException):
    """Stands for kill -9: nothing of the agent runs after it. Not an Exception, so that no
    handler of the agent's can catch it."""


@dataclass
class Lifecycle:
    """One life of the agent. `hints` collects what would be settled in the background; `space` is
    of the disk of the images."""

    folder: Path
    fake: FakeHost = field(default_factory=FakeHost)
    ports: range = range(40000, 40010)
    space: Space = field(default_factory=lambda: Space(0, 100))
    marks: Watermarks = field(default_factory=lambda: Watermarks(85, 75, 0.0))
    rules: Current[Rules] = field(default_factory=lambda: Current(RULES))
    flavors: Current[Flavors] = field(default_factory=lambda: Current(Flavors()))
    stock: Sequence[Stock] = STOCK
    backoff: Backoff = BACKOFF
    #: Seconds by which the clock is ahead of what it would be; each look at it takes one more.
    later: float = 0.0
    execs: FakeExecs = field(default_factory=FakeExecs)
    consoles: FakeConsoles = field(default_factory=FakeConsoles)

    def __post_init__(self) -> None:
        ticks = itertools.count(1000)
        clock = Clock(now=lambda: next(ticks) + self.later, timer=lambda: next(ticks) + self.later)
        layout = Layout(self.folder / "state", self.folder / "run")
        self.host = self.fake.host(layout)
        self.journal = Journal(layout.journal, clock.now)
        self.changes = Changes(clock.now)
        self.hints: list[str] = []
        self.holds = Holds()
        self.pulls = Pulls(
            self.host.images, self.fake.sources, self.holds, clock, parallel=2, timeout=1e9
        )
        self.fetches = Fetches(self.pulls)
        self.timers = Timers(clock, self.hints.append, rate=1000.0, most=self.backoff.most)
        self.restarts = Restarts(self.timers, self.backoff, clock, lambda: 0.0)
        seen: set[str] = set()
        self.admission = Admission(
            self.host,
            self.fake.sources,
            {"default": NetworkConfig()},
            self.ports,
            lambda spec: check(spec, CEILING, self.rules()),
            self.flavors,
            lambda: self.stock,
            seen,
        )
        self.holding = Holding(self.admission)
        self.verdicts = Timers(clock, self.hints.append, rate=1000.0, most=1e9)
        self.trials = Trials(
            self.holding, clock, PROBATION, self.verdicts, self.backoff, lambda: 0.0
        )
        self.converge = Converge(
            self.host,
            self.journal,
            self.changes,
            clock,
            self.hints.append,
            self.fetches,
            self.restarts,
            self.trials,
        )
        self.containers = Containers(
            self.journal,
            self.converge,
            self.admission,
            self.changes,
            clock.now,
            self.hints.append,
            self.fetches,
            self.holds,
            self.host.tasks,
        )
        self.planning = Planning(self.journal, self.admission, self.holding, clock.now)
        self.updates = Updates(
            self.journal,
            self.planning,
            self.host.files,
            Verdicts(self.journal, self.changes),
            clock.now,
            self.containers.carry_out,
        )
        self.rebuilding = Rebuilding(
            self.journal,
            self.planning,
            self.host.files,
            self.fetches,
            self.holds,
            clock.now,
            self.containers.carry_out,
        )
        self.history = History(self.journal)
        self.shelf = Shelf(self.host.images, self.journal, self.pulls, self.holds, seen)
        self.images = Images(
            self.host,
            self.journal,
            self.converge,
            self.pulls,
            self.shelf,
            self.holds,
            lambda path: path.open("xb"),
            self.hints.append,
        )
        self.collection = Collection(self.shelf, self.marks, lambda: self.space, clock.now)
        self.commands = Commands(
            self.journal,
            self.execs,
            self.consoles,
            self.host.tasks,
            lambda name: check_privileged(name, self.rules()),
            self.changes,
            clock.now,
        )
        self.volumes = Volumes(self.host, self.journal, clock.now)
        self.sweep = Sweep(
            self.host,
            self.journal,
            self.converge,
            clock,
            Pace(30, 1e9),
            self.hints.append,
            self.restarts,
            self.trials,
            collect=self.collection.run,
            volumes=self.volumes.look,
        )

    def next_life(self) -> Lifecycle:
        """The agent started again on the same host, after its start-up sweep has settled.

        Of a pull that is under way the last that anybody hears is that the agent stops: threads
        cannot be killed.
        """
        self.pulls.stop(0.0)
        self.journal.close()
        again = Lifecycle(
            self.folder,
            self.fake,
            rules=self.rules,
            flavors=self.flavors,
            stock=self.stock,
            backoff=self.backoff,
            later=self.later,
            execs=self.execs,
            consoles=self.consoles,
        )
        again.sweep_and_settle()
        return again

    def sweep_and_settle(self) -> None:
        self.sweep.now()
        self.sweep.run()
        self.settle_hints()

    def settle_hints(self) -> None:
        while self.hints:
            self.converge.visit(self.hints.pop(0))

    def pass_time(self, seconds: float) -> None:
        """Rings for what is due by then, and settles it."""
        self.later += seconds
        while 0.0 in (self.timers.run(), self.verdicts.run()):
            pass
        self.settle_hints()

    def settle_until(self, condition: Callable[[], bool]) -> None:
        """Settles what is hinted at, as the workers do, until that holds."""

        def settled() -> bool:
            self.settle_hints()
            return condition()

        until(settled)


def until(condition: Callable[[], bool]) -> None:
    """Other threads bring it about."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.001)


def a_spec(**changes: Any) -> ContainerSpec:
    id = str(uuid.uuid4())
    return parse({"id": id, "name": f"c-{id[:8]}", "image": "busybox:latest", **changes})


def ask(**changes: Any) -> Request:
    return Request(**{"id": str(uuid.uuid4()), "origin": "test", **changes})


STEPS = [step.name for step in CREATE]


@contextmanager
def patched(name: str, **replaced: Any) -> Iterator[Step]:
    """The step of CREATE with its `do` or `undo` replaced. The tuple keeps its identity: every
    user of the step sees it."""
    (step,) = [step for step in CREATE if step.name == name]
    before = {key: getattr(step, key) for key in replaced}
    for key, value in replaced.items():
        object.__setattr__(step, key, value)
    try:
        yield step
    finally:
        for key, value in before.items():
            object.__setattr__(step, key, value)
