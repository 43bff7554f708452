"""What lifecycle relies on, of every neighbour, in memory and real (see lifecycle/ports)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from longshore.errors import BadImage, HostBusy, ImageNotFound, PullCancelled
from longshore.lifecycle.create import CREATE
from longshore.lifecycle.pipeline import Context, run, unwind
from longshore.lifecycle.ports import Host
from longshore.lifecycle.progress import Progress
from longshore.lifecycle.steps import rootfs
from longshore.model.documents import digest_of
from longshore.model.host import Ids, Image, Nic, PublishedPort, TaskStatus
from longshore.model.injected import Secret
from longshore.model.names import Names
from longshore.model.record import Facts, Record
from longshore.model.spec import ContainerSpec, parse
from longshore.model.state import Desired, State
from longshore.model.transfer import Content, Watch

CANONICAL = "docker.io/library/busybox:latest"


SECRET = Secret.model_validate({"name": "password", "value": "s3cret"})


@dataclass(frozen=True)
class Kind:
    """One thing that is made for a container: made, removed, and who has one."""

    make: Callable[[Host, Names], None]
    remove: Callable[[Host, Names], None]
    owned: Callable[[Host], set[str]]


def _image(host: Host) -> Image:
    return host.images.get("busybox:latest")


def _with_volume(host: Host) -> Image:
    image = _image(host)
    return replace(image, config=replace(image.config, volumes=("/var/data",)))


def _spec(names: Names) -> ContainerSpec:
    return parse(
        {
            "id": names.id,
            "name": f"c-{names.id[:8]}",
            "image": "busybox:latest",
            "command": ["/bin/sleep", "600"],
            "nics": [],
        }
    )


def _put(host: Host, names: Names) -> None:
    image = _image(host)
    user = host.rootfs.user(names, "")
    host.records.put(
        names, image, host.oci(_spec(names), names, image.config, user, None), {"a": "b"}
    )


def _show(host: Host, names: Names) -> None:
    host.files.write(names, _spec(names), Facts())
    host.files.show(names)


def _unshow(host: Host, names: Names) -> None:
    host.files.unshow(names)
    host.files.remove(names)


def _nics(host: Host) -> list[Nic]:
    """An address of the network that the host has, whatever that is."""
    network = getattr(host.network, "_networks", {}).get("default")
    if network is None:
        return [Nic("default", "eth0", "02:00:00:00:00:09", "10.89.0.9", 16, "10.89.0.1")]
    nic: Nic = network.nic(str(network.router + 8), "02:00:00:00:00:09")
    return [nic]


KINDS = {
    "snapshot and lease": Kind(
        lambda host, names: host.rootfs.prepare(names, _image(host)),
        lambda host, names: rootfs.STEP.undo(host, names),
        lambda host: host.rootfs.owned(),
    ),
    "record": Kind(
        _put,
        lambda host, names: host.records.remove(names),
        lambda host: host.records.owned(),
    ),
    "network": Kind(
        lambda host, names: host.network.attach(names, _nics(host)),
        lambda host, names: host.network.detach(names),
        lambda host: host.network.owned(),
    ),
    "ports": Kind(
        lambda host, names: host.network.publish(
            names,
            [PublishedPort("tcp", "0.0.0.0", 39999, _nics(host)[0].address, 80)],
        ),
        lambda host, names: host.network.unpublish(names),
        lambda host: host.network.owned(),
    ),
    "anonymous volumes": Kind(
        lambda host, names: host.data.fill(names, _with_volume(host), []),
        lambda host, names: host.data.remove(names),
        lambda host: host.data.owned(),
    ),
    "secrets": Kind(
        lambda host, names: host.secrets.write(
            names, [SECRET], host.secrets.seal(names, [SECRET]), None
        ),
        lambda host, names: host.secrets.remove(names),
        lambda host: host.secrets.owned(),
    ),
    "user namespace": Kind(
        lambda host, names: host.users.make(names, Ids(1_000_000_000, 65536)),
        lambda host, names: host.users.remove(names),
        lambda host: host.users.owned(),
    ),
    "shown files": Kind(
        _show,
        _unshow,
        lambda host: host.files.owned(),
    ),
    "files": Kind(
        lambda host, names: host.files.write(names, _spec(names), Facts()),
        lambda host, names: host.files.remove(names),
        lambda host: host.files.owned(),
    ),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_removing_what_was_never_made_is_safe(host: Host, names: Names, kind: Kind) -> None:
    kind.remove(host, names)
    assert names.id not in kind.owned(host)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_made_twice_is_made_once_and_gone_at_once(host: Host, names: Names, kind: Kind) -> None:
    host.rootfs.prepare(names, _image(host))  # a record refers to a snapshot
    try:
        for _ in range(2):
            kind.make(host, names)
            assert names.id in kind.owned(host)
        for _ in range(2):
            kind.remove(host, names)
            assert names.id not in kind.owned(host)
        kind.make(host, names)
        kind.remove(host, names)
        assert names.id not in kind.owned(host)
    finally:
        host.records.remove(names)
        host.rootfs.remove(names)
        host.rootfs.release(names)


def test_images_by_name(host: Host) -> None:
    image = host.images.get("busybox")
    assert image.name == CANONICAL
    for name in ("busybox:latest", CANONICAL, f"busybox@{image.digest}"):
        assert host.images.get(name) == image
    assert CANONICAL in [image.name for image in host.images.list()]
    with pytest.raises(ImageNotFound) as caught:
        host.images.get("moon:latest")
    assert caught.value.object == "docker.io/library/moon:latest"


def test_a_bad_archive(host: Host, tmp_path: Path) -> None:
    archive = tmp_path / "bad.tar"
    archive.write_bytes(b"no tar at all")
    with pytest.raises(BadImage):
        host.images.load(archive, lambda names: nullcontext())


def test_an_image_that_is_unpacked_stays_so(host: Host) -> None:
    image = _image(host)
    host.images.unpack(image)
    nowhere = replace(image, chain_id=digest_of(b"nothing"), digest=digest_of(b"no content"))
    with pytest.raises(ImageNotFound):
        host.images.unpack(nowhere)


def test_an_image_is_held_for_a_container(host: Host, names: Names) -> None:
    image = _image(host)
    try:
        for _ in range(2):
            host.images.hold(names, image)
        assert names.id in host.rootfs.owned()
        host.rootfs.prepare(names, image)
    finally:
        rootfs.STEP.undo(host, names)
    assert names.id not in host.rootfs.owned()
    with pytest.raises(ImageNotFound):
        host.images.hold(names, replace(image, chain_id=digest_of(b"nothing")))
    rootfs.STEP.undo(host, names)


def test_one_more_name(host: Host) -> None:
    image, images = _image(host), host.images
    try:
        for _ in range(2):
            assert images.tag("busybox", "localhost/one:more").digest == image.digest
        assert images.get("localhost/one:more").name == "localhost/one:more"
        assert set(images.detail("busybox").names) == {CANONICAL, "localhost/one:more"}
    finally:
        images.remove("localhost/one:more")
    for call in (images.remove, images.get, images.detail, partial(images.tag, new="x")):
        with pytest.raises(ImageNotFound):
            call("localhost/one:more")
    assert images.get("busybox") == image


@dataclass(frozen=True)
class Here:
    """An image of the host itself as if it came from somewhere else."""

    host: Host
    key: str
    name: str = "localhost/copy:1"

    def open(self, watch: Watch) -> AbstractContextManager[Content]:
        return self.host.images.open("busybox")


KEYS = {"digest": "", "of its own": "glance:1:sha512:00"}


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_an_image_is_stored(host: Host, key: str) -> None:
    image, names = _image(host), ["localhost/copy:1", "localhost/copy:2"]
    progress = Progress("pull", 0.0, lambda: None)
    progress.enter("moving")
    try:
        for _ in range(2):
            made = host.images.store(Here(host, key or image.digest), progress, names)
            assert (made.name, made.digest, made.key) == (names[0], image.digest, key)
        assert [host.images.get(name).key for name in names] == [key, key]
        assert host.images.tag(names[0], "localhost/copy:3").key == key
        status = progress.status("it", 1)
        assert (status.digest, status.state) == (image.digest, "unpacking")
        assert (status.done, {one.state for one in status.layers}) == (status.total, {"done"})
        assert status.total > 0
    finally:
        for name in (*names, "localhost/copy:3"):
            host.images.remove(name)


def test_a_transfer_that_is_given_up_leaves_no_name(host: Host) -> None:
    def given_up() -> None:
        raise PullCancelled("cannot finish: the test says so")

    with pytest.raises(PullCancelled):
        host.images.store(
            Here(host, _image(host).digest), Progress("pull", 0.0, given_up), ["localhost/copy:1"]
        )
    with pytest.raises(ImageNotFound):
        host.images.get("localhost/copy:1")
    assert host.images.collect([]) == 0
    # What it shared with another is whole.
    host.images.store(
        Here(host, _image(host).digest), Progress("pull", 0.0, lambda: None), ["localhost/copy:1"]
    )
    host.images.remove("localhost/copy:1")


def test_saving(host: Host) -> None:
    assert sum(map(len, host.images.save(["busybox"]))) > 0
    with pytest.raises(ImageNotFound):
        list(host.images.save(["moon"]))


def _prepared(host: Host, names: Names) -> Context:
    """All that a task needs, and the context that knows of it."""
    spec = _spec(names)
    record = Record(
        spec=spec,
        generation=1,
        desired=Desired.RUNNING,
        desired_by="test",
        desired_at=0,
        state=State.CREATING,
        reason="",
        facts=Facts(image=_image(host)),
        created_at=0,
    )
    return Context(host, record)


def test_a_task_from_create_to_delete(host: Host, names: Names) -> None:
    tasks, ended = host.tasks, threading.Event()
    assert tasks.get(names).status is TaskStatus.ABSENT
    assert tasks.delete(names) is None
    tasks.kill(names, 15)
    context = _prepared(host, names)
    try:
        assert run([step for step in CREATE if step.name != "start"], context) is None
        assert tasks.get(names).status is TaskStatus.CREATED
        assert tasks.get(names).pid == context.record.facts.pid
        tasks.wait(names, ended.set)
        tasks.start(names)
        tasks.start(names)
        assert tasks.get(names).status is TaskStatus.RUNNING
        assert tasks.list()[names.id].status is TaskStatus.RUNNING
        for change, status in (
            (tasks.pause, TaskStatus.PAUSED),
            (tasks.resume, TaskStatus.RUNNING),
        ):
            for _ in range(2):
                change(names)
                assert tasks.get(names).status is status
        assert not ended.is_set()
        with pytest.raises(HostBusy):
            host.records.remove(names)
        tasks.kill(names, 9)
        assert ended.wait(10)
        assert tasks.get(names).status is TaskStatus.STOPPED
        end = tasks.delete(names)
        assert end is not None
        assert end.code == 128 + 9
        assert tasks.delete(names) is None
        assert tasks.get(names).status is TaskStatus.ABSENT
        assert names.id not in tasks.list()
    finally:
        assert unwind(CREATE, host, names) == ()


def test_waiting_for_what_is_not_there_ends(host: Host, names: Names) -> None:
    """On the fake nobody rings for it either way: lifecycle looks again on every tick."""
    rang = threading.Event()
    host.tasks.wait(names, rang.set)
    host.tasks.delete(names)
    assert rang.wait(10)


def test_every_step_done_twice_and_undone_twice(host: Host, names: Names) -> None:
    context = _prepared(host, names)
    try:
        assert run(CREATE, context) is None
        pid = context.record.facts.pid
        again = Context(host, context.record, adopting=True)
        assert run(CREATE, again) is None
        assert again.record.facts.pid == pid
    finally:
        for _ in range(2):
            assert unwind(CREATE, host, names) == ()
    owners = (host.rootfs, host.records, host.network, host.volumes, host.data, host.files)
    for owner in (*owners, host.cgroups):
        assert names.id not in owner.owned()
