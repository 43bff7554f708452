"""New versions of containers, on their way from pending to in use, or back: what follows from what
came of an act, in the transaction that writes that down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longshore.errors import LongshoreError, StartFailed, from_dict
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.holding import Holding, needed, version_of
from longshore.lifecycle.ports import Transaction
from longshore.lifecycle.timers import Timers
from longshore.model.plan import Act, Action
from longshore.model.probing import check_for
from longshore.model.record import Record
from longshore.model.restarts import Backoff
from longshore.model.state import Happening, State, after
from longshore.model.trials import (
    Fate,
    at_end,
    error_of,
    fallback,
    taken_back,
    taken_up,
    time_for,
    verdict,
)
from longshore.model.versions import Remake, Trial

_BY_FATE = {Fate.ACCEPT: Act.ACCEPT, Fate.TAKE_BACK: Act.TAKE_BACK}


@dataclass(frozen=True)
class Trials:
    """Args:
    probation: seconds that a version without a health check has to run before it counts.
    timers: ring when it is known how one fares.
    backoff: of what comes back, and cannot be started for a reason that may pass.
    """

    holding: Holding
    clock: Clock
    probation: float
    timers: Timers
    backoff: Backoff
    chance: Callable[[], float]

    def judged(self, record: Record) -> Action | None:
        """What is to be done now for how its version fares."""
        found = verdict(record, self.clock.now())
        return None if found is None else Action(_BY_FATE[found.fate], found.why)

    def watch(self, record: Record) -> None:
        """Has it looked at when the time of its version's trial is over, if it is on trial."""
        if record.trial is None or record.trial.until is None:
            self.timers.forget(record.id)
        else:
            # The timer only rings: the verdict goes by the clock.
            self.timers.is_due(record.id, record.trial.until)

    def follow(
        self,
        tx: Transaction,
        before: Record,
        record: Record,
        action: Action,
        happening: Happening | None,
        error: LongshoreError | None,
    ) -> tuple[Record, LongshoreError | None]:
        """What becomes of the version.

        Args:
            before: as it was.
            record: as it is now that the act came to that.

        Returns:
            The record that follows, and what those are told who asked for a version that was taken
            back, once the previous one has been started again, or cannot be.
        """
        if happening is Happening.ENDED and record.pending is not None:
            return self._take_up(tx, record), None
        if record.trial is None:
            return record, None
        if action.act is Act.ACCEPT:
            return self._accept(tx, record, action.reason), None
        if action.act is Act.ADJUST:
            return self._adjusted(tx, record, action, error)
        if action.act is Act.TAKE_BACK:
            return self._taken_back(tx, record, StartFailed(action.reason))
        if happening is Happening.ENDED:
            return self._ended(tx, before, record)
        if happening is Happening.FAILED and error is not None:
            return self._failed(tx, record, error)
        if happening is Happening.STARTED:
            return self._started(tx, record)
        return record, None

    def _take_up(self, tx: Transaction, record: Record) -> Record:
        new = record.pending
        assert new is not None
        trial = None
        if new.remake is not Remake.LAYER:
            # What had another layer cannot come back.
            trial = Trial(previous=fallback(record, new.remake))
        taken = taken_up(record, version_of(tx, record, new.number), new, trial)
        self.holding.only(tx, taken, self.clock.now())
        return taken

    def _accept(self, tx: Transaction, record: Record, why: str) -> Record:
        accepted = record.but(trial=None, reason=why)
        self.holding.only(tx, accepted, self.clock.now())
        return accepted

    def _take_back(self, tx: Transaction, record: Record, why: LongshoreError) -> Record:
        assert record.trial is not None
        failed = version_of(tx, record, record.version)
        tx.put_version(
            record.id, failed.model_copy(update={"taken_back": str(why)}), needed(record)
        )
        back = taken_back(record, version_of(tx, record, record.trial.previous.number), why)
        self.holding.only(tx, back, self.clock.now())
        return back

    def _adjusted(
        self, tx: Transaction, record: Record, action: Action, error: LongshoreError | None
    ) -> tuple[Record, LongshoreError | None]:
        if error is not None:
            return (record, None) if error.retry else self._taken_back(tx, record, error)
        assert record.trial is not None
        previous = version_of(tx, record, record.trial.previous.number)
        if previous.spec.health == record.spec.health or check_for(record) is None:
            return self._accept(tx, record, action.reason), None
        return self._on_trial(record), None

    def _taken_back(
        self, tx: Transaction, record: Record, why: LongshoreError
    ) -> tuple[Record, LongshoreError | None]:
        """Where no process has to be started for it, that is all."""
        assert record.trial is not None
        back = self._take_back(tx, record, why)
        return back, None if record.trial.live is None else error_of(record, why)

    def _ended(
        self, tx: Transaction, before: Record, record: Record
    ) -> tuple[Record, LongshoreError | None]:
        trial = record.trial
        assert trial is not None
        if trial.failed is not None:
            # What has come back was started, and has ended.
            return self._come_back(record) if before.state is State.STARTING else (record, None)
        if trial.live is not None:
            # It will be judged by its next start, which is with it.
            return record.but(trial=trial.model_copy(update={"live": None, "until": None})), None
        found = at_end(before, record)
        if found is None:
            return record.but(trial=trial.model_copy(update={"until": None})), None
        if found.fate is Fate.ACCEPT:
            return self._accept(tx, record, record.reason), None
        return self._take_back(tx, record, StartFailed(found.why)), None

    def _failed(
        self, tx: Transaction, record: Record, error: LongshoreError
    ) -> tuple[Record, LongshoreError | None]:
        trial = record.trial
        assert trial is not None
        if trial.failed is None:
            return self._take_back(tx, record, error), None
        if not error.retry:
            return self._come_back(record)
        # It ran before somebody changed it: it is not left so for what may pass.
        pause = self.backoff.pause(record.tries, self.chance())
        again = record.but(
            state=after(record.state, Happening.AGAIN, record.name),
            reason=f"{record.reason}; it is tried again in {pause:.2g} s",
            tries=record.tries + 1,
            restart_at=self.clock.now() + pause,
        )
        return again, None

    def _started(self, tx: Transaction, record: Record) -> tuple[Record, LongshoreError | None]:
        trial = record.trial
        assert trial is not None
        if trial.failed is not None:
            return self._come_back(record)
        return self._on_trial(record.but(trial=trial.model_copy(update={"live": None}))), None

    def _on_trial(self, record: Record) -> Record:
        assert record.trial is not None
        until = self.clock.now() + time_for(check_for(record), self.probation)
        how = "it runs" if record.state is State.RUNNING else f"it is {record.state}"
        return record.but(
            trial=record.trial.model_copy(update={"until": until}),
            reason=f"{how}; version {record.version} is on trial",
        )

    def _come_back(self, record: Record) -> tuple[Record, LongshoreError | None]:
        assert record.trial is not None
        assert record.trial.failed is not None
        error = from_dict(record.trial.failed)
        details = error.details
        told = f"version {details['version']} was taken back: {details['why']['message']}"
        if record.state is not State.RUNNING:
            told = f"{record.reason}; before that {told}"
        else:
            told = f"it runs with version {record.version}; {told}"
        return record.but(trial=None, reason=told), error
