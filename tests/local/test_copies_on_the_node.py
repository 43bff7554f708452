"""The verbs of containers' files over a real socket."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from uuid import uuid4

import pytest

from fakes.node import FakeNode
from fakes.service import DIFFERENCES, FILE
from longshore.errors import (
    ContainerNotFound,
    InvalidRequest,
    LongshoreError,
    MessageTooLarge,
    PathNotFound,
)
from longshore.local.client import LocalClient
from longshore.pb.longshore.v1 import agent_pb2

MIB = 1024 * 1024


@pytest.fixture
def ref(client: LocalClient) -> str:
    return client.create({"id": str(uuid4()), "name": "web", "image": "busybox:1"}).id


def test_out(client: LocalClient, node: FakeNode, ref: str) -> None:
    node.tars += [b"a" * 3 * MIB, b"", b"b"]
    status, pieces = client.copy_out(ref, "/etc/app.conf", follow_link=True)
    got = list(pieces)
    assert (status, b"".join(got)) == (FILE, b"a" * 3 * MIB + b"b")
    assert max(map(len, got)) == MIB
    assert node.given == [("copy_out", ref, "/etc/app.conf", True)]
    assert node.transfers == 0
    _, pieces = client.copy_out(ref, "/x")
    next(pieces)
    pieces.close()
    node.fail("copy_out", PathNotFound("cannot find /y in the container", object="/y"))
    with pytest.raises(PathNotFound, match="/y"):
        client.copy_out(ref, "/y")
    for path in ("relative", "", "/x\0y", "/" + "x" * 5000):
        with pytest.raises(InvalidRequest) as refused:
            client.copy_out(ref, path)
        assert refused.value.field == "path"


def test_one_that_breaks_off(client: LocalClient, node: FakeNode, ref: str) -> None:
    """In the midst of it an error is the end, and no answer is whole."""

    def broken() -> Generator[bytes, None, None]:
        yield b"some"
        raise PathNotFound("cannot: it is gone")

    node.copy_out = lambda *_, **__: (FILE, broken())  # type: ignore[method-assign]
    _, pieces = client.copy_out(ref, "/x")
    with pytest.raises(PathNotFound, match="gone"):
        list(pieces)


def test_in(client: LocalClient, node: FakeNode, ref: str) -> None:
    tar, id = [b"t" * 3 * MIB, b"u"], str(uuid4())
    assert client.copy_in(ref, "/tmp", lambda: tar, archive=True, request_id=id) == 3
    assert (node.tars, node.volume_requests) == ([b"".join(tar)], [id])
    assert node.given == [("copy_in", ref, "/tmp", True, False)]
    assert not list(node.spool.iterdir())
    with pytest.raises(MessageTooLarge, match="copy to the container: the archive is above"):
        client.copy_in(ref, "/tmp", lambda: [bytes(MIB)] * 6)
    with pytest.raises(ContainerNotFound):
        client.copy_in("nobody", "/tmp", lambda: tar)
    with pytest.raises(InvalidRequest) as refused:
        client.copy_in(ref, "tmp", lambda: tar)
    assert refused.value.field == "path"
    with pytest.raises(InvalidRequest) as refused:
        client.copy_in(ref, "/tmp", lambda: tar, request_id="none")
    assert refused.value.field == "request_id"
    assert len(node.tars) == 1


def test_in_without_its_beginning_or_end(client: LocalClient, node: FakeNode, ref: str) -> None:
    start = agent_pb2.CopyInChunk(
        start=agent_pb2.CopyInStart(ref=ref, path="/tmp", request_id=str(uuid4()))
    )
    data = agent_pb2.CopyInChunk(data=b"tar")
    broken = {
        "did not begin": [data],
        "broke off after 3": [start, data],
        "broke off after 0": [start],
        "broke off after 6": [start, data, data, agent_pb2.CopyInChunk(size=3)],
    }
    for why, messages in broken.items():
        with pytest.raises(InvalidRequest, match=why):
            client._calls.send("CopyIn", "copy", partial(iter, messages), 10.0, 0.0)
    assert node.tars == []


def test_diff(client: LocalClient, node: FakeNode, ref: str) -> None:
    assert client.diff(ref) == list(DIFFERENCES)
    node.fail("diff", LongshoreError("cannot"))
    with pytest.raises(LongshoreError):
        client.diff(ref)
