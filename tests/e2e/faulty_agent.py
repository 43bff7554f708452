"""The agent with faults on order: `faulty_agent.py FAULTS --config-file …`.

Every `do` and `undo` of CREATE, and of what an update does instead, first looks at the file FAULTS:
a JSON list of `Fault`s. No file: no faults. A fault that is `once` leaves the file before it
strikes, so that the agent's next life goes on without it; those behind it wait until then.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longshore import daemon
from longshore.errors import HostFailed, HostUnavailable
from longshore.lifecycle.create import AROUND, CREATE


@dataclass(frozen=True)
class Fault:
    """`which`: do or undo. `when`: before, after or instead of it. `action`: a key of ACTIONS."""

    step: str
    which: str
    when: str
    action: str
    once: bool = False


def order(file: Path, faults: Sequence[Fault]) -> None:
    """Replaces what is on order; the agent never sees half a file."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps([asdict(fault) for fault in faults]))
    new.replace(file)


def ordered(file: Path) -> list[Fault]:
    try:
        return [Fault(**fault) for fault in json.loads(file.read_text())]
    except FileNotFoundError:
        return []


def _fail() -> None:
    raise HostFailed("cannot do it: the test says so")


def _fail_for_now() -> None:
    raise HostUnavailable("cannot do it now: the test says so")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


ACTIONS = {"fail": _fail, "fail-retry": _fail_for_now, "kill": _kill}


class Saboteur:
    """Args:
    file: where the faults are ordered.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._guard = threading.Lock()

    def wrapped(self, step: str, which: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            self._strike(step, which, "before")
            if not self._strike(step, which, "instead"):
                real(*arguments)
            self._strike(step, which, "after")

        return call

    def _strike(self, step: str, which: str, when: str) -> bool:
        """Returns whether there was a fault for this moment, unless it raises or kills."""
        with self._guard:
            faults = ordered(self._file)
            first = next((at for at, fault in enumerate(faults) if fault.once), len(faults))
            due = [
                f for f in faults[: first + 1] if (f.step, f.which, f.when) == (step, which, when)
            ]
            if any(fault.once for fault in due):
                order(self._file, [f for f in faults if f not in due or not f.once])
        for fault in due:
            ACTIONS[fault.action]()
        return bool(due)


def main() -> None:
    saboteur = Saboteur(Path(sys.argv.pop(1)))
    for step in (*CREATE, *(one for one in AROUND if one not in CREATE)):
        # In place, so that every tuple that holds the step has the faulty one.
        object.__setattr__(step, "do", saboteur.wrapped(step.name, "do", step.do))
        object.__setattr__(step, "undo", saboteur.wrapped(step.name, "undo", step.undo))
    daemon.main()


if __name__ == "__main__":
    main()
