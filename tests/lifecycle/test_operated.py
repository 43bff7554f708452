"""restart, kill, pause, unpause and rename, on a fake host."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.lifecycle import Died, Lifecycle, a_spec, ask, patched
from longshore.errors import (
    Conflict,
    HostFailed,
    HostUnavailable,
    IllegalTransition,
    InvalidRequest,
    LongshoreError,
    NameInUse,
    RequestConflict,
)
from longshore.model.host import TaskStatus
from longshore.model.names import Names
from longshore.model.record import Record
from longshore.model.spec import ContainerSpec
from longshore.model.state import Desired, State


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


@pytest.fixture
def spec(life: Lifecycle) -> ContainerSpec:
    spec = a_spec()
    life.containers.create(ask(), spec)
    return spec


def told(life: Lifecycle) -> list[str]:
    return [one.state for one in life.changes.after(0, 0) if one.kind == "state"]


def kinds(life: Lifecycle) -> list[tuple[str, str]]:
    return [(one.kind, one.state) for one in life.changes.after(0, 0) if one.kind != "state"]


def record(life: Lifecycle, spec: ContainerSpec) -> Record:
    found = life.containers.record(spec.id)
    assert found is not None
    return found


def task(life: Lifecycle, spec: ContainerSpec) -> TaskStatus:
    return life.fake.tasks.get(Names(spec.id)).status


def test_pause_and_unpause(life: Lifecycle, spec: ContainerSpec) -> None:
    request = ask()
    paused = life.containers.pause(request, spec.id)
    assert (paused.state, paused.desired, paused.pid) == ("paused", "paused", 101)
    assert task(life, spec) is TaskStatus.PAUSED
    assert life.containers.pause(request, spec.id) == paused
    assert life.containers.pause(ask(), spec.id).state == "paused"
    assert life.containers.unpause(ask(), spec.id).state == "running"
    assert life.containers.unpause(ask(), spec.id).state == "running"
    assert task(life, spec) is TaskStatus.RUNNING
    assert told(life) == ["creating", "running", "paused", "running"]
    assert life.fake.tasks.created == [spec.id]


def test_a_paused_one_stays_so_over_the_agents_end(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.pause(ask(), spec.id)
    life = life.next_life()
    assert (life.containers.show(spec.id).state, task(life, spec)) == ("paused", TaskStatus.PAUSED)
    life.fake.tasks.resume(Names(spec.id))
    life.sweep_and_settle()
    assert task(life, spec) is TaskStatus.PAUSED, "somebody else let it go on"


def test_a_paused_one_can_be_stopped_and_deleted(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.pause(ask(), spec.id)
    with pytest.raises(IllegalTransition, match="it is paused") as caught:
        life.containers.start(ask(), spec.id)
    assert "unpause" in (caught.value.hint or "")
    stopped = life.containers.stop(ask(), spec.id)
    assert (stopped.state, stopped.exit_code) == ("stopped", 143)
    life.containers.start(ask(), spec.id)
    life.containers.pause(ask(), spec.id)
    with pytest.raises(IllegalTransition, match="paused"):
        life.containers.delete(ask(), spec.id)
    assert life.containers.delete(ask(), spec.id, force=True).state == "absent"
    assert life.fake.left() == {}


def test_a_pause_that_fails_for_good_is_not_tried_again(
    life: Lifecycle, spec: ContainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def broken(names: Names) -> None:
        tries.append(names.id)
        raise HostFailed("cannot pause it: no freezer")

    request = ask()
    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, "pause", broken)
        with pytest.raises(HostFailed, match="no freezer"):
            life.containers.pause(request, spec.id)
        life.sweep_and_settle()
    with pytest.raises(HostFailed, match="no freezer"):
        life.containers.pause(request, spec.id)
    assert tries == [spec.id]
    assert (record(life, spec).state, record(life, spec).desired) == (
        State.RUNNING,
        Desired.RUNNING,
    )
    assert not record(life, spec).paused
    assert life.containers.pause(ask(), spec.id).state == "paused"


def test_a_pause_that_fails_for_now_can_be_asked_again(
    life: Lifecycle, spec: ContainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(names: Names) -> None:
        raise HostUnavailable("cannot reach containerd")

    request = ask()
    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, "pause", away)
        with pytest.raises(HostUnavailable):
            life.containers.pause(request, spec.id)
    assert life.containers.pause(request, spec.id).state == "paused"


def test_one_that_ends_before_it_is_paused(life: Lifecycle, spec: ContainerSpec) -> None:
    life.fake.tasks.end(spec.id, 3)
    with pytest.raises(IllegalTransition, match="ended meanwhile"):
        life.containers.pause(ask(), spec.id)
    assert (record(life, spec).state, record(life, spec).desired) == (
        State.STOPPED,
        Desired.RUNNING,
    )


@pytest.mark.parametrize("verb", ["pause", "unpause", "kill", "restart"])
def test_what_only_makes_sense_while_it_runs(life: Lifecycle, verb: str) -> None:
    spec = a_spec()
    life.containers.create(ask(), spec, start=False)
    if verb == "restart":
        assert life.containers.restart(ask(), spec.id).state == "running"
        return
    with pytest.raises(IllegalTransition, match="it is created"):
        getattr(life.containers, verb)(ask(), spec.id)


@pytest.mark.parametrize("paused", [False, True])
def test_restart(life: Lifecycle, spec: ContainerSpec, paused: bool) -> None:
    if paused:
        life.containers.pause(ask(), spec.id)
    request = ask()
    again = life.containers.restart(request, spec.id)
    assert (again.state, again.restarts, again.pid) == ("running", 0, 102)
    assert life.fake.tasks.created == [spec.id] * 2
    assert life.containers.restart(request, spec.id) == again
    assert life.fake.tasks.created == [spec.id] * 2
    assert told(life)[-3:] == ["restarting", "starting", "running"]


def test_a_restart_of_one_that_does_not_run_starts_it(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.stop(ask(), spec.id)
    assert life.containers.restart(ask(), spec.id).state == "running"


def test_a_restart_that_fails_says_why_and_stays_an_error(
    life: Lifecycle, spec: ContainerSpec
) -> None:
    def fail(_: object) -> None:
        raise HostFailed("cannot do it: the test says so")

    request = ask()
    with patched("network", do=fail), pytest.raises(HostFailed):
        life.containers.restart(request, spec.id)
    with pytest.raises(HostFailed, match="the test says so"):
        life.containers.restart(request, spec.id)
    shown = life.containers.show(spec.id)
    assert (shown.state, shown.restart_at) == ("error", None)
    assert life.containers.stop(ask(), spec.id).state == "stopped"


def test_the_agent_dies_in_a_restart(life: Lifecycle, spec: ContainerSpec) -> None:
    def die(*_: object) -> None:
        raise Died

    request = ask()
    with patched("network", undo=die), pytest.raises(Died):
        life.containers.restart(request, spec.id)
    life = life.next_life()
    assert life.containers.show(spec.id).state == "running"
    assert life.containers.restart(request, spec.id).state == "running"
    assert life.fake.tasks.created == [spec.id] * 2


def test_a_kill_ends_it_for_good(life: Lifecycle) -> None:
    spec = a_spec(restart={"policy": "always"})
    life.containers.create(ask(), spec)
    life.fake.tasks.stubborn = True
    killed = life.containers.kill(ask(), spec.id)
    assert (killed.state, killed.desired, killed.exit_code) == ("stopped", "stopped", 137)
    life.pass_time(1e6)
    assert life.containers.show(spec.id).state == "stopped"
    with pytest.raises(IllegalTransition, match="it is stopped"):
        life.containers.kill(ask(), spec.id)


def test_another_signal_is_sent_once(
    life: Lifecycle, spec: ContainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(
        life.fake.tasks, "kill", lambda names, signal, everyone=False: sent.append(signal)
    )
    request = ask()
    status = life.containers.kill(request, spec.id, signal="HUP")
    assert (status.state, status.desired) == ("running", "running")
    assert life.containers.kill(request, spec.id, signal="SIGHUP") == status
    assert sent == [1]
    with pytest.raises(RequestConflict):
        life.containers.kill(request, spec.id, signal="USR1")
    for word, number in (("19", 19), ("sigcont", 18), ("RTMIN+3", 37)):
        life.containers.kill(ask(), spec.id, signal=word)
        assert sent[-1] == number
    life.containers.pause(ask(), spec.id)
    life.containers.kill(ask(), spec.id, signal="TERM")
    assert kinds(life) == [("signalled", "running")] * 4 + [("signalled", "paused")]
    with pytest.raises(InvalidRequest) as caught:
        life.containers.kill(ask(), spec.id, signal="HUPP")
    assert caught.value.field == "signal"


def test_a_signal_is_sent_again_if_the_agent_died_over_it(
    life: Lifecycle, spec: ContainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def die(names: Names, signal: int, *, everyone: bool = False) -> None:
        sent.append(signal)
        if len(sent) == 1:
            raise Died

    monkeypatch.setattr(life.fake.tasks, "kill", die)
    request = ask()
    with pytest.raises(Died):
        life.containers.kill(request, spec.id, signal="HUP")
    life = life.next_life()
    assert sent == [1], "nobody asked again yet"
    assert life.containers.kill(request, spec.id, signal="HUP").state == "running"
    life.containers.kill(request, spec.id, signal="HUP")
    assert sent == [1, 1]


def test_a_signal_that_was_left_open_keeps_nothing_from_going(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec(auto_remove=True)
    life.containers.create(ask(), spec)

    def away(names: Names, signal: int, *, everyone: bool = False) -> None:
        raise HostUnavailable("cannot reach containerd")

    with monkeypatch.context() as patch:
        patch.setattr(life.fake.tasks, "kill", away)
        with pytest.raises(HostUnavailable):
            life.containers.kill(ask(), spec.id, signal="TERM")
    life.fake.tasks.end(spec.id, 143)
    life.settle_hints()
    assert life.containers.list() == []


def test_rename(life: Lifecycle, spec: ContainerSpec) -> None:
    request = ask()
    renamed = life.containers.rename(request, spec.name, "other")
    assert (renamed.name, renamed.state, renamed.generation) == ("other", "running", 2)
    assert life.containers.rename(request, spec.name, "other") == renamed
    assert life.containers.show("other").id == spec.id
    with pytest.raises(LongshoreError, match="there is none"):
        life.containers.show(spec.name)
    assert kinds(life) == [("renamed", "running")]
    third = a_spec(name=spec.name)
    life.containers.create(ask(), third)
    with pytest.raises(NameInUse) as caught:
        life.containers.rename(ask(), third.id, "other")
    assert caught.value.field == "name"
    assert life.containers.show(third.id).generation == 1
    assert life.containers.rename(ask(), "other", "other").name == "other"
    # What its processes see stays.
    life.containers.restart(ask(), spec.id)
    assert life.fake.records.there[spec.id] == {"hostname": spec.name} or (
        record(life, spec).spec.hostname == spec.name
    )


def test_a_name_that_is_no_host_name_is_not_kept_as_one(life: Lifecycle) -> None:
    spec = a_spec(name="a_b")
    life.containers.create(ask(), spec)
    life.containers.rename(ask(), "a_b", "c")
    life = life.next_life()
    assert life.containers.show("c").state == "running"


def test_one_that_is_being_made_keeps_its_name(life: Lifecycle) -> None:
    spec = a_spec(image="absent:1")
    life.containers.create(ask(wait="accepted"), spec)
    with pytest.raises(Conflict, match="it is creating"):
        life.containers.rename(ask(), spec.id, "other")
    life.containers.delete(ask(), spec.id, force=True)
