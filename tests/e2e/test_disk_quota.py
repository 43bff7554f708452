"""limits.disk on a real btrfs: who fills it, who does not, and what is left of it afterwards."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.lab import mounts
from bench.lab.containerd import PrivateContainerd
from bench.lab.disk import disk
from bench.lab.host import Scope, audit
from e2e import faulty_agent
from e2e.faulty_agent import Fault, order
from e2e.filling import MIB, SIZE, fills_its_own_alone, load_big, told
from e2e.lab import Lab, running_lab, until
from e2e.tars import content, member, out, packed, put
from fields.proofs import proves
from longshore.errors import Exhausted, InvalidSpec
from longshore.model.commit import Commit


@dataclass(frozen=True)
class Node:
    """A node whose containerd is on a btrfs, at `disk`; `faults`: see faulty_agent.py."""

    lab: Lab
    disk: Path
    faults: Path

    def left(self) -> list[str]:
        """Snapshots of containers, and quota groups of nothing, as btrfs itself lists them."""
        # The kernel removes what deleted subvolumes have in the course of its transactions.
        _run("btrfs", "filesystem", "sync", self.disk)
        listed = _run("btrfs", "subvolume", "list", self.disk)
        there = {f"0/{number}" for number in re.findall(r"^ID (\d+)", listed, re.MULTILINE)}
        groups = re.findall(r"^(\d+/\d+)", _run("btrfs", "qgroup", "show", self.disk), re.MULTILINE)
        return [
            *re.findall(r"\S+/active/\d+", listed),
            *(group for group in groups if group not in there | {"0/5"}),
        ]

    def wait_clean(self) -> None:
        self.lab.wait_clean()
        until(lambda: self.left() == [])


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    folder = Path(tempfile.mkdtemp(prefix="lsb-"))
    containerd = PrivateContainerd(folder, btrfs=True)
    if mounts.hybrid():
        mounts.share(folder)  # later it would hide the disk
    options = {"containerd.snapshotter": "btrfs", "converge.interval": 0.3}
    program = (Path(faulty_agent.__file__), folder / "faults")
    try:
        with (
            disk(containerd.home / "root", 256 * MIB) as at,
            containerd,
            running_lab(containerd, "b", options=options, program=program) as lab,
        ):
            load_big(lab)
            yield Node(lab, at, folder / "faults")
    finally:
        mounts.unmount_all(folder)
        assert audit(Scope([folder], ids=[])) == []
        shutil.rmtree(folder)


@proves("limits.disk", back="what a container could write, and the quota group's limit")
def test_a_container_fills_its_own_disk_alone(node: Node) -> None:
    lab = node.lab
    status = lab.client.node_status()
    assert status.snapshotter == "btrfs"
    assert "limits.disk" not in {one.feature for one in status.cannot}
    hog, why = fills_its_own_alone(lab)
    assert why == "Disk quota exceeded"
    # Another life of the same container is held to the same.
    lab.client.stop(hog.id, grace=0)
    again = lab.client.start(hog.id)
    assert again.limits is not None
    assert again.limits.disk == SIZE
    lab.client.delete(hog.id, force=True)
    node.wait_clean()


def test_commit_and_anonymous_volumes(node: Node) -> None:
    lab = node.lab
    command = ["sh", "-c", "mkdir /kept && echo kept >/kept/file && echo made; exec sleep 600"]
    base = lab.client.create(lab.spec(command=command, nics=[]))
    until(lambda: told(lab, base))
    lab.client.commit(base.id, "made:1", Commit(changes=["VOLUME /kept"]))
    command = ["sh", "-c", "cat /kept/file; grep -c ' /kept ' /proc/mounts; exec sleep 600"]
    made = lab.client.create(lab.spec(image="made:1", command=command, nics=[]))
    until(lambda: told(lab, made).count("\n") == 2)
    assert told(lab, made) == "kept\n1\n"
    lab.delete_all()
    lab.client.remove_image("made:1")
    lab.client.prune_images()
    node.wait_clean()


@pytest.mark.parametrize(("step", "when"), [("disk", "after")])
def test_kill_9_in_a_create(node: Node, step: str, when: str) -> None:
    """The next agent goes on with it, under the same limit."""
    lab = node.lab
    spec = lab.spec(limits={"disk": SIZE}, nics=[])
    order(node.faults, [Fault(step, "do", when, "kill", once=True)])
    status = _through_death(lab, spec)
    assert status.state == "running"
    assert status.limits.disk == SIZE
    lab.client.delete(spec["id"], force=True)
    node.wait_clean()


@pytest.mark.parametrize(("step", "when"), [("disk", "after"), ("rootfs", "after")])
def test_kill_9_in_a_delete(node: Node, step: str, when: str) -> None:
    """The next agent goes on with it, unasked; no quota group stays."""
    lab = node.lab
    spec = lab.spec(limits={"disk": SIZE}, nics=[])
    lab.client.create(spec)
    order(node.faults, [Fault(step, "undo", when, "kill", once=True)])
    lab.client.delete(spec["id"], force=True, wait="accepted")
    until(lambda: lab.agent.running() is None)
    lab.agent.start()
    node.wait_clean()


@pytest.mark.usefixtures("clean")
def test_a_node_without_quota_refuses(lab: Lab) -> None:
    """In the words of its status."""
    (why,) = [one.why for one in lab.client.node_status().cannot if one.feature == "limits.disk"]
    with pytest.raises(InvalidSpec, match=re.escape(why)) as caught:
        lab.client.create(lab.spec(limits={"disk": SIZE}))
    assert caught.value.field == "limits.disk"


def _through_death(lab: Lab, spec: dict[str, Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lab.client.create, spec)
        until(lambda: answer.done() or lab.agent.running() is None)
        assert lab.agent.running() is None, f"nobody died: {answer.result()}"
        lab.agent.start()
        return answer.result()


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_copies_are_held_to_it_too(node: Node) -> None:
    """Of one that runs and one that does not; and what differs where a layer is a whole tree."""
    client = node.lab.client
    script = "rm /etc/group; echo x > /made; chmod 700 /home; echo ready; sleep 1000"
    limits = {"disk": SIZE}
    id = client.create(node.lab.spec(command=["sh", "-c", script], limits=limits)).id
    until(lambda: b"ready" in b"".join(one.data for one in client.logs(id)))
    for _ in ("running", "stopped"):
        with pytest.raises(Exhausted):
            put(client, id, "/tmp", packed(member("big", b"x" * 2 * SIZE)))
        assert "tmp/big" not in out(client, id, "/tmp")
        put(client, id, "/tmp", packed(member("small", b"y")))
        assert content(client, id, "/tmp/small") == b"y"
        assert [(one.path, one.kind) for one in client.diff(id)] == [
            ("/etc", "changed"),
            ("/etc/group", "deleted"),
            ("/home", "changed"),
            ("/made", "added"),
            ("/tmp", "changed"),
            ("/tmp/small", "added"),
        ]
        client.stop(id, grace=0)
    client.delete(id, force=True)
    node.wait_clean()
