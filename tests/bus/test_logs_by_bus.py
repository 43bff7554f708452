"""The end of a container's log through a real RabbitMQ."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bus.kit import Agents
from fakes.service import FakeService
from longshore.bus.client import ComputeClient
from longshore.errors import ContainerNotFound
from longshore.model.log_messages import BYTES, TAIL
from longshore.model.status import LogLine


def test_logs(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    made = nodes.create(node, {"id": str(uuid4()), "name": "web", "image": "web:1"})
    found = nodes.logs(node, made.id)
    assert found.lines == (LogLine(stream="stderr", at=5.0, text="hello"),)
    assert (found.id, found.cut) == (made.id, True)
    nodes.logs(node, made.id, tail=3, since=1.5, until=9, stream="stderr", max_bytes=10)
    assert service.given == [
        ("logs", made.id, TAIL, BYTES, None, None, None),
        ("logs", made.id, 3, 10, 1.5, 9.0, "stderr"),
    ]
    with pytest.raises(ContainerNotFound):
        nodes.logs(node, "nobody")
