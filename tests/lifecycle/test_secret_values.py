"""The value of a secret goes from the request to what keeps it, and into nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from fakes.lifecycle import Lifecycle, a_spec, ask
from longshore.errors import RequestConflict
from longshore.model.injected import REVEAL
from longshore.model.spec import ContainerSpec, parse, recorded

VALUE = "s3cret-value"
SECRETS = [{"name": "password", "value": VALUE}, {"name": "own", "reference": "own"}]


@pytest.fixture
def life(tmp_path: Path) -> Lifecycle:
    return Lifecycle(tmp_path)


def hidden(spec: ContainerSpec) -> bool:
    """Whether not even this process can get at it any more."""
    return VALUE.encode() not in pickle.dumps(spec)


def test_from_the_request_to_the_container(life: Lifecycle) -> None:
    spec, request = a_spec(secrets=SECRETS), ask()
    assert not hidden(spec)
    made = life.containers.create(request, spec)
    assert made.state == "running"
    assert life.fake.secrets.written == {spec.id: {"password": VALUE.encode(), "own": b""}}
    record = life.journal.get(spec.id)
    assert record is not None
    assert hidden(record.spec)
    assert set(record.sealed) == {"password"}
    assert VALUE not in made.model_dump_json()
    assert VALUE not in record.model_dump_json()
    assert life.containers.create(request, spec) == made
    # With another value it is another request.
    changed = parse({**spec.model_dump(mode="json"), "secrets": [{**SECRETS[0], "value": "x"}]})
    other = changed.model_copy(update={"secrets": (changed.secrets[0], spec.secrets[1])})
    with pytest.raises(RequestConflict) as refused:
        life.containers.create(request, other)
    assert VALUE not in str(refused.value.to_dict())
    asked = life.journal.requested(request.id)
    assert asked is not None
    assert VALUE not in repr(asked)


def test_it_lasts_from_start_to_stop_and_outlives_the_agent(life: Lifecycle) -> None:
    spec = a_spec(secrets=SECRETS)
    life.containers.create(ask(), spec, start=False)
    assert life.fake.secrets.written == {}
    life = life.next_life()
    for _ in range(2):
        assert life.containers.start(ask(), spec.id).state == "running"
        assert life.fake.secrets.written[spec.id]["password"] == VALUE.encode()
        life.containers.stop(ask(), spec.id)
        assert life.fake.secrets.written == {}
    life.containers.delete(ask(), spec.id)
    assert life.fake.left() == {}


def test_a_spec_shows_it_to_the_wire_alone() -> None:
    spec = a_spec(secrets=SECRETS)
    assert VALUE not in repr(spec) + str(spec) + spec.model_dump_json() + str(spec.model_dump())
    on_wire = spec.model_dump(mode="json", context=REVEAL)
    assert on_wire["secrets"][0]["value"] == VALUE
    assert parse(on_wire) == spec
    shown = recorded(spec.model_dump(mode="json"))
    assert shown == spec.without_values()
    assert shown.without_values() is shown
