"""The verbs of named volumes through a real RabbitMQ."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bus.kit import Agents
from fakes.service import LONELY, VOLUME, FakeService
from longshore.bus.client import ComputeClient
from longshore.errors import InvalidRequest, VolumeInUse


def test_volumes(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    assert nodes.create_volume(node, VOLUME.name, VOLUME.labels) == VOLUME
    assert nodes.create_volume(node, "bare").labels == {}
    assert nodes.list_volumes(node) == [VOLUME, LONELY]
    assert nodes.show_volume(node, "data") == VOLUME
    assert nodes.remove_volume(node, "lonely") == LONELY
    id = str(uuid4())
    nodes.remove_volume(node, "lonely", request_id=id)
    assert (service.given.pop(), service.volume_requests.pop()) == (("remove_volume", "lonely"), id)
    assert len(set(service.volume_requests)) == 3
    assert service.given == [
        ("create_volume", "data", {"tier": "db"}),
        ("create_volume", "bare", {}),
        ("list_volumes",),
        ("show_volume", "data"),
        ("remove_volume", "lonely"),
    ]
    for name in ("", "../etc", "-x", "a" * 64):
        with pytest.raises(InvalidRequest) as refused:
            nodes.create_volume(node, name)
        assert refused.value.field == "name"
    service.fail("remove_volume", VolumeInUse("cannot remove", details={"containers": ["web"]}))
    with pytest.raises(VolumeInUse) as error:
        nodes.remove_volume(node, "data")
    assert error.value.details == {"containers": ["web"]}
