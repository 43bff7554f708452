"""update, rollback and what becomes of a new version, on a fake host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fakes.images import an_image
from fakes.lifecycle import PROBATION, Lifecycle, a_spec, ask, patched
from longshore.errors import (
    HostBusy,
    HostFailed,
    HostUnavailable,
    IllegalTransition,
    InvalidRequest,
    InvalidSpec,
    LongshoreError,
    PortInUse,
    RequestConflict,
    Superseded,
    UpdateTakenBack,
)
from longshore.lifecycle.story import Stories
from longshore.model.host import AppliedLimits
from longshore.model.names import Names
from longshore.model.record import Record
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
from longshore.model.state import State
from longshore.model.status import ContainerStatus, HealthStatus
from longshore.model.transfer import Auth, PullPolicy

ASKED: dict[str, Any] = {
    "command": ["sleep", "1"],
    "ports": [{"container_port": 80}],
    "mounts": [{"type": "volume", "name": "kept", "target": "/kept"}],
    "secrets": [{"name": "password", "value": "s3cret"}],
    "files": [{"target": "/etc/app", "content": "one"}],
}


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


@pytest.fixture
def spec(life: Lifecycle) -> ContainerSpec:
    spec = a_spec(**ASKED)
    life.containers.create(ask(), spec)
    return spec


def record(life: Lifecycle, spec: ContainerSpec) -> Record:
    found = life.journal.get(spec.id)
    assert found is not None
    return found


def claims(life: Lifecycle, spec: ContainerSpec) -> set[tuple[str, ...]]:
    rows = life.journal._database.execute(
        "SELECT kind, key FROM claims WHERE container = ?", (spec.id,)
    )
    return {*rows.fetchall()}


def ask_for(
    life: Lifecycle, spec: ContainerSpec, patch: Mapping[str, Any], **changes: Any
) -> Request:
    """The update, accepted and carried out as far as it goes without time passing."""
    apply = changes.pop("apply", "now")
    request = ask(wait="accepted", **changes)
    life.updates.update(request, spec.id, patch, apply=apply)
    life.settle_hints()
    return request


def outcome(life: Lifecycle, request: Request) -> ContainerStatus:
    asked = life.journal.requested(request.id)
    assert asked is not None
    assert asked.outcome is not None, "not answered yet"
    return asked.result()


def is_open(life: Lifecycle, request: Request) -> bool:
    asked = life.journal.requested(request.id)
    assert asked is not None
    return asked.outcome is None


def test_what_its_process_gets_takes_another_process(life: Lifecycle, spec: ContainerSpec) -> None:
    before = record(life, spec)
    request = ask_for(life, spec, {"command": ["sleep", "2"]})
    now = record(life, spec)
    assert (now.state, now.version, now.spec.command) == (State.RUNNING, 2, ("sleep", "2"))
    assert now.facts.pid != before.facts.pid
    assert now.status().previous_version == 1
    assert is_open(life, request)
    assert (now.facts.nics, now.facts.ports) == (before.facts.nics, before.facts.ports)
    life.pass_time(PROBATION)
    done = outcome(life, request)
    assert (done.version, done.previous_version, done.state) == (2, None, "running")
    assert life.fake.tasks.created == [spec.id, spec.id]
    assert life.fake.secrets.written[spec.id] == {"password": b"s3cret"}
    # Asked again it is no other update.
    assert life.updates.update(request, spec.id, {"command": ["sleep", "2"]}) == done
    with pytest.raises(RequestConflict):
        life.updates.update(request, spec.id, {"command": ["sleep", "3"]})


def test_what_the_agent_looks_up_is_so_at_once(life: Lifecycle, spec: ContainerSpec) -> None:
    pid = record(life, spec).facts.pid
    request = ask_for(life, spec, {"labels": {"a": "b"}, "restart": {"policy": "always"}})
    done = outcome(life, request)
    assert (done.version, done.labels, done.pid) == (2, {"a": "b"}, pid)
    assert [one.kind for one in life.changes.after(0, 0)][-1] == "updated"


def test_limits_of_a_running_one(life: Lifecycle, spec: ContainerSpec) -> None:
    pid = record(life, spec).facts.pid
    life.fake.cgroups.applied = AppliedLimits(pids=50)
    taken = life.fake.tasks.update

    def update(names: Names, limits: Any) -> None:
        taken(names, limits)
        life.fake.cgroups.applied = AppliedLimits(pids=limits.pids)

    life.fake.tasks.update = update  # type: ignore[method-assign]
    done = outcome(life, ask_for(life, spec, {"limits": {"pids": 100}}))
    assert done.limits is not None
    assert (done.limits.pids, done.pid, done.version) == (100, pid, 2)
    # One that the kernel does not take is not kept.
    life.fake.tasks.update = taken  # type: ignore[method-assign]
    request = ask_for(life, spec, {"limits": {"pids": 200}})
    with pytest.raises(UpdateTakenBack, match=r"limits\.pids: asked 200, the kernel has 100"):
        outcome(life, request)
    now = record(life, spec)
    assert (now.spec.limits.pids, now.facts.pid, now.trial, now.version) == (100, pid, None, 2)
    assert [one.state for one in life.history.versions(spec.id)] == [
        "earlier",
        "in use",
        "taken back",
    ]


def test_files_are_written_anew(life: Lifecycle, spec: ContainerSpec) -> None:
    patch = {"files": [{"target": "/etc/app", "content": "two"}, {"target": "/b", "content": "x"}]}
    request = ask_for(life, spec, patch)
    assert life.fake.files.written[spec.id] == ("two", "x")
    life.pass_time(PROBATION)
    assert outcome(life, request).version == 2
    # What stays needs no content.
    request = ask_for(life, spec, {"files": [{"target": "/etc/app"}], "hostname": "other"})
    assert life.fake.files.written[spec.id] == ("two",)
    life.pass_time(PROBATION)
    assert outcome(life, request).version == 3
    request = ask(wait="accepted")
    life.updates.rollback(request, spec.id, 1)
    life.settle_hints()
    assert life.fake.files.written[spec.id] == ("one",)
    life.pass_time(PROBATION)
    assert outcome(life, request).version == 4
    assert record(life, spec).contents == ()


@pytest.mark.parametrize("patch", [{"command": ["x"]}, {"hostname": "x"}])
@pytest.mark.parametrize("step", ["users", "injected", "task", "network", "start"])
def test_one_that_does_not_start_is_taken_back(
    life: Lifecycle, spec: ContainerSpec, step: str, patch: dict[str, Any]
) -> None:
    before, held = record(life, spec), claims(life, spec)

    with patched(step) as there:
        done = there.do

    def fail_once(context: Any) -> None:
        if context.record.version == 2:
            raise HostFailed("cannot do it: the test says so", hint="do not")
        done(context)

    with patched(step, do=fail_once):
        request = ask_for(life, spec, {**patch, "ports": [{"container_port": 81}]})
    with pytest.raises(UpdateTakenBack, match="version 2 is no good: cannot do it") as caught:
        outcome(life, request)
    assert caught.value.details["why"]["code"] == "host_failed"
    now = record(life, spec)
    assert (now.state, now.version, now.trial, now.pending) == (State.RUNNING, 1, None, None)
    assert (now.spec, now.facts.ports) == (before.spec, before.facts.ports)
    assert "version 2 was taken back: cannot do it" in now.reason
    assert claims(life, spec) == held
    assert life.fake.files.written[spec.id] == ("one",)
    assert life.fake.secrets.written[spec.id] == {"password": b"s3cret"}


@pytest.mark.parametrize("code", [0, 3])
def test_one_that_ends_on_trial(life: Lifecycle, spec: ContainerSpec, code: int) -> None:
    request = ask_for(life, spec, {"command": ["x"], "restart": {"policy": "on-failure"}})
    life.fake.tasks.end(spec.id, code)
    life.settle_hints()
    now = record(life, spec)
    if code == 0:
        assert outcome(life, request).state == "stopped"
        assert (now.version, now.trial) == (2, None)
        return
    with pytest.raises(UpdateTakenBack, match="its process ended at once, with exit code 3"):
        outcome(life, request)
    assert (now.state, now.version, now.spec.command) == (State.RUNNING, 1, ("sleep", "1"))


def test_what_may_pass_keeps_nothing_from_coming_back(life: Lifecycle, spec: ContainerSpec) -> None:
    def away(context: Any) -> None:
        raise HostUnavailable("cannot do it: it is away")

    with patched("task", do=away):
        request = ask_for(life, spec, {"command": ["x"]})
        for _ in range(5):
            life.pass_time(10_000)
        assert is_open(life, request)
    now = record(life, spec)
    assert (now.state, now.version) == (State.RESTARTING, 1)
    life = life.next_life()
    life.pass_time(10_000)
    with pytest.raises(UpdateTakenBack):
        outcome(life, request)
    assert record(life, spec).state is State.RUNNING


def test_one_that_cannot_come_back_either(life: Lifecycle, spec: ContainerSpec) -> None:
    def fail(context: Any) -> None:
        raise HostFailed("cannot do it: the test says so")

    with patched("task", do=fail):
        request = ask_for(life, spec, {"command": ["x"]})
    with pytest.raises(UpdateTakenBack):
        outcome(life, request)
    now = record(life, spec)
    assert (now.state, now.version, now.trial) == (State.ERROR, 1, None)
    assert life.containers.start(ask(), spec.id).state == "running"


def test_at_the_next_restart(life: Lifecycle, spec: ContainerSpec) -> None:
    pid = record(life, spec).facts.pid
    request = ask_for(life, spec, {"command": ["x"]}, apply="restart")
    done = outcome(life, request)
    assert (done.version, done.pending_version, done.pid) == (1, 2, pid)
    # Another one builds on it.
    request = ask_for(life, spec, {"env": {"A": "1"}}, apply="restart")
    assert outcome(life, request).pending_version == 3
    assert life.containers.restart(ask(), spec.id).state == "running"
    now = record(life, spec)
    assert (now.version, now.spec.command, now.spec.env) == (3, ("x",), {"A": "1"})
    assert now.trial is not None
    life.pass_time(PROBATION)
    assert record(life, spec).trial is None
    assert [one.state for one in life.history.versions(spec.id)] == [
        "earlier",
        "earlier",
        "in use",
    ]


def test_of_one_that_does_not_run(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.stop(ask(), spec.id)
    request = ask_for(life, spec, {"hostname": "other", "ports": []})
    done = outcome(life, request)
    assert (done.state, done.version, done.ports) == ("stopped", 2, ())
    assert life.containers.start(ask(), spec.id).state == "running"
    life.pass_time(PROBATION)
    assert record(life, spec).trial is None
    assert not [key for kind, key in claims(life, spec) if kind == "port"]


def test_of_one_that_could_not_be_started(life: Lifecycle, spec: ContainerSpec) -> None:
    def fail(context: Any) -> None:
        raise HostFailed("cannot do it: the test says so")

    life.containers.stop(ask(), spec.id)
    with patched("task", do=fail), pytest.raises(HostFailed):
        life.containers.start(ask(), spec.id)
    assert record(life, spec).state is State.ERROR
    request = ask_for(life, spec, {"command": ["x"]})
    assert record(life, spec).state is State.RUNNING
    life.pass_time(PROBATION)
    assert outcome(life, request).version == 2


def test_both_hold_what_they_need_until_it_is_known(life: Lifecycle, spec: ContainerSpec) -> None:
    (had,) = record(life, spec).facts.ports
    request = ask_for(life, spec, {"ports": [{"container_port": 80, "host_port": 9000}]})
    other = a_spec(ports=[{"container_port": 80, "host_port": had.host_port}])
    with pytest.raises(PortInUse):
        life.containers.create(ask(), other)
    life.pass_time(PROBATION)
    assert outcome(life, request).ports[0].host_port == 9000
    assert life.containers.create(ask(), other).state == "running"
    with pytest.raises(PortInUse, match=f"cannot .*{had.host_port}"):
        life.updates.update(
            ask(), spec.id, {"ports": [{"container_port": 80, "host_port": had.host_port}]}
        )
    assert record(life, spec).version == 2


def test_a_newer_one_while_one_is_on_trial(life: Lifecycle, spec: ContainerSpec) -> None:
    first = ask_for(life, spec, {"command": ["x"]})
    with pytest.raises(HostBusy, match="version 2 is on trial"):
        life.updates.update(ask(), spec.id, {"labels": {"a": "b"}})
    second = ask_for(life, spec, {"command": ["y"]})
    with pytest.raises(Superseded):
        outcome(life, first)
    life.fake.tasks.end(spec.id, 1)
    life.settle_hints()
    with pytest.raises(UpdateTakenBack, match="version 1 is in use again"):
        outcome(life, second)
    assert record(life, spec).spec.command == ("sleep", "1")


def test_a_stop_on_trial_says_nothing(life: Lifecycle, spec: ContainerSpec) -> None:
    request = ask_for(life, spec, {"command": ["x"]})
    life.containers.stop(ask(), spec.id)
    assert outcome(life, request).version == 2
    assert record(life, spec).trial is not None
    life.containers.start(ask(), spec.id)
    life.fake.tasks.end(spec.id, 1)
    life.settle_hints()
    now = record(life, spec)
    assert (now.version, now.state, now.trial) == (1, State.RUNNING, None)


def test_rollback(life: Lifecycle, spec: ContainerSpec) -> None:
    for number in ("2", "3"):
        request = ask_for(life, spec, {"command": ["sleep", number]})
        life.pass_time(PROBATION)
        outcome(life, request)
    request = ask(wait="accepted")
    life.updates.rollback(request, spec.id)
    life.settle_hints()
    life.pass_time(PROBATION)
    assert outcome(life, request).version == 4
    assert record(life, spec).spec.command == ("sleep", "2")
    (change,) = life.history.compare(spec.id, 1, 4)
    assert (change.before, change.after, change.when) == (
        ["sleep", "1"],
        ["sleep", "2"],
        "restart",
    )
    with pytest.raises(InvalidRequest, match="has no version 9"):
        life.history.compare(spec.id, 1, 9)
    with pytest.raises(InvalidRequest, match="a version 9") as caught:
        life.updates.rollback(ask(), spec.id, 9)
    assert caught.value.hint == "it has 1, 2, 3, 4"


def test_what_no_update_changes(life: Lifecycle, spec: ContainerSpec) -> None:
    for patch in ({"image": "other"}, {"name": "other"}):
        with pytest.raises(InvalidSpec, match="cannot update container"):
            life.updates.update(ask(), spec.id, patch)
    with pytest.raises(InvalidRequest, match="apply"):
        life.updates.update(ask(), spec.id, {}, apply="later")
    assert [one.number for one in life.history.versions(spec.id)] == [1]
    request = ask_for(life, spec, {"command": ["sleep", "1"]})
    assert outcome(life, request).version == 1


@pytest.mark.parametrize("state", ["creating", "deleting"])
def test_in_the_wrong_state(life: Lifecycle, state: str) -> None:
    spec = a_spec()
    if state == "creating":
        life.containers.create(ask(wait="accepted"), spec)
    else:
        life.containers.create(ask(), spec)
        life.containers.delete(ask(wait="accepted"), spec.id, force=True)
    with pytest.raises(IllegalTransition, match=f"it is {state}"):
        life.updates.update(ask(), spec.id, {"command": ["x"]})


def test_ten_versions_are_kept(life: Lifecycle, spec: ContainerSpec) -> None:
    for number in range(12):
        outcome(life, ask_for(life, spec, {"labels": {"n": str(number)}}))
    numbers = [one.number for one in life.history.versions(spec.id)]
    assert numbers == list(range(4, 14))
    life.containers.delete(ask(), spec.id, force=True)
    assert not life.journal._database.execute("SELECT count(*) FROM versions").fetchone()[0]


def test_rebuild(life: Lifecycle, spec: ContainerSpec) -> None:
    before = record(life, spec)
    assert before.facts.image is not None
    other = an_image("other", "other")
    life.fake.images.there[other.name] = other
    life.fake.images.content[other.digest] = other.size
    life.fake.rootfs.unpacked.add(other.chain_id)
    done = life.rebuilding.rebuild(ask(), spec.id, "other", PullPolicy.IF_NOT_PRESENT, Auth())
    assert (done.state, done.version, done.image, done.image_digest) == (
        "running",
        2,
        "other",
        other.digest,
    )
    now = record(life, spec)
    assert (now.facts.nics, now.facts.ports) == (before.facts.nics, before.facts.ports)
    assert life.fake.rootfs.snapshots[spec.id] == other.digest
    with pytest.raises(LongshoreError, match="cannot"):
        life.rebuilding.rebuild(ask(), spec.id, "none", PullPolicy.NEVER, Auth())
    assert record(life, spec).facts.pid == now.facts.pid
    with pytest.raises(InvalidSpec, match="a rebuild makes them anew"):
        life.updates.rollback(ask(), spec.id, 1)


CHECKED: dict[str, Any] = {"command": ["x"], "health": {"type": "tcp", "port": 80}}


def probed(life: Lifecycle, spec: ContainerSpec, state: str) -> None:
    with life.journal.transaction(durable=False) as tx:
        tx.put(record(life, spec).but(health=HealthStatus(state=state, output="as the test says")))
    life.converge.visit(spec.id)
    life.settle_hints()


def test_with_a_health_check_it_has_to_be_healthy(life: Lifecycle, spec: ContainerSpec) -> None:
    request = ask_for(life, spec, CHECKED)
    probed(life, spec, "starting")
    life.later += 2 * PROBATION
    probed(life, spec, "healthy")
    assert outcome(life, request).version == 2
    assert record(life, spec).trial is None


def test_an_unhealthy_one_is_taken_back(life: Lifecycle, spec: ContainerSpec) -> None:
    request = ask_for(life, spec, CHECKED)
    probed(life, spec, "unhealthy")
    with pytest.raises(UpdateTakenBack, match="it is unhealthy: as the test says"):
        outcome(life, request)
    now = record(life, spec)
    assert (now.state, now.version, now.health) == (State.RUNNING, 1, None)


def test_one_that_never_gets_healthy(life: Lifecycle, spec: ContainerSpec) -> None:
    request = ask_for(life, spec, CHECKED)
    life.pass_time(10 * PROBATION)
    with pytest.raises(UpdateTakenBack, match="was not healthy in time"):
        outcome(life, request)
    assert record(life, spec).version == 1


def test_a_stop_of_an_unhealthy_one_is_a_stop(life: Lifecycle, spec: ContainerSpec) -> None:
    ask_for(life, spec, CHECKED)
    with life.journal.transaction(durable=False) as tx:
        tx.put(record(life, spec).but(health=HealthStatus(state="unhealthy")))
    assert life.containers.stop(ask(), spec.id).state == "stopped"
    life.settle_hints()
    assert record(life, spec).state is State.STOPPED


def test_the_story_tells_of_it(life: Lifecycle, spec: ContainerSpec) -> None:
    stories = Stories(life.journal, lambda: 5000.0, lambda: None, 60.0)
    ask_for(life, spec, {"command": ["x"]}, apply="restart")
    assert stories.explain(spec.id).next.endswith("its next start is with version 2")
    life.containers.restart(ask(), spec.id)
    assert stories.explain(spec.id).next.startswith("version 2 is in use for good if it runs")
    life.fake.tasks.end(spec.id, 3)
    life.settle_hints()
    told = [one.what for one in stories.explain(spec.id).entries]
    assert [one for one in told if one.startswith("version")] == [
        "version 1 → 2",
        "version 2 → 1",
    ]
    assert any("version 2 was taken back: its process ended at once" in one for one in told)


@pytest.mark.parametrize("state", ["healthy", "unhealthy"])
def test_another_health_check_has_to_find_it_healthy(
    life: Lifecycle, spec: ContainerSpec, state: str
) -> None:
    pid = record(life, spec).facts.pid
    request = ask_for(life, spec, {"health": {"type": "tcp", "port": 80}})
    assert is_open(life, request)
    probed(life, spec, state)
    now = record(life, spec)
    # Either way nothing had to be started again.
    assert (now.facts.pid, now.state, now.trial) == (pid, State.RUNNING, None)
    if state == "healthy":
        assert outcome(life, request).version == 2
        return
    with pytest.raises(UpdateTakenBack, match="it is unhealthy: as the test says"):
        outcome(life, request)
    assert (now.version, now.health, now.spec.health) == (1, None, None)
