"""containerd as a neighbour: absent, hung, restarted, and what it says of itself."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

from bench.lab.containerd import PrivateContainerd
from host.containerd.stepwise import SNAPSHOTTER, Node, until
from longshore.errors import (
    Conflict,
    DeadlineExceeded,
    Exhausted,
    HostBusy,
    HostFailed,
    HostUnavailable,
    ImageNotFound,
    LongshoreError,
    NotFound,
)
from longshore.host.containerd import introspect, leases
from longshore.host.containerd.client import Client, Refused, translate
from longshore.host.containerd.events import Events
from longshore.host.containerd.introspect import Plugin, choose_snapshotter
from longshore.host.containerd.records import ContainerRecords
from longshore.host.containerd.runtime import choose_runtime
from longshore.host.containerd.snapshots import Rootfs
from longshore.model.host import Image, ImageConfig, Runtime, TaskStatus
from longshore.model.names import Names

SNAPSHOTTERS = "io.containerd.snapshotter.v1"


@pytest.fixture
def own() -> Iterator[PrivateContainerd]:
    """One to be killed and restarted."""
    with (
        tempfile.TemporaryDirectory(prefix="lsh-own-") as folder,
        PrivateContainerd(Path(folder)) as one,
    ):
        yield one


def test_nobody_listens(tmp_path: Path) -> None:
    client = Client(tmp_path / "nonesuch.sock", "longshore")
    with pytest.raises(HostUnavailable) as caught:
        introspect.version(client)
    assert caught.value.retry
    assert caught.value.message.startswith("cannot ask containerd's version: ")
    client.close()


def test_somebody_listens_and_never_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "mute.sock"))
        server.listen()
        client = Client(tmp_path / "mute.sock", "longshore", timeout=0.3)
        with pytest.raises((DeadlineExceeded, HostUnavailable)):
            introspect.version(client)
        client.close()


def test_a_hung_containerd_is_a_deadline(own: PrivateContainerd) -> None:
    client = Client(own.socket, "longshore", timeout=0.3)
    assert introspect.version(client)
    os.kill(own.pid, signal.SIGSTOP)
    until(lambda: {stat.read_text().split()[2] for stat in threads_of(own)} == {"T"})
    try:
        with pytest.raises(DeadlineExceeded):
            introspect.version(client)
    finally:
        os.kill(own.pid, signal.SIGCONT)
    until(lambda: answers(client))
    client.close()


def threads_of(containerd: PrivateContainerd) -> list[Path]:
    return list(Path(f"/proc/{containerd.pid}/task").glob("*/stat"))


def test_it_is_found_again_after_a_restart(own: PrivateContainerd) -> None:
    client = Client(own.socket, "longshore")
    assert introspect.version(client)
    own.kill()
    with pytest.raises(HostUnavailable):
        introspect.version(client)
    own.start()
    until(lambda: answers(client), seconds=5)
    client.close()


def answers(client: Client) -> bool:
    try:
        introspect.version(client)
    except LongshoreError:
        return False
    return True


class Answer(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, "x: not found", NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, "x: already exists", Conflict),
        (grpc.StatusCode.UNAVAILABLE, "connection refused", HostUnavailable),
        (grpc.StatusCode.UNAVAILABLE, "ref x locked for 3s: unavailable", HostBusy),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service", HostUnavailable),
        (grpc.StatusCode.CANCELLED, "Channel closed!", HostUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineExceeded),
        (grpc.StatusCode.UNKNOWN, "context deadline exceeded: unknown", DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", Exhausted),
        (grpc.StatusCode.UNKNOWN, "write /x: no space left on device", Exhausted),
        (grpc.StatusCode.UNKNOWN, "failed to delete task: ttrpc: closed", HostBusy),
        (grpc.StatusCode.FAILED_PRECONDITION, "still running", Refused),
        (grpc.StatusCode.UNKNOWN, "line one\nline two", HostFailed),
        (grpc.StatusCode.INTERNAL, "", HostFailed),
    ],
)
def test_what_it_says_in_our_words(
    code: grpc.StatusCode, details: str, kind: type[LongshoreError]
) -> None:
    error = translate(Answer(code, details), "do it", "thing")
    assert type(error) is kind
    assert error.message.startswith("cannot do it: ")
    assert "\n" not in error.message
    assert error.object == "thing"


def test_the_snapshotter_and_why() -> None:
    good = [Plugin(SNAPSHOTTERS, "native"), Plugin(SNAPSHOTTERS, "overlayfs")]
    assert choose_snapshotter(good).name == "overlayfs"
    assert choose_snapshotter(good, "native").name == "native"
    bad = [Plugin(SNAPSHOTTERS, "native"), Plugin(SNAPSHOTTERS, "overlayfs", "no such kernel")]
    bad[0] = replace(bad[0], root=Path("/native"))
    chosen = choose_snapshotter(bad)
    assert (chosen.name, chosen.root) == ("native", Path("/native"))
    assert "no such kernel" in chosen.why
    for wanted in ("overlayfs", "zfs"):
        with pytest.raises(HostUnavailable):
            choose_snapshotter(bad, wanted)


def test_what_this_containerd_can_do(client: Client) -> None:
    introspect.ensure_namespace(client)
    found = introspect.plugins(client)
    chosen = choose_snapshotter(found)
    assert chosen.name == SNAPSHOTTER
    assert chosen.root is not None
    assert (chosen.root / "snapshots").is_dir()
    assert introspect.version(client)[0].isdigit()


def test_the_runtime_and_why(client: Client, containerd: PrivateContainerd) -> None:
    chosen = choose_runtime(client, systemd_cgroup=False)
    assert chosen.name == chosen.binary == "crun"
    chosen = choose_runtime(client, systemd_cgroup=False, binaries=["nonesuch", "runc"])
    assert chosen.name == "runc"
    assert "nonesuch does not: " in chosen.why
    assert "\n" not in chosen.why
    with pytest.raises(HostUnavailable, match="nonesuch"):
        choose_runtime(client, systemd_cgroup=False, binaries=["nonesuch"])
    assert [line for line in containerd.leftovers() if "probe" in line] == []


def test_a_lease_is_taken_over_and_given_back(client: Client) -> None:
    leases.take(client, "mine")
    leases.take(client, "mine")
    assert leases.names(client).count("mine") == 1
    leases.give_back(client, "mine")
    leases.give_back(client, "mine")
    assert "mine" not in leases.names(client)


def test_a_root_file_system_comes_and_goes(client: Client, busybox: Image) -> None:
    rootfs, names = Rootfs(client, SNAPSHOTTER), Names(str(uuid4()))
    rootfs.remove(names)
    rootfs.release(names)
    assert names.id not in rootfs.owned()
    rootfs.prepare(names, busybox)
    rootfs.prepare(names, busybox)
    assert names.id in rootfs.owned()
    assert rootfs.user(names, "app").groups == (2000,)
    rootfs.remove(names)
    assert names.id in rootfs.owned(), "the lease is there still"
    rootfs.release(names)
    assert names.id not in rootfs.owned()


def test_an_image_that_is_not_unpacked(client: Client) -> None:
    rootfs, names = Rootfs(client, SNAPSHOTTER), Names(str(uuid4()))
    image = Image("hollow:1", "sha256:0", "sha256:" + "0" * 64, 1, 0.0, ImageConfig())
    with pytest.raises(ImageNotFound, match="not unpacked"):
        rootfs.prepare(names, image)
    rootfs.release(names)


def test_a_record_is_replaced(client: Client, busybox: Image, node: Node) -> None:
    spec = node.make()
    names = Names(spec.id)
    assert names.id in node.records.owned()
    other = Runtime("other", "/opt/other", True, "")
    for records in (node.records, ContainerRecords(client, SNAPSHOTTER, other), node.records):
        records.put(names, busybox, {"ociVersion": "1.0.2"}, {"a": "b", "containerd.io/x": "y"})
        shown = node.containerd.ctr("containers", "info", spec.id)
        assert '"a": "b"' in shown
        assert "containerd.io/x" not in shown
    assert names.id in node.rootfs.owned()
    node.remove(spec)
    node.records.remove(names)
    assert names.id not in node.records.owned()


def test_labels_that_containerd_refuses_stay_out(node: Node) -> None:
    spec = node.make(labels={"long": "x" * 5000, "short": "y"})
    shown = node.containerd.ctr("containers", "info", spec.id)
    assert '"short": "y"' in shown
    assert '"long"' not in shown
    node.remove(spec)


def test_events_are_heard_from_the_connection_on(node: Node, client: Client) -> None:
    heard: list[tuple[str, str]] = []
    connected = threading.Event()
    events = Events(client, connected.set, lambda why: None, lambda *one: heard.append(one))
    events.start()
    try:
        assert connected.wait(10)
        spec = node.run(command=["sh", "-c", "exit 3"])
        until(lambda: (spec.id, "/tasks/exit") in heard)
        node.remove(spec)
        assert [topic for id, topic in heard if id == spec.id] == ["/tasks/exit"]
    finally:
        events.close()
    assert not [one for one in threading.enumerate() if one.name == "containerd-events"]


def test_out_of_memory_is_heard(node: Node, client: Client) -> None:
    heard: list[tuple[str, str]] = []
    connected = threading.Event()
    events = Events(client, connected.set, lambda why: None, lambda *one: heard.append(one))
    events.start()
    try:
        assert connected.wait(10)
        eater = "head -c 64m /dev/zero | tail"
        limits = {"memory": 16 * 2**20, "memory_swap": 16 * 2**20}
        spec = node.run(command=["sh", "-c", eater], limits=limits)
        until(lambda: (spec.id, "/tasks/oom") in heard)
        until(lambda: node.tasks.get(Names(spec.id)).status is TaskStatus.STOPPED)
        node.remove(spec)
    finally:
        events.close()


def test_events_are_heard_again_after_a_restart(own: PrivateContainerd) -> None:
    client = Client(own.socket, "longshore")
    connections, gaps = threading.Semaphore(0), threading.Semaphore(0)
    events = Events(
        client,
        connections.release,
        lambda why: gaps.release(),
        lambda id, topic: None,
    )
    events.start()
    try:
        assert connections.acquire(timeout=10)
        own.kill()
        assert gaps.acquire(timeout=10)
        own.start()
        assert connections.acquire(timeout=10)
    finally:
        events.close()
        client.close()


def test_closing_before_it_ever_connected(tmp_path: Path) -> None:
    client = Client(tmp_path / "nonesuch.sock", "longshore")
    events = Events(client, lambda: None, lambda why: None, lambda id, topic: None)
    events.start()
    events.close()
    assert not [one for one in threading.enumerate() if one.name == "containerd-events"]
    client.close()
