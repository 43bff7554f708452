"""Steps with their undo beside them, run in order and unwound in reverse.

The contract of a step:

- `do` is idempotent: run again over its own whole or half-done work, it completes it. It may
  read what earlier steps learned from `context.record.facts`, and adds to it with `learn`.
- `undo` needs the container's id and nothing else: it must work after the process died, when
  `do` never ran, and when only half of it did. It never deletes data that `do` did not create.
- Both end: whatever they wait for has a deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec

from longshore.errors import Interrupted, LongshoreError, Superseded
from longshore.lifecycle.ports import Host
from longshore.model.host import Image
from longshore.model.names import Names
from longshore.model.record import Record

LOG = logging.getLogger(__name__)
Arguments = ParamSpec("Arguments")


class Postponed(LongshoreError):
    """It goes on later by itself, and says what is waited for. Never leaves lifecycle/."""


#: What stops a step though nothing failed.
NO_FAILURE = (Superseded, Postponed, Interrupted)


def _no_pull() -> Image:
    raise LongshoreError("cannot pull an image: nobody was asked to")


@dataclass
class Context:
    """What a step may use: the neighbours, and the record as it is known so far."""

    host: Host
    record: Record
    #: Whether the process may be there already (the agent was restarted), to be kept.
    adopting: bool = False
    #: Asks to be told when the process ends.
    watch_exit: Callable[[], None] = lambda: None
    #: Whether the caller meanwhile wants something else; asked between two steps.
    superseded: Callable[[], bool] = lambda: False
    #: The container's image, pulled if need be.
    pull: Callable[[], Image] = _no_pull
    #: Has it written down at once which image that was: a name may move.
    note_image: Callable[[Image], None] = lambda image: None
    #: Monotonic seconds, for the timings.
    timer: Callable[[], float] = lambda: 0.0
    steps: list[tuple[str, float]] = field(default_factory=list)

    @property
    def names(self) -> Names:
        return self.record.names

    def pin(self, image: Image) -> None:
        self.learn(image=image)
        self.note_image(image)

    def learn(self, **facts: Any) -> None:
        known = self.record.facts.model_copy(update=facts)
        self.record = self.record.but(facts=known)


@dataclass(frozen=True)
class Step:
    name: str
    do: Callable[[Context], None]
    undo: Callable[[Host, Names], None]


def run(steps: Sequence[Step], context: Context) -> LongshoreError | None:
    """Runs the steps in order; returns what stopped it, None when all ran.

    Undoes nothing: what is unwound after a failure is the caller's decision (a failed start
    keeps what a failed create gives back).
    """
    for step in steps:
        if context.superseded():
            return Superseded(
                f"cannot finish {step.name} of container {context.record.name}: "
                "a newer request overtook this one",
                object=context.record.name,
            )
        began = context.timer()
        error = attempt(step.name, step.do, context)
        context.steps.append((step.name, context.timer() - began))
        LOG.debug("container %s: %s took %.1f ms", context.names.id, *_milli(context.steps[-1]))
        if error is not None:
            level = logging.DEBUG if isinstance(error, NO_FAILURE) else logging.WARNING
            LOG.log(level, "container %s: %s ended: %s", context.names.id, step.name, error)
            return error
    return None


def unwind(steps: Sequence[Step], host: Host, names: Names) -> tuple[str, ...]:
    """Undoes all of the steps, last first, whether they ran or not.

    One that fails does not keep the others from being undone. Returns a sentence for each that
    failed: what it should have removed may still be there.
    """
    leftovers: list[str] = []
    for step in reversed(steps):
        error = attempt(step.name, step.undo, host, names)
        if error is not None:
            LOG.warning("container %s: undo of %s failed: %s", names.id, step.name, error)
            leftovers.append(f"{step.name}: {error}")
    return tuple(leftovers)


def attempt(
    what: str, call: Callable[Arguments, object], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> LongshoreError | None:
    """Calls, and returns what went wrong as an error that callers may see."""
    try:
        call(*args, **kwargs)
    except LongshoreError as error:
        return error
    except Exception as error:
        # A fault of ours in one step must neither skip the unwinding nor hide: it is logged in
        # full here, and goes on as an error with the code `internal`.
        LOG.exception("%s: unexpected", what)
        return LongshoreError(f"cannot finish {what}: {type(error).__name__}: {error}")
    return None


def _milli(step: tuple[str, float]) -> tuple[str, float]:
    return step[0], step[1] * 1000
