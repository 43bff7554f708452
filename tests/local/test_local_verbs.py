"""Every verb over a real socket; every error as what it was."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from fakes.node import BUSYBOX, NODE, FakeNode
from fakes.service import FIT, FLAVORS, UNFIT
from longshore import errors
from longshore.lifecycle import lanes
from longshore.local import failures
from longshore.local import stall as stalls
from longshore.local.client import LocalClient
from longshore.local.server import LocalServer
from longshore.local.spool import empty_spool, spooled
from longshore.model.spec import parse
from longshore.model.status import LogChunk
from longshore.pb.longshore.v1 import agent_pb2, agent_pb2_grpc

SPEC = {"id": "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": "web", "image": "busybox:1"}


def test_a_life(client: LocalClient, node: FakeNode) -> None:
    made = client.create(SPEC)
    assert made == node.containers[made.id]
    assert node.specs[made.id] == parse(SPEC)
    assert client.show("web") == made
    assert list(client.list()) == [made]
    assert client.stop("web", grace=0.5).state == "stopped"
    assert client.start("web").state == "running"
    assert client.delete("web", force=True).state == "absent"
    assert client.list() == []
    assert node.asked == [("stop", "web", 0.5), ("delete", "web", True)]
    assert len({request.id for request in node.requests}) == 4


def test_create_without_start(client: LocalClient) -> None:
    assert client.create(SPEC, start=False).state == "created"


def test_stop_without_grace_leaves_it_to_the_spec(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    client.stop("web")
    assert node.asked == [("stop", "web", None)]


def test_the_same_request_is_done_once(client: LocalClient, node: FakeNode) -> None:
    request_id = str(uuid4())
    first = client.create(SPEC, request_id=request_id, generation=7)
    assert client.create(SPEC, request_id=request_id, generation=7) == first
    assert node.done["create"] == 1
    assert [one.generation for one in node.requests] == [7, 7]


@pytest.mark.parametrize(
    ("asked", "reached"), [("accepted", "accepted"), ("running", None), (None, None)]
)
def test_wait(client: LocalClient, node: FakeNode, asked: str | None, reached: str | None) -> None:
    client.create(SPEC, wait=asked)
    assert node.requests[0].wait == reached


def test_node_status(client: LocalClient) -> None:
    assert client.node_status() == NODE


def test_flavors_and_fits(client: LocalClient, node: FakeNode) -> None:
    assert client.list_flavors() == list(FLAVORS)
    secret = {**SPEC, "flavor": {"name": "x"}, "secrets": [{"name": "key", "value": "v"}]}
    assert client.fits(secret) == FIT
    assert client.fits(parse(secret)) == FIT
    node.absent = {"absent:1"}
    assert client.fits({**SPEC, "image": "absent:1"}) == UNFIT
    assert [one[1] for one in node.given if one[0] == "fits"][:2] == [parse(secret)] * 2
    with pytest.raises(errors.InvalidSpec, match="colour"):
        client.fits({**SPEC, "colour": "red"})


def test_images(client: LocalClient, node: FakeNode, folder: Path) -> None:
    assert client.list_images() == [BUSYBOX]
    data = bytes(3_500_000)
    [loaded] = client.load_image(io.BytesIO(data))
    assert loaded.size == len(data)
    [(path, size)] = node.archives
    assert (path.parent, size) == (Path("/proc/self/fd"), len(data))
    assert spooled_in(folder / "spool") == 0
    assert list((folder / "spool").iterdir()) == []


def test_an_image_above_the_limit(client: LocalClient, node: FakeNode, folder: Path) -> None:
    with pytest.raises(errors.MessageTooLarge, match="above 5000000 bytes"):
        client.load_image(io.BytesIO(bytes(7_000_000)))
    assert node.archives == []
    assert spooled_in(folder / "spool") == 0


def test_an_image_that_fails_leaves_no_file(
    client: LocalClient, node: FakeNode, folder: Path
) -> None:
    node.fail("load_image", errors.BadImage("cannot load the image: no index.json"))
    with pytest.raises(errors.BadImage, match="no index"):
        client.load_image(io.BytesIO(b"x"))
    assert spooled_in(folder / "spool") == 0


@pytest.mark.parametrize("stall", [0.3, 60.0])
def test_an_image_that_breaks_off_is_not_loaded(
    client: LocalClient,
    socket: Path,
    node: FakeNode,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stall: float,
) -> None:
    """The caller leaves, or sends nothing more for too long; either frees the place."""
    monkeypatch.setattr(stalls, "STALL", stall)
    more = threading.Event()

    def chunks() -> Iterator[Any]:
        yield agent_pb2.ImageChunk(data=bytes(1000))
        more.wait(120)

    with grpc.insecure_channel(f"unix:{socket}") as channel:
        calls = [
            agent_pb2_grpc.AgentStub(channel).LoadImage.future(chunks())
            for _ in range(lanes.sizes(2)["image"])
        ]
        if stall > 1:
            until(lambda: spooled_in(folder / "spool") == len(calls))
            # An agent that is killed now leaves nothing.
            assert list((folder / "spool").iterdir()) == []
            for call in calls:
                call.cancel()
        until(lambda: all(call.done() for call in calls))
        more.set()
    until(lambda: spooled_in(folder / "spool") == 0)
    until(lambda: watchdogs() == 0)
    assert node.archives == []
    assert "Traceback" not in caplog.text
    monkeypatch.undo()
    assert len(client.load_image(io.BytesIO(b"whole"))) == 1
    assert [size for _, size in node.archives] == [5]


def spooled_in(folder: Path) -> int:
    """How many files there this process has open, with a name or without."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{folder}/")
    return count


def watchdogs() -> int:
    return sum("watchdog" in thread.name for thread in threading.enumerate())


def test_a_file_system_without_unnamed_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False)
    with spooled([b"ab", b"c"], folder, 3) as archive:
        assert (archive.read_bytes(), list(folder.iterdir())) == (b"abc", [])


def test_what_a_killed_agent_left_in_the_spool(folder: Path) -> None:
    (folder / "image-x.tar").write_bytes(b"x")
    (folder / "gone").symlink_to("/nonexistent")
    empty_spool(folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(errors.HostFailed, match="cannot empty the spool folder"):
        empty_spool(folder / "none")


def test_a_load_has_one_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    class Context:
        def cancel(self) -> None:
            raise AssertionError("nothing stalls here")

    monkeypatch.setattr(threading.Thread, "start", counted)
    with stalls.Watchdog(Context(), 60) as watchdog:  # type: ignore[arg-type]  # all that it uses of a context
        assert list(watchdog.incoming(iter(range(50)))) == list(range(50))
    assert len(started) == 1
    until(lambda: watchdogs() == 0)


@pytest.mark.parametrize("sizes", [[], [None], [3], [4, None]])
def test_an_image_without_its_size_is_not_loaded(
    server: LocalServer, socket: Path, node: FakeNode, folder: Path, sizes: list[int | None]
) -> None:
    chunks = [agent_pb2.ImageChunk(data=b"1234", size=size) for size in sizes]
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            agent_pb2_grpc.AgentStub(channel).LoadImage(iter(chunks), timeout=10)
        assert isinstance(failures.decode(caught.value), errors.InvalidRequest)
    assert (node.archives, list((folder / "spool").iterdir())) == ([], [])


def until(true: Callable[[], object]) -> None:
    for _ in range(400):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come about in 20 s")


def test_watch_misses_nothing_after_it_returned(client: LocalClient) -> None:
    client.create(SPEC)
    watch = client.watch()
    client.stop("web", grace=1)
    client.delete("web")
    seen = [next(watch), next(watch)]
    assert [(one.previous, one.state) for one in seen] == [
        ("running", "stopped"),
        ("stopped", "absent"),
    ]
    again = client.watch(after=0)
    assert next(again).state == "running"


def test_logs(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    written = [LogChunk("stdout", b"\xff\x00one\n"), LogChunk("stderr", b"two")]
    node.output[SPEC["id"]] = written
    assert list(client.logs("web", tail=5)) == written
    assert node.asked[-1] == ("logs", "web", 5, False)
    following = client.logs("web", follow=True)
    assert [next(following), next(following)] == written
    node.ended("web", 0)
    assert all(chunk.data == b"" for chunk in following)


def test_a_log_reader_who_leaves_is_noticed(client: LocalClient, node: FakeNode) -> None:
    client.create(SPEC)
    following = client.logs("web", follow=True)
    next(following)
    assert node.open_logs == 1
    following.close()
    until(lambda: node.open_logs == 0)


@pytest.mark.parametrize("cls", errors.BY_CODE.values(), ids=lambda cls: cls.__name__)
def test_every_error_arrives_as_itself(
    client: LocalClient,
    node: FakeNode,
    cls: type[errors.LongshoreError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With little patience: one that passes by itself is asked again.
    monkeypatch.setattr(client, "_timeout", 0.4)
    sent = cls("cannot x: ü", field="a.b", object="o", hint="h", details={"n": 1, "l": ["x"]})
    node.fail("show", *[sent] * 20)
    with pytest.raises(errors.LongshoreError) as caught:
        client.show("web")
    assert type(caught.value) is cls
    assert caught.value.to_dict() == sent.to_dict()
    assert failures.code_of(sent) is not grpc.StatusCode.OK


def test_an_unknown_container(client: LocalClient) -> None:
    for call in (client.show, client.start, client.stop, client.delete):
        with pytest.raises(errors.ContainerNotFound, match="cannot find container nope"):
            call("nope")
    with pytest.raises(errors.ContainerNotFound):
        list(client.logs("nope"))


def test_an_error_too_large_for_metadata_is_shortened(client: LocalClient, node: FakeNode) -> None:
    faults = [{"field": f"mounts[{n}].source", "why": "must be absolute " * 9} for n in range(64)]
    node.fail("show", errors.InvalidSpec("cannot accept the spec", details={"faults": faults}))
    with pytest.raises(errors.InvalidSpec) as caught:
        client.show("web")
    assert 8 <= len(caught.value.faults) < 64
    assert caught.value.faults[0] == faults[0]
    assert caught.value.details["shortened"] is True


def test_a_fault_of_the_agent_is_logged_and_told_shortly(
    client: LocalClient, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.fail("show", ZeroDivisionError("secret"))
    with pytest.raises(errors.LongshoreError, match="the agent has a fault") as caught:
        client.show("web")
    assert (caught.value.code, "secret" in str(caught.value)) == ("internal", False)
    assert "ZeroDivisionError: secret" in caplog.text


def test_bad_specs_are_refused_by_the_agent_too(server: LocalServer, socket: Path) -> None:
    spec = agent_pb2.ContainerSpec(id="x", name="a b", limits={"memory": 5})
    caught = refused(socket, "Create", agent_pb2.CreateRequest(intent=intent(), spec=spec))
    assert isinstance(caught, errors.InvalidSpec)
    assert {fault["field"] for fault in caught.faults} == {"id", "name", "image", "limits.memory"}


@pytest.mark.parametrize(
    ("intent_fields", "field"),
    [
        ({"request_id": ""}, "intent.request_id"),
        ({"request_id": "x"}, "intent.request_id"),
        ({"request_id": str(uuid4()).upper()}, "intent.request_id"),
        ({"request_id": uuid4().hex}, "intent.request_id"),
        ({"generation": 0}, "intent.generation"),
        ({"generation": -1}, "intent.generation"),
        ({"wait": ""}, "intent.wait"),
        ({"wait": "stopped"}, "intent.wait"),
    ],
)
def test_bad_intents(
    server: LocalServer, socket: Path, node: FakeNode, intent_fields: dict[str, Any], field: str
) -> None:
    request = agent_pb2.StartRequest(intent=intent(**intent_fields), ref="web")
    caught = refused(socket, "Start", request)
    assert isinstance(caught, errors.InvalidRequest)
    assert caught.field == field
    assert node.requests == []


@pytest.mark.parametrize("grace", [-1.0, float("nan"), 1e9])
def test_bad_grace(server: LocalServer, socket: Path, grace: float) -> None:
    request = agent_pb2.StopRequest(intent=intent(), ref="web", grace=grace)
    caught = refused(socket, "Stop", request)
    assert (type(caught), caught.field) == (errors.InvalidRequest, "grace")


def test_bad_refs_and_tails(client: LocalClient) -> None:
    for ref in ("", "x" * 300):
        with pytest.raises(errors.InvalidRequest, match="ref must be"):
            client.show(ref)
    with pytest.raises(errors.InvalidRequest, match="tail"):
        list(client.logs("web", tail=-1))
    with pytest.raises(errors.InvalidRequest, match="cannot send the request"):
        client.show("\udc80")


@pytest.mark.parametrize("size", [100_000, 6_000_000])
def test_an_oversized_create(client: LocalClient, node: FakeNode, size: int) -> None:
    big = {**SPEC, "command": ["x" * 32_000] * (size // 32_000)}
    with pytest.raises(errors.MessageTooLarge):
        client.create(big)
    assert node.requests == []


def intent(**fields: Any) -> Any:
    return agent_pb2.Intent(**{"request_id": str(uuid4()), **fields})


def refused(socket: Path, rpc: str, request: Any) -> errors.LongshoreError:
    """What a client that checks nothing is answered."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            getattr(agent_pb2_grpc.AgentStub(channel), rpc)(request, timeout=10)
        error = failures.decode(caught.value)
        assert error is not None
        assert caught.value.code() is failures.code_of(error)
        return error
