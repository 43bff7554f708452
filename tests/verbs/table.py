"""The verbs that change a container, and what comes of each in each state."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fakes.lifecycle import Lifecycle
from longshore.errors import LongshoreError
from longshore.model.spec import ContainerSpec
from longshore.model.state import State
from verbs import doors
from verbs.doors import Ask
from verbs.states import at, brought

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


@cache
def cell(row: str, state: State, door: str) -> str:
    """What comes of it. Asked for once: the tests and the page have the same."""
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


def cells() -> Mapping[tuple[str, ...], Sequence[str]]:
    """By row. Asks over the bus's door; that the other agrees is a test's to see."""
    return {(row,): [cell(row, state, "bus") for state in State] for row in ROWS}
