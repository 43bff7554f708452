"""The verbs: idempotent by request id, ordered by generation, refused by the table."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import CEILING, Lifecycle, a_spec, ask, patched
from longshore.errors import (
    AddressInUse,
    ContainerExists,
    ContainerNotFound,
    Exhausted,
    HostFailed,
    IllegalTransition,
    ImageNotFound,
    InvalidRequest,
    InvalidSpec,
    LimitNotApplied,
    NameInUse,
    PolicyForbids,
    PortInUse,
    RequestConflict,
    StaleGeneration,
    Superseded,
)
from longshore.model.host import AppliedLimits, TaskStatus
from longshore.model.names import Names


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def states(life: Lifecycle) -> list[tuple[str, str]]:
    return [(change.previous, change.state) for change in life.changes.after(0, 0)]


def test_the_whole_life(life: Lifecycle) -> None:
    spec = a_spec(command=["sleep", "9"])
    assert life.containers.create(ask(), spec, start=False).state == "created"
    assert life.fake.tasks.there == {}
    assert life.containers.start(ask(), spec.id).state == "running"
    stopped = life.containers.stop(ask(), spec.name)
    assert (stopped.state, stopped.exit_code) == ("stopped", 128 + 15)
    assert life.fake.left() == {
        what: {spec.id} for what in ("snapshots", "records", "data", "files")
    }  # what lasts, and nothing else
    assert life.containers.start(ask(), spec.id[:8]).state == "running"
    assert life.containers.delete(ask(), spec.id, force=True).state == "absent"
    assert life.fake.left() == {}
    assert life.containers.list() == []
    assert states(life) == [
        ("absent", "creating"),
        ("creating", "created"),
        ("created", "starting"),
        ("starting", "running"),
        ("running", "stopping"),
        ("stopping", "stopped"),
        ("stopped", "starting"),
        ("starting", "running"),
        ("running", "deleting"),
        ("deleting", "absent"),
    ]


def test_every_step_is_timed(life: Lifecycle) -> None:
    status = life.containers.create(ask(), a_spec())
    assert [step.name for step in status.steps] == [
        *("image", "rootfs", "disk", "data", "files", "record"),
        *("users", "volumes", "injected", "secrets", "namespace", "task"),
        *("network", "process", "limits", "start"),
    ]
    assert all(step.seconds > 0 for step in status.steps)


def test_the_same_request_again_makes_nothing_twice(life: Lifecycle) -> None:
    spec, request = a_spec(), ask()
    first = life.containers.create(request, spec)
    assert life.containers.create(request, spec) == first
    assert life.fake.tasks.created == [spec.id]
    with pytest.raises(RequestConflict) as caught:
        life.containers.create(request, a_spec(id=spec.id, name=spec.name, command=["other"]))
    assert caught.value.field == "request_id"
    with pytest.raises(ContainerExists):
        life.containers.create(ask(), spec)


def test_a_default_that_is_spelled_out_is_no_other_request(life: Lifecycle) -> None:
    """Nor is a field that a newer release knows: an upgrade between the two changes nothing."""
    spec, request = a_spec(), ask()
    first = life.containers.create(request, spec)
    whole = a_spec(**{**spec.model_dump(mode="json"), "limits": {}, "stop_grace": 10})
    assert life.containers.create(request, whole) == first
    asked = life.journal.requested(request.id)
    assert asked is not None
    minimal = {"id": spec.id, "name": spec.name, "image": spec.image}
    asked.check_same("create", spec.id, {"spec": minimal, "start": True})


def test_a_request_id_is_for_one_container(life: Lifecycle) -> None:
    one, other, request = a_spec(), a_spec(), ask()
    life.containers.create(ask(), one)
    life.containers.create(ask(), other)
    life.containers.stop(request, one.id)
    with pytest.raises(RequestConflict):
        life.containers.stop(request, other.id)
    assert life.containers.show(other.id).state == "running"


def test_duplicates_at_the_same_time_make_one(life: Lifecycle) -> None:
    spec, request = a_spec(), ask()
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(life.containers.create(request, spec)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert {answer.model_dump_json() for answer in answers} == {answers[0].model_dump_json()}
    assert life.fake.tasks.created == [spec.id]


def test_answers_outlive_the_agent_and_the_container(life: Lifecycle) -> None:
    spec, create, delete = a_spec(), ask(), ask()
    first = life.containers.create(create, spec)
    life.containers.delete(delete, spec.id, force=True)
    life = life.next_life()
    assert life.containers.create(create, spec) == first
    assert life.containers.delete(delete, spec.id, force=True).state == "absent"
    assert life.fake.left() == {}


def test_an_older_generation_is_refused_with_the_present_one(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(generation=7), spec)
    for stale in (1, 7):
        with pytest.raises(StaleGeneration) as caught:
            life.containers.stop(ask(generation=stale), spec.id)
        assert caught.value.details == {"generation": 7}
    assert life.containers.stop(ask(generation=9), spec.id).generation == 9
    assert life.containers.start(ask(), spec.id).generation == 10


def test_accepted_answers_before_the_work(life: Lifecycle) -> None:
    spec, request = a_spec(), ask(wait="accepted")
    assert life.containers.create(request, spec).state == "creating"
    assert life.fake.left() == {}
    life.settle_hints()
    assert life.containers.show(spec.id).state == "running"
    # The same request later, by someone who waits, is answered with what came of it.
    assert life.containers.create(ask(id=request.id), spec).state == "running"


def test_wait_must_be_a_word_of_the_verb(life: Lifecycle) -> None:
    with pytest.raises(InvalidRequest) as caught:
        life.containers.create(ask(wait="deleted"), a_spec())
    assert caught.value.field == "wait"
    assert life.containers.create(ask(wait="created"), a_spec(), start=False).state == "created"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "r1"}, "request_id"),
        ({"id": "6F1C7A54-2F51-4BB8-8E7F-0D6A0E0F0001"}, "request_id"),
        ({"generation": 0}, "generation"),
        ({"generation": 2**63}, "generation"),
        ({"wait": "stopped"}, "wait"),
    ],
)
def test_a_request_that_no_front_door_takes(
    life: Lifecycle, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        life.containers.create(ask(**changes), a_spec())
    assert caught.value.field == field
    assert life.containers.list() == []


def test_a_running_container_is_deleted_only_with_force(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    with pytest.raises(IllegalTransition) as caught:
        life.containers.delete(ask(), spec.id)
    assert caught.value.hint is not None
    assert life.containers.show(spec.id).state == "running"


def test_a_delete_overtakes_a_create(life: Lifecycle) -> None:
    spec, entered, go_on = a_spec(), threading.Event(), threading.Event()

    def slow(context: Any) -> None:
        entered.set()
        go_on.wait(10)

    caught: list[BaseException] = []

    def create() -> None:
        try:
            life.containers.create(ask(), spec)
        except Superseded as error:
            caught.append(error)

    with patched("volumes", do=slow):
        creator = threading.Thread(target=create)
        creator.start()
        entered.wait(10)
        life.containers.delete(ask(wait="accepted"), spec.id, force=True)
        go_on.set()
        creator.join(10)
    life.settle_hints()
    assert [type(error) for error in caught] == [Superseded]
    assert life.fake.left() == {}
    assert life.journal.list() == []


def test_a_forced_delete_cuts_a_long_grace_short(life: Lifecycle) -> None:
    spec = a_spec(stop_grace=3600)
    life.containers.create(ask(), spec)
    life.fake.tasks.stubborn = True

    def overtaken() -> None:
        with pytest.raises(Superseded):
            life.containers.stop(ask(), spec.id)

    stopper = threading.Thread(target=overtaken)
    stopper.start()
    while life.containers.show(spec.id).state != "stopping":
        pass
    assert life.containers.delete(ask(), spec.id, force=True).state == "absent"
    stopper.join(10)
    assert not stopper.is_alive()


def test_what_ends_by_itself_is_settled_and_stays_stopped(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec)
    life.fake.tasks.end(spec.id, 3)
    life.settle_hints()
    shown = life.containers.show(spec.id)
    assert (shown.state, shown.exit_code, shown.desired) == ("stopped", 3, "running")
    assert "exit code 3" in shown.reason
    assert set(life.fake.left()) == {"snapshots", "records", "data", "files"}
    life = life.next_life()
    assert life.containers.show(spec.id).state == "stopped"


def test_what_ended_while_the_agent_was_away_is_noticed(life: Lifecycle) -> None:
    spec, other = a_spec(), a_spec()
    life.containers.create(ask(), spec)
    life.containers.create(ask(), other)
    life.fake.tasks.end(spec.id, 0)
    del life.fake.tasks.there[other.id]  # as after a reboot: nobody knows how it ended
    life = life.next_life()
    assert life.containers.show(spec.id).exit_code == 0
    gone = life.containers.show(other.id)
    assert (gone.state, gone.exit_code) == ("stopped", None)
    assert "nobody saw" in gone.reason


def test_a_stop_that_the_broken_wait_rings_for_is_not_cut_short(life: Lifecycle) -> None:
    spec = a_spec(stop_grace=3600)
    life.containers.create(ask(), spec)
    life.fake.tasks.stubborn = True
    stopper = threading.Thread(target=lambda: life.containers.stop(ask(), spec.id))
    stopper.start()
    while life.containers.show(spec.id).state != "stopping":
        pass
    for _ in range(3):
        life.fake.tasks._wake(spec.id)
    assert life.fake.tasks.get(Names(spec.id)).status is TaskStatus.RUNNING
    life.fake.tasks.end(spec.id, 0)
    stopper.join(10)
    assert life.containers.show(spec.id).exit_code == 0


def test_a_start_that_fails_keeps_what_lasts_and_says_why(life: Lifecycle) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec, start=False)

    def fail(context: Any) -> None:
        raise HostFailed("cannot do it: the test says so")

    with patched("network", do=fail), pytest.raises(HostFailed):
        life.containers.start(ask(), spec.id)
    shown = life.containers.show(spec.id)
    assert shown.state == "error"
    assert shown.error is not None
    assert shown.error.code == "host_failed"
    assert set(life.fake.left()) == {"snapshots", "records", "data", "files"}
    assert life.containers.start(ask(), spec.id).error is None


def test_a_start_records_anew_what_has_changed_on_the_node(life: Lifecycle) -> None:
    """Numbers of devices and disks, the init's path, flags of mounts are those of the day."""
    spec, records = a_spec(), life.fake.records.there
    life.containers.create(ask(), spec, start=False)
    records[spec.id] = {"put": "once"}
    life.containers.start(ask(), spec.id)
    assert records[spec.id] == {"put": "once"}
    life.containers.stop(ask(), spec.id)
    life.fake.looked_up["device"] = "8:16"
    life.containers.start(ask(), spec.id)
    assert records[spec.id] == {"hostname": spec.name, "device": "8:16"}


def test_a_limit_that_did_not_take_effect_fails_the_create(life: Lifecycle) -> None:
    life.fake.cgroups.applied = AppliedLimits(pids=5)
    with pytest.raises(LimitNotApplied) as caught:
        life.containers.create(ask(), a_spec(limits={"pids": 10}))
    assert caught.value.field == "limits.pids"
    assert life.fake.left() == {}


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"limits": {"cpus": 64}}, Exhausted, "limits.cpus"),
    ({"limits": {"cpuset": "0,9"}}, InvalidSpec, "limits.cpuset"),
    ({"limits": {"memory": 2**40}}, Exhausted, "limits.memory"),
    ({"limits": {"pids": 4000000}}, Exhausted, "limits.pids"),
    ({"nics": [{"network": "moon"}]}, InvalidSpec, "nics[0].network"),
    ({"nics": [{"address": "192.0.2.1"}]}, InvalidSpec, "nics[0].address"),
    ({"nics": [{"address": "10.89.0.1"}]}, InvalidSpec, "nics[0].address"),
    ({"nics": [{"address": "10.89.0.99"}]}, AddressInUse, "nics[0].address"),
    ({"nics": [{"mac": "02:00:00:00:00:99"}]}, AddressInUse, "nics[0].mac"),
    ({"ports": [{"container_port": 1, "host_port": 99}]}, PortInUse, "ports[0].host_port"),
    (
        {"ports": [{"container_port": 1, "host_port": 99, "host_ip": "127.0.0.1"}]},
        PortInUse,
        "ports[0].host_port",
    ),
    ({"name": "taken"}, NameInUse, "name"),
    ({"image": "moon:latest", "pull": "never"}, ImageNotFound, ""),
    ({"image": "moon", "image_credential": "moon"}, InvalidSpec, "image_credential"),
    ({"image_credential": "moon"}, InvalidSpec, "image_credential"),
    ({"security": {"privileged": True}}, PolicyForbids, "security.privileged"),
]


@pytest.mark.parametrize(("asked", "error", "field"), REFUSED)
def test_refused_before_anything_is_made(
    life: Lifecycle, asked: dict[str, Any], error: type[Exception], field: str
) -> None:
    life.containers.create(
        ask(),
        a_spec(
            name="taken",
            nics=[{"address": "10.89.0.99", "mac": "02:00:00:00:00:99"}],
            ports=[{"container_port": 1, "host_port": 99}],
        ),
    )
    before, spec, request = life.fake.left(), a_spec(**asked), ask()
    with pytest.raises(error) as caught:
        life.containers.create(request, spec)
    assert (getattr(caught.value, "field", None) or "") == field
    assert life.fake.left() == before
    assert life.journal.get(spec.id) is None
    # Nothing was noted either: mended, the same request id may be used.
    assert life.containers.create(request, a_spec(id=spec.id)).state == "running"


def test_addresses_and_ports_go_round(life: Lifecycle) -> None:
    port = {"ports": [{"container_port": 80}]}
    specs = [a_spec(**port) for _ in range(10)]
    made = [life.containers.create(ask(), spec) for spec in specs]
    assert [one.nics[0].address for one in made] == [f"10.89.0.{n}" for n in range(2, 12)]
    assert sorted(one.ports[0].host_port for one in made) == list(range(40000, 40010))
    with pytest.raises(Exhausted):
        life.containers.create(ask(), a_spec(**port))
    life.containers.delete(ask(), specs[4].id, force=True)
    again = life.containers.create(ask(), a_spec(**port))
    assert again.ports[0].host_port == made[4].ports[0].host_port
    assert again.nics[0].address == "10.89.0.12"


def test_two_creates_for_one_port_make_one(life: Lifecycle) -> None:
    outcomes: list[str] = []

    def create() -> None:
        spec = a_spec(ports=[{"container_port": 1, "host_port": 5000}])
        try:
            outcomes.append(life.containers.create(ask(), spec).state)
        except PortInUse as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["port_in_use"] * 5 + ["running"]


def test_unknown_containers(life: Lifecycle) -> None:
    for verb in (life.containers.start, life.containers.stop, life.containers.delete):
        with pytest.raises(ContainerNotFound) as caught:
            verb(ask(), "nobody")
        assert caught.value.object == "nobody"
    with pytest.raises(ContainerNotFound):
        life.containers.show(str(uuid.uuid4()))


def test_the_ceiling_is_what_the_tests_think() -> None:
    assert len(CEILING.cpus) == 4
