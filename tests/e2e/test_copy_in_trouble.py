"""Copies against containers that are hostile, full, frozen or hung, and an agent that dies."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from e2e.lab import Lab, running_lab, until
from e2e.tars import content, member, out, packed, put
from host.fusekit import served
from longshore.errors import DeadlineExceeded, Exhausted, HostBusy, InvalidRequest, LongshoreError

FIRST, SIZE = 1_000_000_000, 65536
#: Swaps a folder for a link to where the node's own files are, and a file for a pipe, all the time.
_RACE = """
mkdir -p /r/real /r/links; ln -s / /r/links/root; ln -s ../../../../../../etc /r/links/etc
echo mine > /r/real/passwd; echo mine > /r/file; mkfifo /r/pipe; echo ready
while :; do
    mv /r/real /r/d; mv /r/d /r/real; ln -s /etc /r/d; rm /r/d
    mv /r/file /r/f; mv /r/f /r/file; mv /r/pipe /r/f; mv /r/f /r/pipe
    ln -s /proc/self/root/etc/passwd /r/f; rm /r/f; ln -s ../../../../../etc/passwd /r/f; rm /r/f
done
"""


@pytest.fixture(scope="module", params=["crun", "runc"])
def users(request: pytest.FixtureRequest, containerd: PrivateContainerd) -> Iterator[Lab]:
    options = {"containerd.runtime": request.param, "userns.first": FIRST, "userns.count": 2}
    with running_lab(containerd, f"copies-{request.param}", options=options) as lab:
        yield lab


def said(lab: Lab, id: str, word: str = "ready") -> None:
    until(lambda: word.encode() in b"".join(one.data for one in lab.client.logs(id)))


def test_numbers_of_a_user_namespace(users: Lab) -> None:
    """Inside, out of it and on the node's disk, of one that runs and of one that does not."""
    client, bind = users.client, users.volume("bind")
    os.chown(bind, 0, 0)
    spec = users.spec(
        command=["sh", "-c", "echo x > /own; chown 5:6 /own /home; echo ready; sleep 1000"],
        security={"user_namespace": True},
        mounts=[
            {"type": "bind", "source": str(bind), "target": "/bind"},
            {"type": "volume", "target": "/kept"},
            {"type": "tmpfs", "target": "/mem", "size": 2**20},
        ],
    )
    id = client.create(spec).id
    said(users, id)
    tar = packed(
        member("d", type=tarfile.DIRTYPE, uid=7, gid=8, mode=0o755),
        member("d/f", b"file", uid=1000, gid=SIZE - 1),
    )
    for runs in (True, False):
        own = out(client, id, "/own")["own"][0]
        assert (own.uid, own.gid) == (5, 6)
        page = out(client, id, "/www/index.html")["index.html"][0]
        assert (page.uid, page.gid) == (0, 0)
        for target in ("/home", "/bind", "/kept", "/mem")[: 4 if runs else 3]:
            put(client, id, target, tar, archive=True)
            back = out(client, id, f"{target}/d")
            assert (back["d"][0].uid, back["d"][0].gid) == (7, 8), target
            assert (back["d/f"][0].uid, back["d/f"][0].gid) == (1000, SIZE - 1), target
            put(client, id, target, packed(member("plain", b"x", uid=9)))
            assert out(client, id, f"{target}/plain")["plain"][0].uid == 0, target
        assert (bind / "d" / "f").stat().st_uid == 1000
        with pytest.raises(InvalidRequest, match="nobody there"):
            put(client, id, "/home", packed(member("f", b"x", uid=SIZE)), archive=True)
        told = {one.path: one.kind for one in client.diff(id)}
        assert (told["/own"], told["/home"], told["/home/d/f"]) == ("added", "changed", "added")
        assert not {path for path in told if path.startswith(("/bin", "/www", "/etc/passwd"))}
        client.stop(id, grace=0)
    client.start(id)
    said(users, id)
    assert content(client, id, "/home/plain") == b"x"
    client.delete(id, force=True)
    users.wait_clean()


@pytest.mark.usefixtures("clean")
def test_links_swapped_meanwhile(lab: Lab) -> None:
    """However often: never a file of the node's, and never a pipe that is waited for."""
    client = lab.client
    id = client.create(lab.spec(command=["sh", "-c", _RACE])).id
    said(lab, id)
    canary = Path("/etc/longshore-canary")
    assert not canary.exists()
    seen: set[bytes] = set()
    inside = {b"mine\n", content(client, id, "/etc/passwd"), b""}
    before = Path("/etc/passwd").read_bytes()
    for number in range(60):
        for path in ("/r", "/r/f", "/r/d/passwd"):
            try:
                seen |= {data for name, (_, data) in out(client, id, path).items() if data}
            except LongshoreError:
                continue
        tar = packed(member("longshore-canary", b"%d" % number), member("f", b"mine\n"))
        for path in ("/r/d", "/r", "/r/links/etc"):
            try:
                put(client, id, path, tar, replace=True)
            except LongshoreError:
                continue
    assert not canary.exists()
    assert Path("/etc/passwd").read_bytes() == before
    assert {one for one in seen if not one.isdigit()} <= inside
    client.delete(id, force=True)


@pytest.mark.usefixtures("clean")
def test_frozen(lab: Lab) -> None:
    client = lab.client
    id = client.create(lab.spec(command=["sleep", "1000"])).id
    lab.containerd.ctr("tasks", "pause", id, namespace=lab.namespace)
    try:
        put(client, id, "/tmp", packed(member("f", b"cold")))
        assert content(client, id, "/tmp/f") == b"cold"
        assert [one.path for one in client.diff(id)] == ["/tmp", "/tmp/f"]
    finally:
        lab.containerd.ctr("tasks", "resume", id, namespace=lab.namespace)
    client.delete(id, force=True)


@pytest.mark.usefixtures("clean")
def test_a_hung_mount_holds_up_its_own_copy_alone(lab: Lab) -> None:
    """Others of the same container, its stop and its removal are not held up."""
    client, source = lab.client, lab.volume("hung")
    with served(source) as fuse:
        mounts = [{"type": "bind", "source": str(source), "target": "/hung"}]
        id = client.create(lab.spec(command=["sleep", "1000"], mounts=mounts)).id
        fuse.silence()
        with ThreadPoolExecutor(2) as pool:
            held: list[Future[Any]] = [
                pool.submit(out, client, id, "/hung/there"),
                pool.submit(put, client, id, "/hung", packed(member("f", b"x"))),
            ]
            assert fuse.held.wait(20)
            put(client, id, "/tmp", packed(member("f", b"x")))
            assert content(client, id, "/tmp/f") == b"x"
            assert client.stop(id, grace=0).state == "stopped"
            for one in held:
                assert isinstance(one.exception(60), (DeadlineExceeded, HostBusy))
    client.delete(id, force=True)


@pytest.mark.usefixtures("clean")
def test_the_agent_dies_in_the_midst(lab: Lab) -> None:
    """No mount, no spooled tar and no half-written file stay; asked again, it is done."""
    client = lab.client
    id = client.create(lab.spec(command=["sleep", "1000"])).id
    for state in ("running", "stopped"):
        big = packed(
            *(member(f"{state}/{number}", bytes([number]) * 2**20) for number in range(1, 120))
        )
        with ThreadPoolExecutor(1) as pool:
            begun = threading.Event()

            def pieces(begun: threading.Event = begun, big: bytes = big) -> Iterator[bytes]:
                for at in range(0, len(big), 2**20):
                    yield big[at : at + 2**20]
                begun.set()

            cut = pool.submit(client.copy_in, id, "/tmp", pieces, repeatable=False)
            assert begun.wait(60)
            until(partial(_begun, lab, state))
            lab.agent.kill()
            cut.exception(60)
        lab.agent.start()
        assert list((lab.agent.state_dir / "spool").iterdir()) == []
        found = out(client, id, "/tmp")
        assert not [name for name in found if ".longshore-" in name]
        assert put(client, id, "/tmp", big) == 119
        assert content(client, id, f"/tmp/{state}/119") == bytes([119]) * 2**20
        client.stop(id, grace=0)
    client.delete(id, force=True)


def _begun(lab: Lab, folder: str) -> bool:
    """Whether something of it is in the container's layer on the node's disk."""
    snapshots = lab.containerd.home / "root/io.containerd.snapshotter.v1.overlayfs/snapshots"
    return any(snapshots.glob(f"*/fs/tmp/{folder}/*"))


@pytest.mark.usefixtures("clean")
def test_a_full_file_system(lab: Lab) -> None:
    client = lab.client
    mounts = [{"type": "tmpfs", "target": "/mem", "size": 2**20}]
    id = client.create(lab.spec(command=["sleep", "1000"], mounts=mounts)).id
    with pytest.raises(Exhausted, match="No space left"):
        put(client, id, "/mem", packed(member("f", b"x" * 2**21)))
    assert out(client, id, "/mem").keys() == {"mem"}
    put(client, id, "/mem", packed(member("holes", bytes(2**21))))
    assert out(client, id, "/mem/holes")["holes"][0].size == 2**21
    client.delete(id, force=True)
