from __future__ import annotations

import re
from itertools import product

import pytest

from longshore.errors import IllegalTransition
from longshore.model import state
from longshore.model.host import Task, TaskStatus
from longshore.model.plan import AUTO_REMOVE, Act, once_ended, plan
from longshore.model.record import Record
from longshore.model.request import Verb
from longshore.model.spec import parse
from longshore.model.state import TRANSITIONS, WANTS, Desired, Happening, State, after


def test_the_diagram_is_the_table() -> None:
    drawn = {
        (State(at), _event(event)): State(to)
        for at, event, to in re.findall(r"^ +(\w+) +--(\w+)--> *(\w+)$", state.__doc__ or "", re.M)
    }
    assert drawn == TRANSITIONS


def _event(word: str) -> Verb | Happening:
    return Verb(word) if word in set(Verb) else Happening(word)


def test_what_is_not_in_the_table_is_refused_with_what_is_possible() -> None:
    with pytest.raises(IllegalTransition, match="it is creating") as caught:
        after(State.CREATING, Verb.STOP, "web")
    assert caught.value.hint == "possible now: delete"


@pytest.mark.parametrize(("at", "status"), list(product(State, TaskStatus)))
def test_there_is_a_plan_for_whatever_verbs_can_lead_to(at: State, status: TaskStatus) -> None:
    for desired in _possible(at):
        assert plan(_record(at, desired), Task(status)).reason


def _possible(at: State) -> set[Desired]:
    """By following every line of the table with what the verbs make wanted."""
    reached = {
        (State.CREATING, Desired.RUNNING),
        (State.CREATING, Desired.STOPPED),
    }
    while True:
        more = {
            (to, _wanted(desired, event))
            for here, desired in reached
            for (start, event), to in TRANSITIONS.items()
            if start is here
            and to is not State.ABSENT
            # What is not to start does not start by itself.
            and not (desired is Desired.STOPPED and event is Happening.STARTED)
            and not (desired is Desired.RUNNING and event is Happening.PREPARED)
            # What is not wanted to run is not started again.
            and not (desired is not Desired.RUNNING and event is Happening.AGAIN)
            and not (
                start is State.CREATING
                and event is Happening.ENDED
                and desired is not Desired.RUNNING
            )
        }
        if more <= reached:
            return {desired for here, desired in reached if here is at}
        reached |= more


def _wanted(desired: Desired, event: Verb | Happening) -> Desired:
    if isinstance(event, Verb):
        return WANTS.get(event, desired)
    ended = event in (Happening.ENDED, Happening.FAILED)
    return Desired.RUNNING if ended and desired is Desired.PAUSED else desired


def _record(at: State, desired: Desired, **changes: object) -> Record:
    spec = parse({"id": "00000000-0000-4000-8000-000000000001", "name": "a", "image": "b"})
    return Record(
        spec=spec,
        generation=1,
        desired=desired,
        desired_by="test",
        desired_at=0,
        state=at,
        reason="",
        created_at=0,
    ).but(**changes)


@pytest.mark.parametrize("at", list(State))
@pytest.mark.parametrize("auto_remove", [True, False])
def test_only_what_has_ended_and_says_so_is_removed_by_itself(at: State, auto_remove: bool) -> None:
    for desired in _possible(at) | {Desired.RUNNING}:
        record = _record(at, desired)
        record = record.but(spec=record.spec.model_copy(update={"auto_remove": auto_remove}))
        wanted = once_ended(record, 7.0)
        if at not in (State.STOPPED, State.ERROR) or not auto_remove:
            assert wanted is record
            continue
        assert (wanted.state, wanted.desired) == (State.DELETING, Desired.ABSENT)
        assert (wanted.desired_by, wanted.desired_at) == (AUTO_REMOVE, 7.0)
        assert {plan(wanted, Task(status)).act for status in TaskStatus} == {Act.DELETE}


def test_a_process_that_ended_unseen_is_not_run_a_second_time() -> None:
    record = _record(State.CREATING, Desired.RUNNING)
    assert plan(record, Task(TaskStatus.STOPPED)).act is Act.END


def test_what_a_user_stopped_stays_stopped() -> None:
    record = _record(State.STOPPED, Desired.STOPPED)
    assert {plan(record, Task(status)).act for status in TaskStatus} == {Act.LEAVE}


def test_leftovers_are_cleaned_before_anything_else_is_left_alone() -> None:
    record = _record(State.FAILED, Desired.RUNNING, leftovers=("network: busy",))
    assert plan(record, Task()).act is Act.CLEAN
