"""The slow tick: every record settled, everything of ours on the host accounted for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longshore.errors import NotFound
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.converge import Converge
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports import Host, Journal
from longshore.lifecycle.restarts import Restarts
from longshore.lifecycle.steps import limits
from longshore.lifecycle.trials import Trials
from longshore.model.host import Task, TaskStatus
from longshore.model.names import Names
from longshore.model.plan import Act, is_given_up, plan
from longshore.model.record import Record
from longshore.model.state import State
from longshore.model.status import ConvergeStatus

LOG = logging.getLogger(__name__)

#: Not even one whose shim does not answer is known to be at its end.
_ENDED = frozenset({TaskStatus.ABSENT, TaskStatus.STOPPED})


@dataclass(frozen=True)
class Pace:
    """Seconds: between ticks, and how long answers and failed creates are kept."""

    interval: float
    retention: float


class Sweep:
    """Runs at start, on every tick, and when containerd was away; keeps what the last one found.

    Args:
        soon: has a container settled in the background, so that a stuck one holds up no other.
        complaints: what neighbours find wrong with the node and cannot mend.
        collect: makes room where images are; returns what it did and why.
        volumes: looks after the named ones; returns what it did, and what is wrong.
        rest: lets go of what is held only as long as somebody asks for it.
    """

    def __init__(
        self,
        host: Host,
        journal: Journal,
        converge: Converge,
        clock: Clock,
        pace: Pace,
        soon: Callable[[str], None],
        restarts: Restarts,
        trials: Trials,
        complaints: Callable[[], Sequence[str]] = tuple,
        collect: Callable[[], Sequence[str]] = tuple,
        volumes: Callable[[], Sequence[str]] = tuple,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._journal = journal
        self._converge = converge
        self._clock = clock
        self._pace = pace
        self._soon = soon
        self._restarts = restarts
        self._trials = trials
        self._complaints = complaints
        self._collect = collect
        self._volumes = volumes
        self._rest = rest
        self._thread = threading.Thread(target=self._loop, name="tick")
        self._wake = threading.Event()
        self._ending = False
        self._mend_all = True
        self.last = ConvergeStatus()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        self._ending = True
        self._wake.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def now(self) -> None:
        """Asks for a pass that takes nothing for granted: containerd was away, or the agent."""
        self._mend_all = True
        self._wake.set()

    def look(self) -> None:
        """Asks for a pass at once: what is wrong with the node may be something else now."""
        self._wake.set()

    def next(self) -> float | None:
        """Unix seconds at which everything is looked at again, if nobody asks for it before."""
        return None if self.last.at is None else self.last.at + self._pace.interval

    def run(self) -> ConvergeStatus:
        """One pass. What a neighbour cannot do now is a finding, and left to the next pass."""
        began = self._clock.timer()
        findings: list[str] = []
        mend_all, self._mend_all = self._mend_all, False
        records: Sequence[Record] = ()

        def shared() -> None:
            nonlocal mend_all
            if self._host.network.prepare():
                mend_all = True

        def contained() -> None:
            nonlocal records
            records = self._journal.list()
            tasks = self._host.tasks.list()
            for record in records:
                task = tasks.get(record.id, Task())
                due, judged = self._restarts.is_due(record), self._trials.judged(record)
                act = plan(record, task, due=due, judged=judged).act
                wrong = self._drift(record) if act is Act.KEEP else []
                findings.extend(wrong)
                if act is Act.KEEP:
                    looked = mend_all or wrong or record.paused or record.error is not None
                else:
                    looked = act is not Act.LEAVE or is_given_up(record, self._clock.now())
                if looked:
                    self._soon(record.id)

        for what, look in (
            ("look after the network", shared),
            ("look after the containers", contained),
            ("look for orphans", lambda: findings.extend(self._orphans())),
            ("look after the volumes", lambda: findings.extend(self._volumes())),
            ("look for what is wrong", lambda: findings.extend(self._complaints())),
            ("prune the journal", self._prune),
            ("let go of what nobody asks for", self._rest),
            ("make room for images", lambda: findings.extend(self._collect())),
        ):
            error = attempt(what, look)
            if error is not None:
                self._mend_all = True
                findings.append(f"could not {what}: {error}")
        for record in records:
            findings += [f"container {record.name}: left over: {one}" for one in record.leftovers]
        for finding in findings:
            # Once: what nobody mends would fill the log; status shows it as long as it lasts.
            if finding not in self.last.findings:
                LOG.warning("sweep: %s", finding)
        self.last = ConvergeStatus(
            at=self._clock.now(),
            seconds=self._clock.timer() - began,
            containers=len(records),
            findings=tuple(findings),
        )
        return self.last

    def _drift(self, record: Record) -> list[str]:
        """What somebody changed of its limits; whoever settles it puts them right."""
        wrong: list[str] = []
        error = attempt("read its limits", lambda: wrong.extend(limits.drift(self._host, record)))
        if error is not None and not isinstance(error, NotFound):
            wrong.append(str(error))
        return [f"container {record.name}: {one}" for one in wrong]

    def _orphans(self) -> list[str]:
        """What is ours by its name, and of no container that the journal knows."""
        host = self._host
        # First what is there, then what is promised: the other way round, a container made in
        # between would look like an orphan.
        there: set[str] = set()
        for owner in (
            host.rootfs,
            host.records,
            host.network,
            host.volumes,
            host.data,
            host.disks,
            host.secrets,
            host.users,
            host.files,
            host.cgroups,
        ):
            there |= owner.owned()
        tasks = host.tasks.list()
        there |= set(tasks)
        known = self._journal.ids()
        findings = []
        for id in sorted(there - known):
            if tasks.get(id, Task()).status not in _ENDED:
                findings.append(
                    f"container {id} runs, and the journal does not know it; left alone"
                )
                continue
            left = self._converge.forsake(id)
            findings.append(f"removed what was left of container {id}, unknown to the journal")
            findings += [f"container {id}: left over: {one}" for one in left]

        def keep() -> set[str]:
            # Asked anew: removing orphans may have taken seconds, and containers came meanwhile.
            return {Names(id).veth for id in self._journal.ids() | set(tasks)}

        for veth in sorted(host.network.orphan_interfaces(keep)):
            findings.append(f"removed interface {veth} of no container")
        return findings

    def _prune(self) -> None:
        before = self._clock.now() - self._pace.retention
        with self._journal.transaction(durable=False) as tx:
            tx.prune_requests(before)
            tx.prune_stories(before)
        for record in self._journal.list():
            if record.state is State.FAILED and record.desired_at < before and not record.leftovers:
                with self._journal.transaction(durable=False) as tx:
                    if tx.get(record.id) == record:
                        tx.forget(record.id)

    def _loop(self) -> None:
        while not self._ending:
            self._wake.wait(self._pace.interval)
            self._wake.clear()
            if not self._ending:
                self.run()
