"""The verbs of containers' files through a real RabbitMQ."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from bus.kit import Agents
from fakes.service import DIFFERENCES, FILE, FakeService
from longshore.bus.client import ComputeClient
from longshore.errors import InvalidRequest, MessageTooLarge, PathNotFound
from longshore.model.copy_messages import TAR_MAX


def test_copies(
    agents: Agents, nodes: ComputeClient, node: str, service: FakeService, tmp_path: Path
) -> None:
    agents()
    service.spool = tmp_path / "spool"
    service.tars += [b"t" * (TAR_MAX - 1), b"u"]
    status, tar = nodes.copy_out(node, "web", "/etc/app.conf", follow_link=True)
    assert (status, len(tar), tar[-1:]) == (FILE, TAR_MAX, b"u")
    service.tars.append(b"x")
    with pytest.raises(MessageTooLarge, match="above 262144"):
        nodes.copy_out(node, "web", "/etc/app.conf")
    assert service.transfers == 0
    service.tars.clear()
    id = str(uuid4())
    assert nodes.copy_in(node, "web", "/tmp", bytes(TAR_MAX), replace=True, request_id=id) == 3
    assert (service.tars, service.volume_requests) == ([bytes(TAR_MAX)], [id])
    assert not list(service.spool_dir.iterdir())
    with pytest.raises(InvalidRequest, match="above 262144") as refused:
        nodes.copy_in(node, "web", "/tmp", bytes(TAR_MAX + 1))
    assert refused.value.field == "tar"
    with pytest.raises(InvalidRequest) as refused:
        nodes.copy_out(node, "web", "tmp")
    assert refused.value.field == "path"
    assert nodes.diff(node, "web") == list(DIFFERENCES)
    service.fail("copy_out", PathNotFound("cannot find /x", object="/x"))
    with pytest.raises(PathNotFound):
        nodes.copy_out(node, "web", "/x")
    assert service.given == [
        ("copy_out", "web", "/etc/app.conf", True),
        ("copy_out", "web", "/etc/app.conf", False),
        ("copy_in", "web", "/tmp", False, True),
        ("diff", "web"),
        ("copy_out", "web", "/x", False),
    ]
