"""What a record that takes another's place tells, and what is said to come next."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.model.host import Image, ImageConfig
from longshore.model.record import Facts, Record
from longshore.model.spec import parse
from longshore.model.state import Desired, State
from longshore.model.status import HealthStatus, OutOfMemory
from longshore.model.story import _COMING, Outlook, coming, happened

ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"
ERROR = {"code": "start_failed", "error": "StartFailed", "message": "cannot start it"}
OUTLOOK = Outlook(now=1000.0, tick=1030.0, retention=3600.0)


def a_record(state: State = State.RUNNING, **changes: Any) -> Record:
    """`spec`: fields of the spec."""
    spec = {"id": ID, "name": "web", "image": "busybox:1", **changes.pop("spec", {})}
    image = Image("busybox:1", "sha256:" + "0" * 64, "sha256:1", 1, 1.0, ImageConfig())
    fields = {
        "generation": 1,
        "desired": Desired.RUNNING,
        "desired_by": "test",
        "desired_at": 990.0,
        "reason": "it runs",
        "created_at": 1.0,
        "facts": Facts(image=image),
        **changes,
    }
    return Record(spec=parse(spec), state=state, **fields)


def whats(before: Record | None, after: Record, asked: str = "") -> list[str]:
    entries = happened(before, after, 7.0, asked)
    assert {one.at for one in entries} <= {7.0}
    return [one.what for one in entries]


def test_a_verb_and_its_transition_are_one_entry() -> None:
    made = a_record(State.CREATING, reason="create was requested")
    assert whats(None, made, "create by test") == ["create by test: absent → creating"]
    runs = a_record()
    assert whats(runs, runs, "kill by test") == ["kill by test"]
    stopping = runs.but(state=State.STOPPING, reason="stop was requested")
    assert whats(runs, stopping, "stop by test") == ["stop by test: running → stopping"]


def test_a_transition_has_its_reason_how_long_it_took_and_what_went_wrong() -> None:
    starting = a_record(State.STARTING, reason="start was requested")
    runs = starting.but(
        state=State.RUNNING, reason="it runs", steps=(("rootfs", 0.5), ("start", 0.25))
    )
    (one,) = happened(starting, runs, 7.0)
    assert (one.what, one.seconds, one.error) == ("starting → running: it runs", 0.75, None)
    (one,) = happened(starting, starting.but(state=State.ERROR, reason="no", error=ERROR), 7.0)
    assert one.what == "starting → error: no"
    assert one.error is not None
    assert (one.error.code, one.error.message) == ("start_failed", "cannot start it")
    assert one.seconds is None


def test_a_failure_that_stays_is_told_once() -> None:
    runs = a_record()
    failed = runs.but(error=ERROR)
    (one,) = happened(runs, failed, 7.0)
    assert one.what == "cannot start it"
    assert happened(failed, failed.but(generation=2), 7.0) == ()


def test_what_nobody_needs_to_know_is_not_told() -> None:
    runs = a_record()
    assert happened(runs, runs.but(exit_code=1, grace=2.0, paused=True, facts=Facts()), 7.0) == ()


@pytest.mark.parametrize(
    ("before", "changes", "told"),
    [
        (
            {},
            {"out_of_memory": OutOfMemory(at=3.0, peak=2**20, limit=2**20)},
            "the kernel killed a process of it to free memory (at most 1 MiB of 1 MiB)",
        ),
        (
            {"out_of_memory": OutOfMemory(at=3.0)},
            {"out_of_memory": OutOfMemory(at=4.0)},
            "the kernel killed a process of it to free memory",
        ),
        ({}, {"health": HealthStatus()}, "health: starting"),
        (
            {"health": HealthStatus()},
            {"health": HealthStatus(state="healthy", output="200")},
            "health: starting → healthy",
        ),
        (
            {"health": HealthStatus(state="healthy")},
            {"health": HealthStatus(state="unhealthy", output="refused")},
            "health: healthy → unhealthy: refused",
        ),
        ({}, {"leftovers": ("veth x",)}, "left over, and tried again: veth x"),
        ({"leftovers": ("veth x",)}, {"leftovers": ()}, "what was left over is removed"),
        ({}, {"reason": "it runs; memory was 5, is 6 again"}, "it runs; memory was 5, is 6 again"),
        ({}, {"spec": a_record(spec={"name": "db"}).spec}, "renamed from web to db"),
    ],
)
def test_what_happens_beside(before: dict[str, Any], changes: dict[str, Any], told: str) -> None:
    record = a_record(**before)
    assert whats(record, record.but(**changes)) == [told]


@pytest.mark.parametrize(
    "same",
    [{"out_of_memory": OutOfMemory(at=3.0)}, {"health": HealthStatus()}, {"leftovers": ("x",)}],
)
def test_what_stays_is_not_told_again(same: dict[str, Any]) -> None:
    record = a_record(**same)
    assert whats(record, record.but(generation=2)) == []


def test_every_state_has_a_future() -> None:
    assert set(_COMING) == set(State)
    for state in State:
        assert coming(a_record(state), OUTLOOK).words


HEALTH = {"type": "tcp", "port": 80, "on_unhealthy": "restart", "budget": 2}


@pytest.mark.parametrize(
    ("state", "changes", "words", "at"),
    [
        (State.CREATING, {"facts": Facts()}, "its image busybox:1 comes", None),
        (State.CREATING, {"error": ERROR}, "what failed is tried again", 1030.0),
        (State.CREATED, {"desired": Desired.STOPPED}, "until somebody starts or deletes", None),
        (State.RESTARTING, {"restart_at": 1003.0}, "it is started again", 1003.0),
        (State.RESTARTING, {"restart_at": 1003.0, "restarts": 2}, "(restart 3 since", 1003.0),
        (State.RESTARTING, {"restart_at": 900.0}, "it is started again", 1000.0),
        (State.RESTARTING, {}, "its process ends, if it has not yet", None),
        (State.RUNNING, {}, "it stays stopped", None),
        (State.RUNNING, {"spec": {"auto_remove": True}}, "it is removed", None),
        (State.RUNNING, {"spec": {"restart": {"policy": "always"}}}, "started again", None),
        (
            State.RUNNING,
            {"spec": {"restart": {"policy": "on-failure", "retries": 3}}},
            "unless its exit code is 0, 3 times in a row at most",
            None,
        ),
        (
            State.RUNNING,
            {"spec": {"health": HEALTH}, "health": HealthStatus(state="unhealthy", acted=(999,))},
            "restart, as on_unhealthy says (1 of 2 times",
            None,
        ),
        (
            State.RUNNING,
            {
                "spec": {"health": HEALTH},
                "health": HealthStatus(state="unhealthy", acted=(900, 999)),
            },
            "has acted 2 times in this hour",
            4500.0,
        ),
        (
            State.RUNNING,
            {"spec": {"health": HEALTH}, "health": HealthStatus(acted=(900, 999))},
            "it stays stopped",
            None,
        ),
        (State.STOPPING, {}, "unless it has ended by then", 1000.0),
        (State.STOPPING, {"grace": 0.0}, "its process is killed, and", None),
        (State.STOPPED, {"leftovers": ("veth x",)}, "is tried again: veth x", 1030.0),
        (State.STOPPED, {"spec": {"auto_remove": True}}, "it is removed", 1030.0),
        (
            State.STOPPED,
            {"desired": Desired.STOPPED, "spec": {"restart": {"policy": "always"}}},
            "what was stopped by request stays so",
            None,
        ),
        (State.DELETING, {"error": ERROR}, "its removal is tried again", 1030.0),
        (State.FAILED, {}, "it is forgotten then", 4590.0),
    ],
)
def test_what_comes_next(
    state: State, changes: dict[str, Any], words: str, at: float | None
) -> None:
    found = coming(a_record(state, **changes), OUTLOOK)
    assert words in found.words
    assert found.at == at
