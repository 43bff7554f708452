"""A container in each state, as the verbs and what happens bring it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fakes.lifecycle import Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed, LongshoreError
from longshore.lifecycle.pipeline import attempt
from longshore.model.spec import ContainerSpec
from longshore.model.state import State

ACCEPTED = "accepted"


def _fail(*_: object) -> None:
    raise HostFailed("cannot do it: the test says so")


def _creating(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.create(ask(wait=ACCEPTED), spec)


def _created(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.create(ask(), spec, start=False)


def _starting(life: Lifecycle, spec: ContainerSpec) -> None:
    _created(life, spec)
    life.containers.start(ask(wait=ACCEPTED), spec.id)


def _running(life: Lifecycle, spec: ContainerSpec) -> None:
    life.containers.create(ask(), spec)


def _paused(life: Lifecycle, spec: ContainerSpec) -> None:
    _running(life, spec)
    life.containers.pause(ask(), spec.id)


def _restarting(life: Lifecycle, spec: ContainerSpec) -> None:
    _running(life, spec.model_copy(update={"restart": a_spec(restart=_ALWAYS).restart}))
    life.fake.tasks.end(spec.id, 1)
    life.settle_hints()


def _stopping(life: Lifecycle, spec: ContainerSpec) -> None:
    _running(life, spec)
    life.containers.stop(ask(wait=ACCEPTED), spec.id)


def _stopped(life: Lifecycle, spec: ContainerSpec) -> None:
    _running(life, spec)
    life.containers.stop(ask(), spec.id)


def _error(life: Lifecycle, spec: ContainerSpec) -> None:
    _created(life, spec)
    with patched("network", do=_fail):
        attempt("start it", life.containers.start, ask(), spec.id)


def _deleting(life: Lifecycle, spec: ContainerSpec) -> None:
    _running(life, spec)
    life.containers.delete(ask(wait=ACCEPTED), spec.id, force=True)


def _failed(life: Lifecycle, spec: ContainerSpec) -> None:
    with patched("network", do=_fail):
        attempt("create it", life.containers.create, ask(), spec)


_ALWAYS = {"policy": "always"}
#: One that is not here is in none.
_BRING: Mapping[State, Callable[[Lifecycle, ContainerSpec], None]] = {
    State.CREATING: _creating,
    State.CREATED: _created,
    State.STARTING: _starting,
    State.RUNNING: _running,
    State.PAUSED: _paused,
    State.RESTARTING: _restarting,
    State.STOPPING: _stopping,
    State.STOPPED: _stopped,
    State.ERROR: _error,
    State.DELETING: _deleting,
    State.FAILED: _failed,
}


def brought(folder: Path, state: State) -> tuple[Lifecycle, ContainerSpec]:
    """A lifecycle with one container, which is in that state; what is under way waits."""
    life, spec = Lifecycle(folder), a_spec(name="web")
    if state is not State.ABSENT:
        _BRING[state](life, spec)
        life.hints.clear()
    assert at(life, spec) is state
    return life, spec


def at(life: Lifecycle, spec: ContainerSpec) -> State:
    try:
        return State(life.containers.show(spec.id).state)
    except LongshoreError:
        return State.ABSENT
