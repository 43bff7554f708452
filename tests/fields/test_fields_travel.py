"""Every field comes through both doors, into the journal and out of it, as it was asked for."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from fakes.node import status
from fields.rows import ROWS, spec_with
from longshore.bus import wire
from longshore.local import convert
from longshore.model.injected import REVEAL
from longshore.model.spec import ContainerSpec, parse
from longshore.model.status import ContainerStatus
from longshore.pb.longshore.v1 import agent_pb2


def specs(path: str) -> list[ContainerSpec]:
    return [parse(spec_with(path, value)) for value in ROWS[path].accepted]


@pytest.mark.parametrize("path", ROWS)
def test_over_the_bus(path: str) -> None:
    for spec in specs(path):
        sent = json.dumps(spec.model_dump(mode="json", context=REVEAL))
        asked = wire.decode_create(
            {"request_id": str(uuid4()), "spec": json.loads(sent)}, "scheduler"
        )
        assert asked[1] == spec


@pytest.mark.parametrize("path", ROWS)
def test_through_the_socket(path: str) -> None:
    for spec in specs(path):
        value = spec.model_dump(mode="json", context=REVEAL)
        message = convert.fill(agent_pb2.ContainerSpec(), value)
        come = agent_pb2.ContainerSpec.FromString(message.SerializeToString())
        assert parse(convert.to_dict(come)) == spec


@pytest.mark.parametrize("path", ROWS)
def test_in_the_journal_and_back_to_who_asks(path: str) -> None:
    """Without the values of secrets, and with all else."""
    for spec in specs(path):
        kept = json.loads(json.dumps(spec.model_dump(mode="json")))
        read = ContainerSpec.model_validate_json(json.dumps(kept))
        assert read.model_dump(mode="json") == kept
        shown = status(spec, "running")
        message = convert.fill(agent_pb2.ContainerStatus(), shown.to_dict())
        value = convert.to_dict(agent_pb2.ContainerStatus.FromString(message.SerializeToString()))
        secret = [one for one in value["spec"].get("secrets", ()) if "value" in one]
        assert secret == []
        if all(one.value is None for one in spec.secrets):
            value["spec"] = parse(value["spec"]).model_dump(mode="json")
            assert ContainerStatus.model_validate(value) == shown
