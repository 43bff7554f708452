"""The agent dies at every step, act and write of an update: what is there in the end is the old
version or the new one, whole.

On a fake host; the twin on the real one is in tests/e2e.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fakes.images import an_image
from fakes.lifecycle import PROBATION, STEPS, Died, Lifecycle, a_spec, ask, patched
from longshore.errors import HostFailed, LongshoreError, UpdateTakenBack
from longshore.lifecycle.create import AROUND, RUN
from longshore.model.addressing import HostPort
from longshore.model.record import Record
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
from longshore.model.state import State
from longshore.model.transfer import Auth, PullPolicy

OLD: dict[str, Any] = {
    "command": ["old"],
    "ports": [{"container_port": 80}],
    "files": [{"target": "/etc/app", "content": "old"}],
    "secrets": [{"name": "password", "value": "old"}],
    "mounts": [{"type": "volume", "name": "kept", "target": "/kept"}],
    "limits": {"disk": 2**20},
    "security": {"user_namespace": True},
}
NEW: dict[str, Any] = {
    "command": ["new"],
    "ports": [{"container_port": 80}, {"container_port": 81}],
    "files": [{"target": "/etc/app", "content": "new"}],
    "secrets": [{"name": "password", "value": "new"}],
    "mounts": [{"type": "volume", "name": "other", "target": "/kept"}],
    "limits": {"disk": 2**21},
}
WHEN = ["before", "after"]


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


@pytest.fixture
def spec(life: Lifecycle) -> ContainerSpec:
    spec = a_spec(**OLD)
    life.containers.create(ask(), spec)
    return spec


def update(life: Lifecycle, spec: ContainerSpec, request: Request) -> None:
    life.updates.update(request, spec.id, NEW)
    life.settle_hints()
    life.pass_time(PROBATION)


def is_answered(life: Lifecycle, request: Request) -> bool:
    asked = life.journal.requested(request.id)
    return asked is not None and asked.outcome is not None


def see_to_the_end(life: Lifecycle, spec: ContainerSpec, request: Request) -> None:
    """As a caller who asks until it has an answer."""
    for _ in range(5):
        if is_answered(life, request):
            return
        try:
            update(life, spec, request)
        except UpdateTakenBack:
            return
    raise AssertionError("it never came to anything")


def whole(life: Lifecycle, spec: ContainerSpec) -> Record:
    """One of the two, with all that belongs to it, and nothing of the other."""
    record = life.journal.get(spec.id)
    assert record is not None
    assert (record.state, record.trial, record.pending) == (State.RUNNING, None, None)
    asked, content = (OLD, "old") if record.spec.command == ("old",) else (NEW, "new")
    fake, facts = life.fake, record.facts
    assert fake.files.written[spec.id] == (content,)
    assert fake.secrets.written[spec.id] == {"password": content.encode()}
    assert fake.disks.limits == {spec.id: asked["limits"]["disk"]}
    assert fake.network.published[spec.id] == facts.ports
    assert len(facts.ports) == len(asked["ports"])
    assert fake.network.attached[spec.id] == facts.nics
    assert list(fake.tasks.there) == [spec.id]
    assert fake.users.there == {spec.id: facts.ids}
    (volume,) = [one.name for one in record.spec.mounts if one.type == "volume"]
    assert fake.volumes.mounted[spec.id][0] == record.spec.mounts[0]
    with life.journal.transaction(durable=False) as tx:
        assert {key for key, id in tx.claims("port").items()} == {
            str(HostPort(one.protocol, one.host_ip, one.host_port)) for one in facts.ports
        }
        assert set(tx.claims(f"volume {volume}").values()) == {spec.id}
        gone = {"kept", "other"} - {volume}
        assert not tx.claims(f"volume {gone.pop()}")
        assert tx.promises(spec.id)["disk"] == asked["limits"]["disk"]
        assert set(tx.claims("address of default")) == {one.address for one in facts.nics}
    return record


@contextmanager
def dying(life: Lifecycle, number: int, when: str) -> Iterator[Callable[[], bool]]:
    """The agent dies at its write of that number, before it is on the disk or just after."""
    real, count = life.journal.transaction, 0

    @contextmanager
    def transaction(*, durable: bool) -> Iterator[Any]:
        nonlocal count
        count += 1
        mine = count == number
        with real(durable=durable) as tx:
            yield tx
            if mine and when == "before":
                raise Died
        if mine:
            raise Died

    life.journal.transaction = transaction  # type: ignore[method-assign]
    try:
        yield lambda: count >= number
    finally:
        life.journal.transaction = real  # type: ignore[method-assign]


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("which", ["do", "undo"])
def test_dies_at_a_step(
    life: Lifecycle, spec: ContainerSpec, step: str, which: str, when: str
) -> None:
    request = ask(wait="accepted")
    every = [one for one in (*AROUND, *RUN) if one.name == step]
    assert len(every) == 1
    real = getattr(every[0], which)
    struck = False

    def die(*arguments: Any) -> None:
        nonlocal struck
        if struck:
            real(*arguments)
            return
        struck = True
        if when == "after":
            real(*arguments)
        raise Died

    object.__setattr__(every[0], which, die)
    try:
        try:
            update(life, spec, request)
        except Died:
            life = life.next_life()
    finally:
        object.__setattr__(every[0], which, real)
    # An update undoes what a process has, and not what its create made.
    assert struck or (which == "undo" and step in [one.name for one in AROUND])
    see_to_the_end(life, spec, request)
    assert whole(life, spec).spec.command == ("new",)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("number", range(1, 12))
def test_dies_at_a_write(life: Lifecycle, spec: ContainerSpec, number: int, when: str) -> None:
    request = ask(wait="accepted")
    with dying(life, number, when) as died:
        try:
            update(life, spec, request)
        except Died:
            assert died()
    life = life.next_life()
    see_to_the_end(life, spec, request)
    assert whole(life, spec).spec.command == ("new",)
    assert len(life.history.versions(spec.id)) == 2


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("number", range(1, 18))
@pytest.mark.parametrize("step", ["files", "task", "start"])
def test_dies_at_a_write_of_one_that_is_taken_back(
    life: Lifecycle, spec: ContainerSpec, step: str, number: int, when: str
) -> None:
    request = ask(wait="accepted")
    (there,) = [one for one in (*AROUND, *RUN) if one.name == step]
    real = there.do

    def fail(context: Any) -> None:
        real(context)
        if context.record.version == 2:
            raise HostFailed("cannot do it: the test says so")

    object.__setattr__(there, "do", fail)
    try:
        with dying(life, number, when), suppress(Died):
            update(life, spec, request)
        life = life.next_life()
        see_to_the_end(life, spec, request)
    finally:
        object.__setattr__(there, "do", real)
    assert whole(life, spec).spec.command == ("old",)
    asked = life.journal.requested(request.id)
    assert asked is not None
    with pytest.raises(UpdateTakenBack, match="the test says so"):
        asked.result()
    assert [one.state for one in life.history.versions(spec.id)] == ["in use", "taken back"]


@pytest.mark.parametrize("step", [one.name for one in RUN])
def test_an_undo_that_fails_is_made_up_for(life: Lifecycle, spec: ContainerSpec, step: str) -> None:
    """What is left over keeps the new one from starting; neither of the two is lost."""
    request = ask(wait="accepted")

    def fail(*_: Any) -> None:
        raise HostFailed("cannot undo it: the test says so")

    with patched(step, undo=fail), suppress(LongshoreError):
        update(life, spec, request)
    for _ in range(3):
        life.sweep_and_settle()
        life.pass_time(10_000)
    see_to_the_end(life, spec, request)
    whole(life, spec)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("which", ["do", "undo"])
def test_dies_in_a_rebuild(
    life: Lifecycle, spec: ContainerSpec, step: str, which: str, when: str
) -> None:
    other = an_image("other", "other")
    life.fake.images.there[other.name] = other
    life.fake.images.content[other.digest] = other.size
    life.fake.rootfs.unpacked.add(other.chain_id)
    request, struck = ask(), False
    every = {one.name: one for one in (*AROUND, *RUN)}
    real = getattr(every[step], which)

    def die(*arguments: Any) -> None:
        nonlocal struck
        if struck or when == "after":
            real(*arguments)
        if not struck:
            struck = True
            raise Died

    object.__setattr__(every[step], which, die)
    try:
        life.rebuilding.rebuild(request, spec.id, "other", PullPolicy.IF_NOT_PRESENT, Auth())
    except Died:
        life = life.next_life()
    finally:
        object.__setattr__(every[step], which, real)
    done = life.rebuilding.rebuild(request, spec.id, "other", PullPolicy.IF_NOT_PRESENT, Auth())
    assert (done.state, done.image_digest) == ("running", other.digest)
    assert life.fake.rootfs.snapshots == {spec.id: other.digest}
    assert whole(life, spec).version == 2
