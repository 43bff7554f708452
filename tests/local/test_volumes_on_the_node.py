"""The verbs of named volumes over a real socket."""

from __future__ import annotations

from uuid import uuid4

import pytest

from fakes.node import FakeNode
from fakes.service import LONELY, VOLUME
from longshore.errors import Interrupted, InvalidRequest, VolumeNotFound
from longshore.local.client import LocalClient


def test_volumes(client: LocalClient, node: FakeNode) -> None:
    assert client.create_volume(VOLUME.name, VOLUME.labels) == VOLUME
    assert client.create_volume("bare").labels == {}
    assert client.list_volumes() == [VOLUME, LONELY]
    assert client.show_volume("data") == VOLUME
    assert client.remove_volume("lonely") == LONELY
    id = str(uuid4())
    # An agent that goes away is asked again, and can tell that it is the same.
    node.fail("remove_volume", Interrupted("cannot: the agent stops"))
    client.remove_volume("lonely", request_id=id)
    assert (node.given.pop(), node.volume_requests[-2:]) == (("remove_volume", "lonely"), [id, id])
    assert len(set(node.volume_requests)) == 4
    node.given.pop()
    assert node.given == [
        ("create_volume", "data", {"tier": "db"}),
        ("create_volume", "bare", {}),
        ("list_volumes",),
        ("show_volume", "data"),
        ("remove_volume", "lonely"),
    ]
    for verb in (client.create_volume, client.show_volume, client.remove_volume):
        with pytest.raises(InvalidRequest) as refused:
            verb("../etc")
        assert refused.value.field == "name"
    node.fail("show_volume", VolumeNotFound("cannot show volume x: there is none", object="x"))
    with pytest.raises(VolumeNotFound, match="there is none"):
        client.show_volume("x")
