"""Volumes as a user has them: filled, kept, lent, in use, lost to no crash; and hung ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from e2e.lab import Lab, code_of, running_lab, until
from e2e.probes import page_if_served
from host.fusekit import served
from longshore.bus.client import ComputeClient
from longshore.errors import (
    DeadlineExceeded,
    HostBusy,
    VolumeExists,
    VolumeInUse,
    VolumeNotFound,
)
from longshore.model.commit import Commit

_DEADLINE = 1.0
#: Removing them takes some 60 ms.
_FILES = 3000


@pytest.fixture(scope="module")
def node(containerd: PrivateContainerd) -> Iterator[Lab]:
    """A node whose file systems must answer soon, and that looks at everything often."""
    options = {"volumes.deadline": _DEADLINE, "converge.interval": 0.3}
    with running_lab(containerd, "volumes", options=options) as one:
        yield one


@pytest.fixture(autouse=True)
def emptied(node: Lab) -> Iterator[None]:
    yield
    node.agent.start()
    for container in reversed(node.client.list()):
        node.client.delete(container.id, force=True)
    for volume in node.client.list_volumes():
        node.client.remove_volume(volume.name)
    node.wait_clean()
    for folder in ("volumes", "data"):
        path = node.agent.state_dir / folder
        assert not path.exists() or os.listdir(path) == []
    assert node.client.node_status().converge.findings == ()


def said(node: Lab, id: str) -> str:
    return b"".join(chunk.data for chunk in node.client.logs(id)).decode()


def ended(node: Lab, id: str) -> bool:
    return node.client.show(id).state == "stopped"


def ran(node: Lab, script: str, **changes: Any) -> str:
    """What a container says that runs the script, and is gone then."""
    made = node.client.create(node.spec(command=["sh", "-c", script], **changes))
    until(partial(ended, node, made.id))
    try:
        return said(node, made.id)
    finally:
        node.client.delete(made.id)


def test_anonymous_ones_that_the_request_asks_for(node: Lab) -> None:
    """Filled by the image, kept over a stop, lent, and gone with the container."""
    mounts = [
        {"type": "volume", "target": "/mine"},
        {"type": "volume", "target": "/bin/bare", "copy_image": False},
    ]
    script = "echo x >> /mine/x; wc -l < /mine/x; ls /bin/bare"
    made = node.client.create(node.spec(command=["sh", "-c", script], mounts=mounts))
    until(partial(ended, node, made.id))
    node.client.start(made.id)
    until(lambda: said(node, made.id) == "1\n2\n")
    until(partial(ended, node, made.id))
    shown = [(one.type, one.source, one.target) for one in node.client.show(made.id).mounts]
    assert shown == [("anonymous", made.id, "/mine"), ("anonymous", made.id, "/bin/bare")]
    lent = [{"container": made.id}]
    assert ran(node, "wc -l < /mine/x", volumes_from=lent) == "2\n"


def test_content_outlives_containers(node: Lab) -> None:
    made = node.client.create_volume("pages", {"tier": "web"})
    assert node.client.create_volume("pages", {"tier": "web"}) == made
    with pytest.raises(VolumeExists):
        node.client.create_volume("pages")
    mounts = [{"type": "volume", "name": "pages", "target": "/www"}]
    # Filled from the image, and the container's to write.
    script = "ls /www; echo new > /www/new; echo own > /www/index.html; stat -c %a /www"
    assert ran(node, script, mounts=mounts).split() == ["index.html", "755"]
    assert sorted(os.listdir(made.path)) == ["index.html", "new"]
    # The next one finds what the last one left; and while it is there, the volume stays.
    reader = node.client.create(
        node.spec(
            mounts=[{**mounts[0], "read_only": True}, {**mounts[0], "target": "/again"}],
            ports=[{"container_port": 80}],
        )
    )
    where = ("127.0.0.1", reader.ports[0].host_port, "/new")
    assert until(partial(page_if_served, *where)) == b"new\n"
    assert node.client.show_volume("pages").used_by == (reader.name,)
    with pytest.raises(VolumeInUse) as error:
        node.client.remove_volume("pages")
    assert error.value.details == {"containers": [reader.name]}
    # Also while it is stopped, and after the agent has died.
    node.client.stop(reader.id, grace=0)
    node.agent.kill()
    node.agent.start()
    with pytest.raises(VolumeInUse):
        node.client.remove_volume("pages")
    node.client.start(reader.id)
    node.client.delete(reader.id, force=True)
    assert sorted(os.listdir(made.path)) == ["index.html", "new"]
    assert node.client.list_volumes() == [made]
    assert node.client.remove_volume("pages") == made
    assert not Path(made.path).exists()
    with pytest.raises(VolumeNotFound):
        node.client.remove_volume("pages")
    # Made anew by who names it, it has nothing of the old; not copied, nothing at all.
    assert ran(node, "ls /www", mounts=mounts) == "index.html\n"
    node.client.remove_volume("pages")
    assert ran(node, "ls /www", mounts=[{**mounts[0], "copy_image": False}]) == ""


def test_by_the_bus(lab: Lab, nodes: ComputeClient, clean: None) -> None:
    name = lab.agent.node
    made = nodes.create_volume(name, "by-bus", {"a": "b"})
    spec = lab.spec(mounts=[{"type": "volume", "name": "by-bus", "target": "/data"}])
    created = nodes.create(name, spec)
    assert [(one.type, one.source, one.target) for one in created.mounts] == [
        ("volume", "by-bus", "/data")
    ]
    assert nodes.list_volumes(name) == [nodes.show_volume(name, "by-bus")]
    with pytest.raises(VolumeInUse):
        nodes.remove_volume(name, "by-bus")
    nodes.delete(name, created.id, force=True)
    assert nodes.remove_volume(name, "by-bus") == made
    assert nodes.list_volumes(name) == []


def test_what_a_mount_asks_for_is_what_it_gets(node: Lab) -> None:
    source = node.volume("made") / "deep" / "er"
    mounts = [
        {
            "type": "bind",
            "source": str(source),
            "target": "/bind",
            "create": {"uid": 1000, "gid": 7, "mode": 0o751},
        },
        {
            "type": "bind",
            "source": str(source.parent),
            "target": "/ro",
            "read_only": True,
            "create": {},
        },
        {"type": "tmpfs", "target": "/run/it", "size": 65536, "mode": 0o710, "executable": True},
        {"type": "tmpfs", "target": "/not", "size": 65536},
    ]
    script = """
    stat -c '%n %a %u:%g' /bind /run/it /not
    touch /ro/x 2>&1 | cut -d: -f3
    for at in /run/it /not; do echo 'echo ran' > $at/x; chmod +x $at/x; $at/x 2>&1; done
    """
    assert ran(node, script, mounts=mounts).splitlines() == [
        "/bind 751 1000:7",
        "/run/it 710 0:0",
        "/not 1777 0:0",
        " Read-only file system",
        "ran",
        "sh: /not/x: Permission denied",
    ]
    # It stays, as what is in it would.
    assert (source.stat().st_uid, source.parent.stat().st_mode & 0o7777) == (1000, 0o751)


def test_volumes_of_another(node: Lab) -> None:
    base = node.client.create(node.spec(), start=False)
    node.client.commit(base.id, "lending:1", Commit(changes=("VOLUME /anon",)))
    bind = node.volume("bind")
    lender = node.client.create(
        node.spec(
            image="lending:1",
            command=["sh", "-c", "echo theirs > /anon/file; exec sleep 1000"],
            mounts=[
                {"type": "volume", "name": "shared", "target": "/shared"},
                {"type": "bind", "source": str(bind), "target": "/bind"},
            ],
        )
    )
    place = node.agent.state_dir / "data" / lender.id / "0" / "file"
    until(place.exists)
    script = "cat /anon/file; echo mine > /anon/file; touch /shared/x /bind/x; touch /anon/new"
    borrower = node.spec(command=["sh", "-c", script], volumes_from=[{"container": lender.name}])
    made = node.client.create(borrower)
    until(partial(ended, node, made.id))
    assert said(node, made.id) == "theirs\n"
    assert place.read_text() == "mine\n"
    assert (bind / "x").exists()
    assert {(one.type, one.source) for one in node.client.show(made.id).mounts} == {
        ("anonymous", lender.id),
        ("volume", "shared"),
        ("bind", str(bind)),
    }
    reading = [{"container": lender.name, "read_only": True}]
    refused = "touch /anon/y /shared/y /bind/y 2>&1 | grep -c Read-only"
    assert ran(node, refused, volumes_from=reading) == "3\n"
    # It stays as long as somebody has what would go with it.
    with pytest.raises(VolumeInUse) as error:
        node.client.delete(lender.id, force=True)
    assert error.value.details == {"containers": [made.name]}
    assert node.client.show(lender.id).state == "running"
    node.client.start(made.id)
    until(partial(ended, node, made.id))
    node.client.delete(made.id)
    node.client.delete(lender.id, force=True)
    assert not place.parent.exists()
    node.client.delete(base.id)
    node.client.remove_image("lending:1")


def test_a_removal_is_whole_or_not_begun(node: Lab) -> None:
    """The agent is killed in the midst of it, and started again; who asked asks again."""
    volumes = node.agent.state_dir / "volumes"
    made = node.client.create_volume("big")
    content = Path(made.path)
    for number in range(_FILES):
        (content / str(number)).touch()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(node.client.remove_volume, "big")
        while content.exists():
            time.sleep(0.0005)
        node.agent.kill()
        node.agent.start()
        assert answer.result() == made
    assert node.client.list_volumes() == []
    until(lambda: os.listdir(volumes) == [])
    until(lambda: node.client.node_status().converge.findings == ())
    # Its name is free, and what has it now is another one.
    assert os.listdir(node.client.create_volume("big").path) == []


def test_a_hung_file_system_holds_its_own_container_alone(node: Lab) -> None:
    source = node.volume("hung")
    others = node.volume("fine")
    hung = [{"type": "bind", "source": str(source), "target": "/data"}]
    fine = [{"type": "bind", "source": str(others), "target": "/data"}]
    with served(source) as fuse:
        # It answers: a container runs on it, another is made and not started.
        running = node.client.create(node.spec(mounts=hung, command=["sleep", "1000"]))
        waiting = node.client.create(node.spec(mounts=hung), start=False)
        fuse.silence()
        with ThreadPoolExecutor(2) as pool:
            late = pool.submit(node.client.start, waiting.id)
            assert fuse.held.wait(20)
            # Meanwhile another one comes and goes.
            for _ in range(2):
                other = node.client.create(node.spec(mounts=fine))
                assert other.state == "running"
                node.client.delete(other.id, force=True)
            with pytest.raises(DeadlineExceeded) as error:
                late.result()
            assert error.value.object == str(source)
            assert str(error.value) == f"cannot mount {source}: no answer in {_DEADLINE:g} s"
            assert error.value.hint == "the file system there does not answer"
        failed = node.client.show(waiting.id)
        assert failed.state == "error"
        assert failed.error is not None
        assert str(source) in failed.error.message
        # A new one is not even admitted.
        refused = node.spec(mounts=hung)
        with pytest.raises((DeadlineExceeded, HostBusy)) as said_no:
            node.client.create(refused)
        assert said_no.value.object == str(source)
        assert refused["id"] not in {one.id for one in node.client.list()}
        # And both are deleted while it is silent; nothing is left of them.
        for id in (running.id, waiting.id):
            assert node.client.delete(id, force=True).state == "absent"
        node.wait_clean()
    # Once those who were held have their error, all is as before.
    until(lambda: code_of(partial(node.client.create, node.spec(mounts=hung))) == "")
