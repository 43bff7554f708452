"""Commands in containers through a real RabbitMQ."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bus.kit import Agents
from fakes.lifecycle import a_spec
from fakes.service import FakeService, container
from longshore.bus.client import ComputeClient
from longshore.errors import CommandNotFound, InvalidRequest
from longshore.model.execs import Command


def test_a_command(agents: Agents, nodes: ComputeClient, node: str, service: FakeService) -> None:
    agents()
    spec = a_spec()
    service.containers[spec.id] = container(spec, "running")
    came = nodes.execute(node, spec.id, ["echo", "hello"])
    assert (came.exit_code, came.stdout, came.timed_out) == (0, "hello\n", False)
    id = str(uuid4())
    nodes.execute(
        *(node, spec.id, ["sleep", "9"]), env={"A": "1"}, workdir="/tmp", user="1", privileged=True,
        timeout=7, output_max=5, request_id=id,
    )  # fmt: skip
    command = Command(("sleep", "9"), {"A": "1"}, "/tmp", "1", privileged=True)
    assert service.given[-1] == ("execute", id, command, 7.0, 5)
    with pytest.raises(CommandNotFound):
        nodes.execute(node, spec.id, ["nothing"])
    for wrong in ({"timeout": 3601}, {"timeout": 0}, {"output_max": 262145}, {"workdir": "tmp"}):
        with pytest.raises(InvalidRequest) as refused:
            nodes.execute(node, spec.id, ["true"], deadline=20, **wrong)
        assert refused.value.field in wrong
