"""`volumes_from`: a container has all that another has, and while it has it that one stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.images import IMAGE
from fakes.lifecycle import Lifecycle, a_spec, ask, patched
from longshore.errors import (
    ContainerNotFound,
    HostBusy,
    HostFailed,
    InvalidSpec,
    LongshoreError,
    VolumeInUse,
)
from longshore.lifecycle.fitting import Fitting
from longshore.model.mounts import Borrowed
from longshore.model.spec import ContainerSpec


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Lifecycle]:
    life = Lifecycle(tmp_path)
    yield life
    life.pulls.stop(0.0)


def create(life: Lifecycle, spec: ContainerSpec) -> str:
    return life.containers.create(ask(), spec).id


def delete(life: Lifecycle, ref: str) -> None:
    life.containers.delete(ask(), ref, force=True)


@pytest.fixture
def lender(life: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> ContainerSpec:
    """A running container with a bind, a named volume, memory, and two anonymous ones."""
    image = replace(IMAGE, config=replace(IMAGE.config, volumes=("/anon", "/more", "/data")))
    monkeypatch.setattr(life.fake.images, "get", lambda name: image)
    spec = a_spec(
        name="lender",
        mounts=[
            {"type": "bind", "source": "/srv/x", "target": "/bind", "read_only": True},
            {"type": "volume", "name": "data", "target": "/data"},
            {"type": "tmpfs", "target": "/tmp", "size": 4096},
        ],
    )
    create(life, spec)
    return spec


def seen(life: Lifecycle, ref: str) -> dict[str, tuple[str, str, bool]]:
    return {
        one.target: (one.type, one.source, one.read_only)
        for one in life.containers.show(ref).mounts
    }


def test_all_that_another_has(life: Lifecycle, lender: ContainerSpec) -> None:
    spec = a_spec(
        mounts=[{"type": "tmpfs", "target": "/more", "size": 4096}],
        volumes_from=[{"container": "lender"}],
    )
    id = create(life, spec)
    assert seen(life, id) == {
        "/more": ("tmpfs", "", False),
        "/bind": ("bind", "/srv/x", True),
        "/data": ("volume", "data", False),
        "/anon": ("anonymous", lender.id, False),
    }
    record = life.containers.record(id)
    assert record is not None
    assert Borrowed(container=lender.id, index=0, target="/anon") in record.spec.mounts
    assert record.spec.volumes_from == spec.volumes_from
    assert life.volumes.show("data").used_by == tuple(sorted(["lender", spec.name]))
    # The same request is the same, though it looks different now.
    request = ask()
    third = a_spec(volumes_from=[{"container": lender.id, "read_only": True}])
    for _ in range(2):
        life.containers.create(request, third)
    assert {target: one[2] for target, one in seen(life, third.id).items()} == dict.fromkeys(
        ["/bind", "/data", "/anon", "/more"], True
    )


def test_the_first_to_have_a_target_wins(life: Lifecycle, lender: ContainerSpec) -> None:
    other = a_spec(mounts=[{"type": "bind", "source": "/srv/y", "target": "/data"}])
    create(life, other)
    spec = a_spec(
        files=[{"target": "/bind", "content": "mine"}],
        volumes_from=[{"container": other.id, "read_only": True}, {"container": "lender"}],
    )
    create(life, spec)
    mounts = seen(life, spec.id)
    assert mounts["/data"] == ("bind", "/srv/y", True)
    assert "/bind" not in mounts


def test_who_lends_stays(life: Lifecycle, lender: ContainerSpec) -> None:
    second = a_spec(volumes_from=[{"container": "lender"}])
    third = a_spec(volumes_from=[{"container": second.id}])
    create(life, second)
    create(life, third)
    for force in (False, True):
        life.containers.stop(ask(), "lender", grace=0)
        with pytest.raises(VolumeInUse) as error:
            life.containers.delete(ask(), "lender", force=force)
        assert error.value.details == {"containers": sorted([second.name, third.name])}
    # The second has nothing of its own that the third needs.
    delete(life, second.id)
    with pytest.raises(VolumeInUse, match=third.name):
        delete(life, "lender")
    delete(life, third.id)
    delete(life, "lender")
    assert [one.name for one in life.containers.list()] == []


def test_who_cannot_lend(life: Lifecycle, lender: ContainerSpec) -> None:
    spec = a_spec(volumes_from=[{"container": "nobody"}])
    with pytest.raises(ContainerNotFound) as error:
        create(life, spec)
    assert (error.value.field, error.value.object) == ("volumes_from[0].container", "nobody")
    with pytest.raises(ContainerNotFound):
        create(life, a_spec(volumes_from=[{"container": "lender"}, {"container": "nobody"}]))

    def fail(context: object) -> None:
        raise HostFailed("cannot: the test says so")

    failed = a_spec()
    with patched("start", do=fail), pytest.raises(HostFailed):
        create(life, failed)
    with pytest.raises(ContainerNotFound, match="is failed"):
        create(life, a_spec(volumes_from=[{"container": failed.id}]))
    assert {one.id for one in life.containers.list()} == {lender.id, failed.id}


def test_one_that_is_being_made_lends_later(life: Lifecycle, lender: ContainerSpec) -> None:
    errors: list[LongshoreError] = []
    early = a_spec()

    def borrow(context: object) -> None:
        try:
            life.containers.create(ask(), a_spec(volumes_from=[{"container": early.id}]))
        except LongshoreError as error:
            errors.append(error)

    with patched("start", do=borrow):
        create(life, early)
    assert [(type(one), one.retry) for one in errors] == [(HostBusy, True)]


def test_too_many_together(life: Lifecycle, lender: ContainerSpec) -> None:
    mounts = [{"type": "tmpfs", "target": f"/t{i}", "size": 4096} for i in range(61)]
    with pytest.raises(InvalidSpec, match="65, more than 64") as error:
        create(life, a_spec(mounts=mounts, volumes_from=[{"container": "lender"}]))
    assert error.value.field == "volumes_from"


def test_whether_it_fits_is_asked_of_the_whole(life: Lifecycle, lender: ContainerSpec) -> None:
    claims = life.volumes.show("data").used_by
    fitting = Fitting(life.journal, life.admission, lambda: 1.0)
    assert fitting.fits(a_spec(volumes_from=[{"container": "lender"}])).fits
    answer = fitting.fits(a_spec(volumes_from=[{"container": "nobody"}]))
    assert answer.error is not None
    assert answer.error.code == "container_not_found"
    assert life.volumes.show("data").used_by == claims
