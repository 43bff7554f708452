"""What containers use now, and their processes.

What is remembered is the last reading of each that runs, so that the next one can tell how many
cores it used meanwhile; whoever asks a moment later shares it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from longshore.errors import ContainerNotFound, DeadlineExceeded, LongshoreError
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.ports import Journal
from longshore.lifecycle.ports.stats import Meters
from longshore.model.host import Ids
from longshore.model.inside import check_inside, refusal
from longshore.model.running import Running
from longshore.model.status import ContainerStats, ProcessStatus

LOG = logging.getLogger(__name__)
#: Of one that is about to have one, or has had it until a moment ago.
_NO_PROCESS = "it has no process just now"
#: Seconds for which a reading is the present one.
FRESH = 0.25
#: Seconds after which files are closed again that nobody has read.
_IDLE = 60.0
#: Seconds that somebody else's reading is waited for.
_PATIENCE = 10.0


class Stats:
    """Thread-safe; one reading at a time."""

    def __init__(
        self,
        journal: Journal,
        meters: Meters,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._meters = meters
        self._usage = meters.usage
        self._clock = clock
        self._lock = threading.Lock()
        #: Id → its first process, when it was read by the timer, and what was read.
        self._last: dict[str, tuple[int, float, ContainerStats]] = {}
        self._read_at = float("-inf")

    def stats(self, refs: Sequence[str], *, again: bool = False) -> Sequence[ContainerStats]:
        """See `Service.stats`."""
        with self._alone():
            there = {one.id: one for one in self._journal.running()}
            wanted = self._wanted(refs, there, again=again)
            timer = self._clock.timer()
            # Who has ended is forgotten here, and who was started again begins anew.
            self._last = {
                id: last
                for id, last in self._last.items()
                if id in there and there[id].pid == last[0]
            }
            due = [one for one in wanted if self._is_due(one, timer)]
            before = {id: last[2] for id, last in self._last.items()}
            read = self._usage.read(due, self._clock.now, before)
            for one in due:
                self._last.pop(one.id, None)
                if one.id in read:
                    self._last[one.id] = (one.pid, timer, read[one.id])
            self._read_at = timer
            self._usage.keep(there)
            return [self._last[one.id][2] for one in wanted if one.id in self._last]

    def top(self, ref: str) -> Sequence[ProcessStatus]:
        """See `Service.top`."""
        record = self._journal.get(self._journal.find(ref))
        if record is None:
            raise ContainerNotFound(f"cannot list the processes of {ref}: it is gone", object=ref)
        check_inside("top", record.name, record.state)
        if record.facts.pid is None:
            raise refusal("top", record.name, record.state, _NO_PROCESS)
        found = self._meters.processes.processes(record.names, record.facts.pid)
        try:
            names = self._meters.users.user_names(record.names)
        except LongshoreError as error:
            # Numbers say enough, and containerd may be away just now.
            LOG.info("%s", error)
            names = {}
        return [
            one.model_copy(update={"user": _user(one.user, record.facts.ids, names)})
            for one in found
        ]

    def rest(self) -> None:
        """Lets go of what nobody has asked for lately. For the tick."""
        with self._alone():
            if self._clock.timer() - self._read_at >= _IDLE:
                self._usage.keep(())

    def _wanted(
        self, refs: Sequence[str], there: Mapping[str, Running], *, again: bool
    ) -> Sequence[Running]:
        if not refs:
            return sorted(there.values(), key=lambda one: one.name)
        ids: list[str] = []
        for ref in refs:
            try:
                ids.append(ref if ref in there else self._journal.find(ref))
            except ContainerNotFound:
                if not again:
                    raise
        if len(refs) == 1 and not again and ids[0] not in there:
            raise self._why_not(refs[0], ids[0])
        return [there[id] for id in dict.fromkeys(ids) if id in there]

    def _why_not(self, ref: str, id: str) -> LongshoreError:
        record = self._journal.get(id)
        if record is None:
            return ContainerNotFound(f"cannot read the stats of {ref}: it is gone", object=ref)
        check_inside("stats", record.name, record.state)
        return refusal("stats", record.name, record.state, _NO_PROCESS)

    def _is_due(self, one: Running, timer: float) -> bool:
        last = self._last.get(one.id)
        return last is None or timer - last[1] >= FRESH

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise DeadlineExceeded(
                f"cannot read the stats: somebody else's reading takes longer than {_PATIENCE:g} s"
            )
        try:
            yield
        finally:
            self._lock.release()


def _user(number: str, ids: Ids | None, names: Mapping[int, str]) -> str:
    """The name of a user of the node's number; one that the container has not stays a number."""
    inside = int(number)
    if ids is not None:
        inside -= ids.first
        if not 0 <= inside < ids.size:
            return number
    return names.get(inside, str(inside))
