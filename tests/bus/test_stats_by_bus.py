"""What containers use, through a real RabbitMQ."""

from __future__ import annotations

import pytest

from bus.kit import Agents
from fakes.service import FakeService
from fakes.usage import BUSY, IDLE, PROCESSES
from longshore.bus.client import ComputeClient
from longshore.errors import Conflict, InvalidRequest


def test_stats(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    assert nodes.stats(node) == [BUSY, IDLE]
    assert nodes.stats(node, ["busy"]) == [BUSY]
    assert nodes.top(node, "busy") == PROCESSES
    assert service.given == [("stats", (), False), ("stats", ("busy",), False), ("top", "busy")]
    for refs in ([""], ["a" * 65], ["a\0b"], ["x"] * 4097):
        with pytest.raises(InvalidRequest):
            nodes.stats(node, refs)
    service.fail("stats", Conflict("cannot read the stats of web: it is stopped", object="web"))
    with pytest.raises(Conflict, match="it is stopped"):
        nodes.stats(node, ["web"])
