"""A stream on which nothing happens lasts, though its client pings."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import pytest

from fakes.node import FakeNode
from longshore.local import calls
from longshore.local import server as local_server
from longshore.local.server import LocalServer
from longshore.pb.longshore.v1 import agent_pb2, agent_pb2_grpc

#: Milliseconds between pings here, and the least that the server is told to take.
_PING, _LEAST = 300, 50
#: grpc hangs up at the third that is too many.
_SECONDS = 3.0


def test_grpc_knows_our_options() -> None:
    """It passes over a name that it does not know without a word."""
    (library,) = Path(grpc.__file__).parent.glob("_cython/cygrpc*.so")
    core = library.read_bytes()
    ours = [name for name, _ in (*local_server._OPTIONS, *calls._OPTIONS)]
    assert [name for name in ours if name.encode() + b"\0" not in core] == []


def test_an_idle_stream_outlasts_its_pings(
    node: FakeNode, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        (name, _LEAST if "ping_interval" in name else value)
        for name, value in local_server._OPTIONS
    ]
    monkeypatch.setattr(local_server, "_OPTIONS", options)
    pinging = [(n, _PING if n == "grpc.keepalive_time_ms" else v) for n, v in calls._OPTIONS]
    server = LocalServer(node, socket)
    server.start()
    ended = threading.Event()
    try:
        with grpc.insecure_channel(f"unix:{socket}", options=pinging) as channel:
            stream = agent_pb2_grpc.AgentStub(channel).Watch(agent_pb2.WatchRequest())
            stream.add_done_callback(lambda _: ended.set())
            over = ended.wait(_SECONDS)
            why = stream.details() if over else ""
            assert not over, why
            stream.cancel()
    finally:
        server.stop()
