"""The table of verbs and states, tests/VERBS.md: python -m verbs.table (`make verbs`)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes.lifecycle import Lifecycle
from longshore.errors import LongshoreError
from longshore.model.spec import ContainerSpec
from longshore.model.state import State
from verbs import doors
from verbs.doors import Ask
from verbs.states import at, brought

PAGE = Path(__file__).parents[1] / "VERBS.md"
ACCEPTED: Mapping[str, Any] = {"wait": "accepted"}
#: Words of a row → verb, and what it is asked with.
ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "create": ("create", ACCEPTED),
    "start": ("start", ACCEPTED),
    "stop": ("stop", ACCEPTED),
    "restart": ("restart", ACCEPTED),
    "kill": ("kill", ACCEPTED),
    "kill -s HUP": ("kill", {"signal": "HUP"}),
    "pause": ("pause", ACCEPTED),
    "unpause": ("unpause", ACCEPTED),
    "rename": ("rename", {"name": "other"}),
    "update (live)": ("update", {**ACCEPTED, "patch": {"labels": {"a": "b"}}}),
    "update (restart)": ("update", {**ACCEPTED, "patch": {"env": {"A": "b"}}}),
    "rollback 1": ("rollback", {**ACCEPTED, "version": 1}),
    "rebuild": ("rebuild", {**ACCEPTED, "image": "busybox:latest"}),
    "delete": ("delete", ACCEPTED),
    "delete, force": ("delete", {**ACCEPTED, "force": True}),
    "commit": ("commit", {"name": "web:2"}),
}
DOORS = ("local", "bus")
_HEAD = """\
# Every verb in every state

Written by `make verbs` from `tests/verbs/`; do not edit. For each cell a container is brought into
the state, and the verb asked for over both doors, which must agree (`test_verbs_table.py`).
`a → b`: it does it, the container is `a` when that is promised and `b` in the end; one word: it is
so at once, or stays so. Everything else is refused, for the reason that is given by its number
below; `so` there stands for the state. Verbs that only read, such as show, list and logs, are not
here.

"""


def cell(row: str, state: State, door: str) -> str:
    """What comes of it."""
    verb, more = ROWS[row]
    with tempfile.TemporaryDirectory(prefix="lsv-") as folder:
        life, spec = brought(Path(folder), state)
        try:
            if door == "bus":
                return _outcome(doors.bus(life), verb, more, life, spec)
            with doors.local(life) as ask:
                return _outcome(ask, verb, more, life, spec)
        finally:
            life.pulls.stop(0.0)
            life.journal.close()


def _outcome(
    ask: Ask, verb: str, more: Mapping[str, Any], life: Lifecycle, spec: ContainerSpec
) -> str:
    state = at(life, spec)
    try:
        ask(verb, more, spec)
    except LongshoreError as error:
        if error.retry:
            raise  # that says nothing about the state
        # The same reason in every state is one reason.
        why = re.sub(rf"\b(it|which) is {state}$", r"\1 is so", str(error))
        return f"{error.code}: {why}".replace(spec.id, "web")
    promised = at(life, spec)
    life.hints.append(spec.id)
    life.settle_hints()
    ended = at(life, spec)
    return promised if promised is ended else f"{promised} → {ended}"


def rendered() -> str:
    """The page. Asks over the bus's door; that the other agrees is a test's to see."""
    reasons: dict[str, int] = {}
    lines = [("verb", *State), ("---",) * (len(State) + 1)]
    for row in ROWS:
        cells = [cell(row, state, "bus") for state in State]
        lines.append((f"`{row}`", *(_short(one, reasons) for one in cells)))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    told = "\n".join(f"{number}. {reason}" for reason, number in reasons.items())
    return f"{_HEAD}{table}\n\n{told}\n"


def _short(outcome: str, reasons: dict[str, int]) -> str:
    if ": " not in outcome:
        return outcome
    return f"no ({reasons.setdefault(outcome, len(reasons) + 1)})"


if __name__ == "__main__":
    PAGE.write_text(rendered())
