"""The verbs that look into a container or work in it: the states in which each can.

The verbs that change its record have a table of their own, in state.py; those that read the record
alone (show, list, explain, plan, logs, wait) do so in every state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from longshore.errors import IllegalTransition
from longshore.model.running import MEASURED
from longshore.model.state import State

#: Its own layer is there, and nobody is about to make or remove it.
_FILES = frozenset(
    {
        *(State.CREATED, State.RUNNING, State.PAUSED, State.RESTARTING),
        *(State.STOPPING, State.STOPPED, State.ERROR),
    }
)
#: Nothing is written or read there, nor will be unless somebody asks for it anew.
_SILENT = frozenset({State.ABSENT, State.ERROR, State.DELETING, State.FAILED})
#: What to do before it is possible, if anything is.
_HINTS: Mapping[State, str] = {
    State.CREATING: "wait until it runs",
    State.CREATED: "start it first",
    State.STARTING: "wait until it runs",
    State.PAUSED: "unpause it first",
    State.RESTARTING: "start it first",
    State.STOPPED: "start it first",
    State.ERROR: "start it first",
}


@dataclass(frozen=True)
class Inside:
    """`words`: of 'cannot WORDS container NAME'. `states`: in which it is possible."""

    words: str
    states: frozenset[State]


INSIDE: Mapping[str, Inside] = {
    "exec": Inside("run a command in", frozenset({State.RUNNING})),
    "attach": Inside("attach to", frozenset(State) - _SILENT),
    "top": Inside("list the processes of", MEASURED),
    "stats": Inside("read the stats of", MEASURED),
    "copy_in": Inside("copy to", _FILES),
    "copy_out": Inside("copy out of", _FILES),
    "diff": Inside("compare", _FILES),
    # While it stops its files are still written to, and it cannot be frozen.
    "commit": Inside("commit", _FILES - {State.STOPPING}),
}


def check_inside(verb: str, name: str, state: State) -> None:
    """Raises IllegalTransition in a state in which it cannot; `name` is the container's."""
    if state not in INSIDE[verb].states:
        raise refusal(verb, name, state, f"it is {state}")


def refusal(verb: str, name: str, state: State, why: str) -> IllegalTransition:
    """The error of a verb that cannot now. `why`: 'it is stopped'."""
    return IllegalTransition(
        f"cannot {INSIDE[verb].words} container {name}: {why}",
        object=name,
        hint=_HINTS.get(state),
        details={"state": str(state), "verb": verb},
    )
