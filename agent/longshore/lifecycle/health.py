"""Whether containers do their work: who is probed when, and what follows from it.

One thread says whose turn it is, a few others probe; no container has one of its own. What probes
find is kept in memory, and written down when it makes a difference.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_OID, uuid5

from longshore.errors import LongshoreError
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.crew import Crew
from longshore.lifecycle.pipeline import attempt
from longshore.lifecycle.ports import Journal, Tasks
from longshore.model import probing
from longshore.model.health import HealthCheck
from longshore.model.host import TaskStatus
from longshore.model.linux import signal_number
from longshore.model.probing import Found, Verdict
from longshore.model.record import Record
from longshore.model.request import ACCEPTED, Request
from longshore.model.state import State
from longshore.model.status import ContainerStatus, HealthStatus

LOG = logging.getLogger(__name__)

#: Who restarts and stops containers here, as their records say.
ORIGIN = "health"
#: Seconds from which on a probe is slow: the next one of that container waits beside others such.
_SLOW = 1.0
#: Seconds that exec probes may be late before that is a finding.
_LATE = 10.0
#: Seconds that the agent's stop waits for probes: nothing is lost with them.
_LEAVE = 1.0


@dataclass(frozen=True)
class Rates:
    """`workers`: probes at once of either kind, quick and slow. `execs`: commands a second."""

    workers: int = 8
    execs: float = 10.0


@dataclass(eq=False)
class _Watch:
    """One run of a container. `slot`: it has its place among the exec probes."""

    record: Record
    check: HealthCheck
    health: HealthStatus
    over: bool = False
    slot: bool = False


class Health:
    """Args:
    ask: probes a container once; see `asking`.
    verbs: restart and stop.
    chance: from 0 to 1; after the agent's start not all are probed at the same moment.
    """

    def __init__(
        self,
        journal: Journal,
        changes: Changes,
        tasks: Tasks,
        ask: Callable[[Record, HealthCheck], Found],
        verbs: Mapping[str, Callable[[Request, str], object]],
        clock: Clock,
        rates: Rates,
        chance: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._changes = changes
        self._tasks = tasks
        self._ask = ask
        self._clock = clock
        self._rates = rates
        self._chance = chance
        self._verbs = verbs
        self._watches: dict[str, _Watch] = {}
        self._faults: dict[str, str] = {}
        self._due: list[tuple[float, int, _Watch]] = []
        self._numbers = itertools.count()
        self._next_slot = 0.0
        self._under_way = 0
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="health")
        # Those that take their time have threads of their own: a hundred that hang must not make
        # all others wait.
        self._quick = Crew("probe", rates.workers, self._probe)
        self._slow = Crew("slow-probe", rates.workers, self._probe)

    def start(self) -> None:
        """Goes on with all that run."""
        self._changes.tell(self.heard)
        for record in self._journal.list():
            self.heard(record)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        with self._news:
            self._ending = True
            self._news.notify_all()
        self._thread.join(timeout)
        crews = (self._quick, self._slow)
        ended = [crew.stop(min(timeout, _LEAVE)) for crew in crews]
        return all(ended) and not self._thread.is_alive()

    def idle(self) -> bool:
        """Whether nobody is probed now, nor waits for a thread to be."""
        with self._news:
            return self._under_way == 0

    def findings(self) -> Sequence[str]:
        with self._news:
            found = list(self._faults.values())
            late = self._next_slot - self._clock.timer()
        if late > _LATE:
            found.append(
                f"health: exec probes come late: there are more than [health] exec_rate, "
                f"{self._rates.execs:g} a second, allows"
            )
        return found

    def newest(self, status: ContainerStatus) -> ContainerStatus:
        """The same with what the last probe found, which need not be written down."""
        with self._news:
            watch = self._watches.get(status.id)
        if watch is None or watch.record.started_at != status.started_at:
            return status
        return status.model_copy(update={"health": watch.health})

    def heard(self, record: Record) -> None:
        """Something about it has changed: a run began or ended, or what it is probed with."""
        check = probing.check_for(record) if record.state is State.RUNNING else None
        with self._news:
            self._note_fault(record)
            there = self._watches.get(record.id)
            if there is not None:
                if record.generation < there.record.generation:
                    return  # told late: a newer request has come since
                same_run = check is not None and there.record.started_at == record.started_at
                if same_run and there.check == check:
                    return
                there.over = True
                del self._watches[record.id]
            if check is not None:
                watch = _Watch(record, check, record.health or HealthStatus())
                self._watches[record.id] = watch
                self._put(watch, self._first(watch))

    def step(self) -> float | None:
        """Has all those probed whose time has come. Returns the seconds until the next, None: there
        is none."""
        with self._news:
            while self._due:
                at, _, watch = self._due[0]
                now = self._clock.timer()
                if at > now:
                    return at - now
                heapq.heappop(self._due)
                if watch.over or self._waits_for_slot(watch, now):
                    continue
                watch.slot = False
                self._under_way += 1
                self._crew(watch).add(watch)
        return None

    def _loop(self) -> None:
        with self._news:
            while not self._ending:
                self._news.wait(self.step())

    def _note_fault(self, record: Record) -> None:
        why = probing.unusable(record) if record.state is State.RUNNING else None
        if why is None:
            self._faults.pop(record.id, None)
        else:
            self._faults[record.id] = (
                f"container {record.name}: the Healthcheck of its image cannot be used: {why}"
            )

    def _first(self, watch: _Watch) -> float:
        """Seconds to the first probe that this agent makes of a run."""
        age = self._age(watch)
        if watch.health.at is None and age < watch.check.interval:
            return max(0.0, probing.pause(watch.check, watch.health, 0.0) - age)
        return watch.check.interval * self._chance()

    def _waits_for_slot(self, watch: _Watch, now: float) -> bool:
        """Commands in containers are dear: they begin one after the other, at most so many a
        second."""
        if watch.check.type != "exec" or watch.slot:
            return False
        slot = max(now, self._next_slot)
        self._next_slot = slot + 1 / self._rates.execs
        if slot <= now:
            return False
        watch.slot = True
        self._put(watch, slot - now)
        return True

    def _crew(self, watch: _Watch) -> Crew[_Watch]:
        health = watch.health
        slow = watch.check.type == "exec" or health.failures > 0 or health.seconds > _SLOW
        return self._slow if slow else self._quick

    def _put(self, watch: _Watch, delay: float) -> None:
        """Under the lock."""
        heapq.heappush(self._due, (self._clock.timer() + delay, next(self._numbers), watch))
        self._news.notify_all()

    def _age(self, watch: _Watch) -> float:
        started = watch.record.started_at
        return max(0.0, self._clock.now() - started) if started is not None else 0.0

    def _probe(self, watch: _Watch) -> None:
        """In a thread of the crew."""
        error = attempt("probe", self._look, watch)
        if error is not None:
            # Nobody knows how it is. That is no failure of the container's.
            LOG.debug("container %s: not probed: %s", watch.record.id, error)
        with self._news:
            self._under_way -= 1
            if not watch.over and not self._ending:
                self._put(watch, probing.pause(watch.check, watch.health, self._age(watch)))

    def _look(self, watch: _Watch) -> None:
        if not watch.over:
            self._conclude(watch, self._ask(watch.record, watch.check))

    def _conclude(self, watch: _Watch, found: Found) -> None:
        now = self._clock.now()
        verdict = probing.judge(watch.check, watch.health, found, now, self._age(watch))
        if found.ok and not verdict.news:
            watch.health = verdict.health
            return
        # What ends, or is frozen, does not answer: that is no finding.
        if not found.ok and self._tasks.get(watch.record.names).status is not TaskStatus.RUNNING:
            return
        record = self._note(watch, verdict)
        if record is not None and verdict.news:
            level = logging.INFO if found.ok else logging.WARNING
            LOG.log(level, "container %s: %s", record.id, verdict.reason)
            self._changes.add(record, record.state, kind="health")
            # Of a new version the former one is taken back, which is more than any of these.
            if verdict.act is not None and record.trial is None:
                self._act(verdict.act, record, now)

    def _note(self, watch: _Watch, verdict: Verdict) -> Record | None:
        """Writes down what is news. None: it is about a run that is over, or interrupted."""
        with self._journal.transaction(durable=False) as tx:
            record = tx.get(watch.record.id)
            if record is None or not probing.is_probed(record) or watch.over:
                return None
            if record.started_at != watch.record.started_at:
                return None
            watch.health = verdict.health
            if verdict.news:
                record = record.but(health=verdict.health, reason=f"it runs; {verdict.reason}")
                tx.put(record)
        return record

    def _act(self, act: str, record: Record, now: float) -> None:
        try:
            if act == "kill":
                self._tasks.kill(record.names, signal_number("SIGKILL"))
                return
            # Whatever was asked for since then has a higher generation, and wins.
            request = Request(
                str(uuid5(NAMESPACE_OID, f"{record.id} {act} {now}")),
                generation=record.generation + 1,
                origin=ORIGIN,
                wait=ACCEPTED,
            )
            self._verbs[act](request, record.id)
        except LongshoreError as error:
            # It comes again with the next probe, if it is still as it is then.
            LOG.warning("container %s: %s", record.id, error)
