"""The verbs that concern images over a real socket: streams, their ends, and their bounds."""

from __future__ import annotations

import io
import logging
import socket as sockets
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import grpc
import pytest

from fakes.node import FakeNode
from fakes.service import DETAIL, DONE, IMAGE, MOVING, PRUNED
from longshore import errors
from longshore.lifecycle import lanes
from longshore.local import calls, failures, image_service
from longshore.local import stall as stalls
from longshore.local.client import LocalClient
from longshore.local.patience import pause
from longshore.local.server import LocalServer
from longshore.local.stall import Watchdog
from longshore.model.commit import Commit
from longshore.model.transfer import Auth, Credential, PullPolicy
from longshore.pb.longshore.v1 import agent_pb2, agent_pb2_grpc

T = TypeVar("T")
SECRET = "pa55w0rd-d0-n0t-sh0w"
BOB, TOKEN = Credential("bob", SECRET), Credential(token=SECRET)


def spec(**more: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "name": "web", "image": "busybox:1", **more}


def outcome(work: Generator[Any, None, T]) -> tuple[list[Any], T]:
    """What it yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(work))
        except StopIteration as end:
            return yielded, end.value


def until(true: Callable[[], object]) -> None:
    for _ in range(400):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come about in 20 s")


def test_every_verb(client: LocalClient, node: FakeNode) -> None:
    change = Commit("me", "why", ["CMD sh", ""], pause=False)
    assert client.show_image("web") == DETAIL
    assert outcome(client.pull_image("web")) == ([MOVING, DONE], IMAGE)
    asked = client.pull_image("web", PullPolicy.NEVER, Auth(name="ours"))
    assert outcome(asked) == ([MOVING, DONE], IMAGE)
    assert client.prefetch_image("glance://web", "if-not-present", Auth(BOB)) == MOVING
    pushed = DONE.model_copy(update={"direction": "push"})
    assert outcome(client.push_image("web", "r.example/web", Auth(TOKEN))) == (
        [MOVING, DONE],
        pushed,
    )
    assert client.tag_image("web", "web:2") == IMAGE
    assert client.remove_image("web") == IMAGE
    assert client.prune_images(all=True) == PRUNED
    pieces = list(client.save_images(["web", "db:1"]))
    assert b"".join(pieces) == b"one " + bytes(2_500_000)
    assert max(map(len, pieces)) <= 1024 * 1024
    assert client.commit("web", "web:3", change) == IMAGE
    assert client.commit("web", "web:4") == IMAGE
    assert node.given == [
        ("show_image", "web"),
        ("pull_image", "web", PullPolicy.ALWAYS, Auth()),
        ("pull_image", "web", PullPolicy.NEVER, Auth(name="ours")),
        ("prefetch_image", "glance://web", PullPolicy.IF_NOT_PRESENT, Auth(BOB)),
        ("push_image", "web", "r.example/web", Auth(TOKEN)),
        ("tag_image", "web", "web:2"),
        ("remove_image", "web"),
        ("prune_images", True),
        ("save_images", ("web", "db:1")),
        ("commit", "web", "web:3", replace(change, changes=("CMD sh", ""))),
        ("commit", "web", "web:4", Commit()),
    ]
    assert node.transfers == 0


def test_a_caller_who_leaves_leaves_the_pull(client: LocalClient, node: FakeNode) -> None:
    node.hold("pull_image")
    work = client.pull_image("web")
    assert [next(work), next(work)] == [MOVING, MOVING]
    assert node.transfers == 1
    work.close()
    until(lambda: node.transfers == 0)


def test_a_client_that_is_closed_leaves_its_pulls(server: LocalServer, socket: Path) -> None:
    node = server._service
    assert isinstance(node, FakeNode)
    node.hold("pull_image")
    with LocalClient(socket) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(outcome, client.pull_image("web"))
        node.wait_for("pull_image", 1)
        client.close()
        with pytest.raises(errors.LongshoreError):
            asked.result(20)
    until(lambda: node.transfers == 0)
    assert node.calls["pull_image"] == 1


def test_a_pull_that_fails_in_its_midst(client: LocalClient, node: FakeNode) -> None:
    node.fail("pull_image", errors.ImageSourceDenied("cannot pull web: bob may not", object="web"))
    with pytest.raises(errors.ImageSourceDenied, match="bob may not") as caught:
        outcome(client.pull_image("web"))
    assert (caught.value.object, node.transfers, node.calls["pull_image"]) == ("web", 0, 1)


def test_a_pull_goes_on_with_the_next_agent(node: FakeNode, socket: Path) -> None:
    gate = node.hold("pull_image")
    first = LocalServer(node, socket, grace=0.2)
    first.start()
    with LocalClient(socket) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(outcome, client.pull_image("web"))
        node.wait_for("pull_image", 1)
        first.stop()
        assert node.transfers == 0
        second = LocalServer(node, socket, grace=0.2)
        second.start()
        node.wait_for("pull_image", 2)
        gate.set()
        assert asked.result(20)[1] == IMAGE
        second.stop()


def test_what_waits_for_an_image_leaves_room_for_what_need_not(
    client: LocalClient, socket: Path, node: FakeNode
) -> None:
    count = lanes.sizes(2)["pull"]
    node.absent.add("far:1")
    client.create(spec())
    away = client.create(spec(image="far:1", name="away"))
    gates = [node.hold(verb) for verb in ("create", "start", "pull_image")]
    with ThreadPoolExecutor(count + 2) as pool:
        hanging: list[Future[Any]] = [
            *(pool.submit(client.create, spec(image="far:1")) for _ in range(count - 2)),
            pool.submit(client.start, away.id),
            pool.submit(outcome, client.pull_image("far:1")),
        ]
        node.wait_for("create", count)
        node.wait_for("start", 1)
        node.wait_for("pull_image", 1)
        with LocalClient(socket, timeout=0.45) as impatient:
            for refused in (
                lambda: impatient.create(spec(image="far:1")),
                lambda: impatient.start("away"),
                lambda: next(impatient.pull_image("far:1")),
            ):
                with pytest.raises(errors.AgentBusy) as caught:
                    refused()
                assert caught.value.details == {"lane": "pull", "limit": count}
        hanging += [pool.submit(client.create, spec()), pool.submit(client.start, "web")]
        node.wait_for("create", count + 1)
        node.wait_for("start", 2)
        assert client.node_status().name == "node-1"
        for gate in gates:
            gate.set()
        assert all(one.result(20) for one in hanging)


def test_who_is_refused_for_want_of_room_is_asked_again(
    client: LocalClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these finds its lane full at first."""
    refused = threading.Semaphore(0)

    def noted() -> None:
        refused.release()
        pause()

    monkeypatch.setattr(calls, "pause", noted)
    verbs: dict[str, Callable[[], Any]] = {
        "create": lambda: client.create(spec()),
        "remove_image": lambda: client.remove_image("web"),
        "pull_image": lambda: outcome(client.pull_image("web")),
        "load_image": lambda: client.load_image(io.BytesIO(b"archive")),
    }
    for verb, call in verbs.items():
        gate = node.hold(verb)
        lane = next(lane for lane, of_it in lanes.LANES.items() if verb in of_it)
        count = lanes.sizes(2)[lane]
        with ThreadPoolExecutor(count + 1) as pool:
            asked = [pool.submit(call) for _ in range(count)]
            node.wait_for(verb, count)
            late = pool.submit(call)
            assert refused.acquire(timeout=20)
            gate.set()
            assert all(one.result(20) for one in (*asked, late))
        assert node.calls[verb] == count + 1
    assert [size for _, size in node.archives] == [len(b"archive")] * len(node.archives)


def test_a_watch_waits_for_room(client: LocalClient) -> None:
    client.create(spec())
    first, second = client.watch(after=0), client.watch(after=0)
    assert next(first) == next(second)
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(lambda: next(client.watch(after=0)))
        first.close()
        assert third.result(20).state == "running"


def test_an_archive_that_nobody_takes(
    server: LocalServer,
    client: LocalClient,
    socket: Path,
    node: FakeNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its call ends, and its place is free again."""
    monkeypatch.setattr(stalls, "STALL", 0.3)
    closed: list[bool] = []

    def endless(names: Any) -> Generator[bytes, None, None]:
        try:
            while True:
                yield bytes(1024 * 1024)
        finally:
            closed.append(True)

    monkeypatch.setattr(node, "save_images", endless)
    request = agent_pb2.SaveImagesRequest(names=["web"])
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        under_way = [
            agent_pb2_grpc.AgentStub(channel).SaveImages(request)
            for _ in range(lanes.sizes(2)["image"])
        ]
        for call in under_way:
            next(call)
        until(lambda: len(closed) == len(under_way))
        monkeypatch.undo()
        assert b"".join(client.save_images(["web"])).startswith(b"one ")


def _progress_for_ever(closed: list[bool]) -> Generator[Any, None, None]:
    try:
        while True:
            yield MOVING
    finally:
        closed.append(True)


@pytest.mark.parametrize("verb", ["pull_image", "push_image"])
def test_progress_that_nobody_takes(
    server: LocalServer,
    client: LocalClient,
    socket: Path,
    node: FakeNode,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    """Who hangs holds neither a transfer nor a place for ever."""
    monkeypatch.setattr(stalls, "STALL", 0.3)
    closed: list[bool] = []
    monkeypatch.setattr(node, verb, lambda *_: _progress_for_ever(closed))
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        stub = agent_pb2_grpc.AgentStub(channel)
        call: Any = (
            stub.PullImage(agent_pb2.PullImageRequest(name="web"))
            if verb == "pull_image"
            else stub.PushImage(agent_pb2.PushImageRequest(name="web", to="r.example/web"))
        )
        next(call)
        until(lambda: closed)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
        monkeypatch.undo()
        work = client.pull_image("web") if verb == "pull_image" else client.push_image("web", "a/b")
        assert outcome(work)[0] == [MOVING, DONE]


def test_a_pull_that_is_silent_is_no_caller_that_hangs(
    client: LocalClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the caller while it sends, and not while there is nothing to send."""
    waits = 0

    class Counted(Watchdog):
        @contextmanager
        def waiting(self) -> Iterator[None]:
            nonlocal waits
            waits += 1
            with super().waiting():
                yield
            waits -= 1

    seen: list[int] = []

    def silent(*_: Any) -> Generator[Any, None, Any]:
        seen.append(waits)
        yield MOVING
        seen.append(waits)
        return IMAGE

    monkeypatch.setattr(image_service, "Watchdog", Counted)
    monkeypatch.setattr(node, "pull_image", silent)
    assert outcome(client.pull_image("web")) == ([MOVING], IMAGE)
    assert seen == [0, 0]


def test_an_archive_that_breaks_off_is_not_taken_for_whole(
    client: LocalClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(names: Any) -> Generator[bytes, None, None]:
        yield b"one"
        raise errors.HostFailed("cannot save web: the disk failed")

    monkeypatch.setattr(node, "save_images", breaks)
    pieces = client.save_images(["web"])
    assert next(pieces) == b"one"
    with pytest.raises(errors.HostFailed, match="the disk failed"):
        next(pieces)
    short = iter([agent_pb2.ImageChunk(data=b"one"), agent_pb2.ImageChunk(size=4)])
    monkeypatch.setattr(client._calls, "follow", lambda *_, **__: short)
    with pytest.raises(errors.LongshoreError, match="broke off after 3 bytes"):
        list(client.save_images(["web"]))


def test_bad_requests(client: LocalClient, node: FakeNode) -> None:
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: client.show_image(""), "name"),
        (lambda: client.tag_image("web", "We b"), "new"),
        (lambda: outcome(client.pull_image("web", "sometimes")), "policy"),
        (lambda: outcome(client.pull_image("web", auth=Auth(BOB, "ours"))), "auth"),
        (lambda: client.prefetch_image("web", auth=Auth(Credential())), "auth.credential"),
        (lambda: list(client.save_images([])), "names"),
        (lambda: client.commit("", "web"), "ref"),
        (lambda: client.create(spec(), credential=Credential("a:b", "c")), "credential.username"),
        (lambda: client.create(spec(image_credential="x"), credential=TOKEN), "credential"),
    ]
    for call, field in cases:
        with pytest.raises(errors.InvalidRequest) as caught:
            call()
        assert caught.value.field == field
    assert (node.given, node.requests) == ([], [])


def test_a_credential_comes_beside_the_spec(client: LocalClient, node: FakeNode) -> None:
    for credential in (BOB, TOKEN, None):
        client.create(spec(), credential=credential)
    assert node.credentials == [BOB, TOKEN, None]


def test_what_is_logged_and_told_of_a_credential(
    client: LocalClient, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fails(call: Callable[[], object]) -> None:
        with pytest.raises(errors.LongshoreError) as caught:
            call()
        told.extend(traceback.format_exception(caught.value))
        told.append(str(caught.value.to_dict()))

    with caplog.at_level(logging.DEBUG):
        client.create(spec(), credential=TOKEN)
        outcome(client.pull_image("web", auth=Auth(BOB)))
        node.fail("pull_image", errors.ImageSourceDenied("cannot pull web"))
        fails(lambda: outcome(client.pull_image("web", auth=Auth(BOB))))
        node.fail("pull_image", ZeroDivisionError("unexpected"))
        fails(lambda: outcome(client.pull_image("web", auth=Auth(BOB))))
        fails(lambda: outcome(client.push_image("web", "W", Auth(BOB))))
        split = Credential("bob", f"{SECRET}\n")
        fails(lambda: client.create(spec(), credential=split))
    assert "ZeroDivisionError: unexpected" in caplog.text
    assert "pull of web asked by local uid=" in caplog.text
    assert SECRET not in caplog.text + "".join(told)


def test_an_agent_of_an_older_release_says_so(folder: Path) -> None:
    """One that knows none of these verbs."""
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port(f"unix:{folder}/agent.sock")
    server.start()
    with sockets.socket(sockets.AF_UNIX) as greeting, ThreadPoolExecutor(1) as pool:
        greeting.bind(f"{folder}/agent.sock.peer")
        greeting.listen()
        pool.submit(lambda: greeting.accept()[0].sendall(b"token\n"))
        with (
            LocalClient(folder / "agent.sock") as client,
            pytest.raises(errors.HostUnavailable, match="too old"),
        ):
            outcome(client.pull_image("web"))
    server.stop(0)


@pytest.mark.parametrize("cls", errors.BY_CODE.values(), ids=lambda cls: cls.__name__)
def test_no_error_of_a_pull_is_lost(
    client: LocalClient,
    node: FakeNode,
    cls: type[errors.LongshoreError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_timeout", 0.0)
    sent = cls("cannot pull web: ü", object="web", details={"n": 1})
    node.fail("pull_image", sent, sent, sent)
    with pytest.raises(errors.LongshoreError) as caught:
        outcome(client.pull_image("web"))
    assert caught.value.to_dict() == sent.to_dict()
    assert failures.code_of(sent) is not grpc.StatusCode.OK
