"""`volumes_from` where the two contradict each other, or the other changes meanwhile."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from fakes.lifecycle import Lifecycle, a_spec, ask
from longshore.errors import ContainerNotFound, HostBusy, InvalidSpec, LongshoreError
from longshore.lifecycle.fitting import Fitting
from longshore.model.spec import ContainerSpec

ANOTHER = {"type": "volume", "name": "data", "target": "/data"}


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def fitting(life: Lifecycle) -> Fitting:
    return Fitting(life.journal, life.admission, lambda: 1.0)


def targets(life: Lifecycle, spec: ContainerSpec) -> list[str]:
    return [one.target for one in life.containers.show(spec.id).mounts]


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/etc/hosts", {"hosts": {"db": "10.0.0.1"}}),
        ("/etc/resolv.conf", {"dns": {"servers": ["10.0.0.1"]}}),
        ("/etc/localtime", {"timezone": "Europe/Berlin"}),
        ("/etc/timezone", {"timezone": "Europe/Berlin"}),
    ],
)
def test_a_file_that_the_node_writes_as_asked_is_not_borrowed(
    life: Lifecycle, target: str, asked: dict[str, Any]
) -> None:
    lender = a_spec(mounts=[{"type": "bind", "source": "/srv/x", "target": target}, ANOTHER])
    life.containers.create(ask(), lender)
    spec = a_spec(volumes_from=[{"container": lender.id}], **asked)
    assert fitting(life).fits(spec).error is None
    life.containers.create(ask(), spec)
    assert targets(life, spec) == ["/data"]
    without = a_spec(volumes_from=[{"container": lender.id}])
    life.containers.create(ask(), without)
    assert targets(life, without) == [target, "/data"]


def test_what_is_filled_in_is_checked_as_what_is_asked() -> None:
    spec = a_spec(hosts={"db": "10.0.0.1"})
    bind = a_spec(mounts=[{"type": "bind", "source": "/srv/x", "target": "/etc/hosts"}]).mounts
    with pytest.raises(InvalidSpec, match="target /etc/hosts is given twice") as caught:
        spec.but(mounts=bind)
    assert caught.value.object == spec.name
    assert caught.value.faults
    assert spec.but(mounts=bind, hosts={}).mounts == bind


def gone(life: Lifecycle, lender: ContainerSpec) -> None:
    life.containers.stop(ask(), lender.id, grace=0)
    life.containers.delete(ask(), lender.id)
    life.volumes.remove("data", request_id=str(uuid.uuid4()))


def another(life: Lifecycle, lender: ContainerSpec, **changes: Any) -> None:
    """Under its name and id."""
    gone(life, lender)
    life.containers.create(ask(), lender.but(**changes))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (None, ContainerNotFound),
        ({"auto_remove": True}, InvalidSpec),
        ({"mounts": ()}, HostBusy),
        ({}, None),
    ],
)
def test_one_that_changes_between_the_look_and_the_claim(
    life: Lifecycle,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any] | None,
    error: type[LongshoreError] | None,
) -> None:
    lender = a_spec(name="lender", mounts=[ANOTHER])
    life.containers.create(ask(), lender)
    spec = a_spec(volumes_from=[{"container": "lender"}])

    def meanwhile(*_: object, **__: object) -> None:
        monkeypatch.undo()
        if changes is None:
            gone(life, lender)
        else:
            another(life, lender, **changes)

    monkeypatch.setattr(life.fake.volumes, "check", meanwhile)
    if error is None:
        life.containers.create(ask(), spec)
        assert life.volumes.show("data").used_by == tuple(sorted(["lender", spec.name]))
        return
    with pytest.raises(error):
        life.containers.create(ask(), spec)
    assert life.journal.get(spec.id) is None
    assert "data" not in {one.name for one in life.volumes.list()} or changes is not None
