"""The one path that closes the difference between what was promised and what is.

A verb, a container's exit, the agent's start, a reconnected containerd and the tick all call
`settle`: take the container's lock, look at the record and the task, plan, act, write.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

from longshore.errors import HostUnavailable, Interrupted, LongshoreError, Superseded
from longshore.lifecycle import memory, outcomes
from longshore.lifecycle.acts import ACTS, Result, Scene
from longshore.lifecycle.changes import Changes
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.create import CREATE
from longshore.lifecycle.fetches import Fetches, Waiting
from longshore.lifecycle.pipeline import attempt, unwind
from longshore.lifecycle.ports import Host, Journal, Transaction
from longshore.lifecycle.restarts import Restarts
from longshore.lifecycle.slots import Slot, Slots
from longshore.lifecycle.trials import Trials
from longshore.model.ending import unpausable
from longshore.model.host import Image, Task
from longshore.model.names import Names
from longshore.model.plan import Act, Action, plan
from longshore.model.record import Record
from longshore.model.request import Verb
from longshore.model.state import Happening, State, after
from longshore.model.usage import used_key

LOG = logging.getLogger(__name__)

#: How often one call looks again because a newer intent came meanwhile. More than that is a
#: caller in a loop; the hint that every intent leaves behind goes on with it.
_ROUNDS = 8


class Converge:
    """Args:
    hint: called with a container's id, from any thread, when it should be settled again soon.
    """

    def __init__(
        self,
        host: Host,
        journal: Journal,
        changes: Changes,
        clock: Clock,
        hint: Callable[[str], None],
        fetches: Fetches,
        restarts: Restarts,
        trials: Trials,
    ) -> None:
        self._host = host
        self._journal = journal
        self._changes = changes
        self._clock = clock
        self._hint = hint
        self._fetches = fetches
        self._restarts = restarts
        self._trials = trials
        self._slots = Slots(hint)
        self._waited_for: set[str] = set()
        self._waiting = threading.Lock()

    def settle(self, id: str, *, admitted: Record | None = None) -> None:
        """Brings the host to what the container's record wants.

        Args:
            admitted: the record as the caller has just written it, when nothing of the steps to
                come can be on the host. If somebody was at it in between, that is no longer so.

        Raises:
            LongshoreError: what stopped it, as the record says too.
        """
        with self._slots.hold(id) as slot:
            self._settle(id, slot, admitted, patient=True)

    def visit(self, id: str) -> None:
        """Settles it, unless somebody is at it: then they have it settled again when they are done.

        For those who see to all containers: a stuck one holds up whoever asked for it, not them;
        nor does one that waits for its image, which is settled again when that has come.
        """
        with self._slots.hold_if_free(id) as slot:
            if slot is None:
                return
            error = attempt(f"settle container {id}", self._settle, id, slot)
        if error is not None:
            # Nobody waits for it here, and the next tick tries again. A neighbour that is away is
            # said once, and not for each container.
            passing = isinstance(error, HostUnavailable | Interrupted)
            level = logging.DEBUG if passing else logging.WARNING
            LOG.log(level, "container %s: %s", id, error)

    @contextmanager
    def alone(self, id: str) -> Iterator[None]:
        """Nobody settles the container meanwhile; who comes, comes again."""
        with self._slots.hold(id):
            yield

    def out_of_memory(self, id: str) -> None:
        """The kernel killed a process of the container to free memory: its end will say so."""
        record = self._journal.get(id)
        if record is None:
            return
        used = memory.look(self._host, record)
        with self._journal.transaction(durable=False) as tx:
            # It may have ended while we looked.
            current = tx.get(id)
            if current is not None:
                tx.put(current.but(**memory.heard(current, used, self._clock.now())))

    def forsake(self, id: str) -> tuple[str, ...]:
        """Removes what is on the host of a container that the journal does not know.

        Returns what could not be removed.
        """
        with self._slots.hold(id):
            if self._journal.get(id) is not None:
                return ()
            return unwind(CREATE, self._host, Names(id))

    def look_again(self, id: str) -> None:
        """Wakes a `settle` that waits for the container's process: a newer intent was written."""
        self._slots.ring(id, news=True)

    def _settle(
        self, id: str, slot: Slot, admitted: Record | None = None, *, patient: bool = False
    ) -> None:
        """`patient`: waits for the image; else what has none is left as it is until it has."""
        for _ in range(_ROUNDS):
            slot.news = False
            record = self._journal.get(id)
            if record is None:
                return
            action, result = self._act(record, slot, clean=record == admitted, patient=patient)
            if self._write(record, action, result):
                if result.error is not None:
                    raise result.error
                return
        self._hint(id)

    def _act(
        self, record: Record, slot: Slot, *, clean: bool, patient: bool
    ) -> tuple[Action, Result]:
        def superseded() -> bool:
            return slot.news and self._overtaken(record)

        waiting = Waiting(
            wake=lambda: self._slots.ring(record.id),
            wait=lambda: _wait(slot.bell, None),
            superseded=superseded,
            say=lambda reason: self._note(record.id, {"reason": reason}),
        )
        scene = Scene(
            self._host,
            self._clock.now,
            self._clock.timer,
            watch_exit=lambda: self._watch_exit(record.names),
            wait=lambda seconds: _wait(slot.bell, seconds),
            superseded=superseded,
            note=lambda found: self._note(record.id, found),
            pull=partial(self._fetches.wait, record, waiting)
            if patient
            else partial(self._fetches.come_again, record, lambda: self._hint(record.id)),
            note_image=lambda image: self._note_image(record.id, image),
            clean=clean,
        )
        task = Task() if clean else self._host.tasks.get(record.names)
        due, judged = self._restarts.is_due(record), self._trials.judged(record)
        action = plan(record, task, due=due, judged=judged)
        LOG.debug("container %s is %s: %s, %s", record.id, record.state, action.act, action.reason)
        results: list[Result] = []
        error = attempt(
            str(action.act),
            lambda: results.append(ACTS[action.act](scene, record, task, action)),
        )
        return action, results[0] if results else Result(record.reason, error=error)

    def _overtaken(self, record: Record) -> bool:
        now = self._journal.get(record.id)
        return now is not None and (now.desired, now.grace) != (record.desired, record.grace)

    def _note(self, id: str, found: Mapping[str, Any]) -> None:
        """Keeps what is about to be removed from the host."""
        with self._journal.transaction(durable=False) as tx:
            current = tx.get(id)
            if current is not None:
                tx.put(current.but(**found))

    def _note_image(self, id: str, image: Image) -> None:
        with self._journal.transaction(durable=False) as tx:
            current = tx.get(id)
            if current is not None:
                facts = current.facts.model_copy(update={"image": image})
                tx.put(current.but(facts=facts))
                tx.remember(used_key(image.digest), str(self._clock.now()))

    def _write(self, record: Record, action: Action, result: Result) -> bool:
        """Notes what came of it. False: something else is wanted by now, so look again."""
        with self._journal.transaction(durable=False) as tx:
            current = tx.get(record.id)
            if current is None or _is_out_of_date(record, current, result):
                if current is not None:
                    tx.put(current.but(**outcomes.found_out(result.changes)))
                return False
            if isinstance(result.error, Superseded):
                return False
            following, taken_back = self._trials.follow(
                *(tx, current, outcomes.following(current, result), action),
                *(result.happening, result.error),
            )
            if outcomes.asked_again(tx, current, following):
                again = after(following.state, Verb.START, following.name)
                tx.put(following.but(state=again, reason="start was requested"))
                return False
            failed = result.error or outcomes.failure(following)
            outcomes.answer(tx, following, failed, taken_back)
            wanted = self._restarts.following_end(
                unpausable(following) if result.given_up else following,
                result.error,
                awaited=outcomes.is_awaited(tx, following, self._clock.now()),
            )
            _record(tx, current, following, wanted)
            if following.state is State.FAILED and not following.leftovers:
                tx.release(record.id)
        self._told_all(current, following, wanted, action, result)
        return wanted.state is following.state and not _goes_on(following, action, result)

    def _told_all(
        self, current: Record, following: Record, wanted: Record, action: Action, result: Result
    ) -> None:
        """Whoever keeps or shows something of it hears what it is now."""
        if following.state in outcomes.SETTLED:
            self._fetches.forget(following.id)
        if wanted.state is not State.RESTARTING:
            self._restarts.forget(wanted.id)
        self._trials.watch(wanted)
        for before, now in pairwise((current, following, wanted)):
            if now.state is not before.state:
                LOG.info("container %s: %s → %s: %s", *_told(before, now))
                self._changes.add(now, before.state)
        if action.act is Act.KEEP and "facts" in result.changes:
            # It found other limits than were asked for: the reason says which.
            self._changes.add(wanted, wanted.state, kind="limits")
        elif wanted.state is current.state and _version(wanted) != _version(current):
            self._changes.add(wanted, wanted.state, kind="updated")

    def _watch_exit(self, names: Names) -> None:
        with self._waiting:
            if names.id in self._waited_for:
                return
            self._waited_for.add(names.id)
        try:
            self._host.tasks.wait(names, lambda: self._ended(names.id))
        except LongshoreError:
            with self._waiting:
                self._waited_for.discard(names.id)
            raise

    def _ended(self, id: str) -> None:
        """Its process ended, or waiting for that broke off; `settle` finds out which."""
        with self._waiting:
            self._waited_for.discard(id)
        self._slots.ring(id)
        self._hint(id)


def _wait(bell: threading.Event, seconds: float | None) -> None:
    """None: whatever is waited for has a deadline of its own, and rings when it ends."""
    bell.wait(seconds)
    bell.clear()


def _is_out_of_date(record: Record, current: Record, result: Result) -> bool:
    """Whether what was done was done for a wish that is not the present one."""
    moved = result.happening is not None and current.state is not record.state
    if current.version != record.version:
        # Somebody gave it another one, which what was done did not know of.
        return True
    return moved or current.desired is not record.desired


def _goes_on(record: Record, action: Action, result: Result) -> bool:
    """Whether what is to be done for it now is something else, though it is in the same state."""
    if action.act in (Act.ACCEPT, Act.TAKE_BACK) or result.happening is Happening.DUE:
        return True
    over = result.happening in (Happening.ENDED, Happening.FAILED)
    return over and record.state is State.RESTARTING and record.restart_at is None


def _version(record: Record) -> tuple[int, bool]:
    return record.version, record.trial is None


def _record(tx: Transaction, current: Record, following: Record, wanted: Record) -> None:
    """One after the other, for its story to tell of both. Of one that is to be started again the
    reason has told of its end."""
    if following.state is State.ABSENT:
        tx.forget(current.id, following)
        return
    between = () if wanted.state is State.RESTARTING else (following,)
    for before, now in pairwise((current, *between, wanted)):
        if now != before:
            tx.put(now)


def _told(before: Record, now: Record) -> tuple[str, str, str, str]:
    return now.id, before.state, now.state, now.reason
