"""Files copied out of real containers and into them, and what they have changed."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from e2e.lab import Lab, until
from e2e.tars import content, member, out, packed, put
from longshore.bus.client import ComputeClient
from longshore.errors import (
    Conflict,
    IllegalTransition,
    InvalidRequest,
    MessageTooLarge,
    PathNotFound,
    RequestConflict,
)
from longshore.model.copy_messages import TAR_MAX

pytestmark = pytest.mark.usefixtures("clean")

_MAKE = """
mkdir /data /data/deep; echo hi > /data/x; ln /data/x /data/y; ln -s /etc/passwd /data/link
mkfifo /data/pipe; chown 7:8 /data/x; chmod 4750 /data/x; echo low > /data/deep/low
echo tmp > /mem/t; echo kept > /named/k; echo bound > /bind/b; rm /etc/group; echo ready
"""


def said(lab: Lab, id: str, word: str = "ready") -> None:
    until(lambda: word.encode() in b"".join(one.data for one in lab.client.logs(id)))


@pytest.fixture
def container(lab: Lab) -> Iterator[str]:
    """One with files of all kinds, and with mounts of all kinds."""
    mounts = [
        {"type": "volume", "name": "copied", "target": "/named"},
        {"type": "volume", "target": "/anonymous"},
        {"type": "bind", "source": str(lab.volume("bound")), "target": "/bind"},
        {"type": "tmpfs", "target": "/mem", "size": 2**20},
    ]
    command = ["sh", "-c", f"{_MAKE} exec sleep 1000"]
    id = lab.client.create(lab.spec(command=command, mounts=mounts)).id
    said(lab, id)
    yield id
    lab.client.delete(id, force=True)
    lab.client.remove_volume("copied")


def test_out_and_in_again(lab: Lab, container: str) -> None:
    """Running and stopped, with all that a tar can say of a file."""
    client = lab.client
    tar = packed(
        member("d", type=tarfile.DIRTYPE, mode=0o1750, uid=5, gid=6, mtime=77),
        member("d/a", b"hello", uid=7, gid=8, mode=0o4755, mtime=1000),
        member("d/h", type=tarfile.LNKTYPE, linkname="d/a"),
        member("d/s", type=tarfile.SYMTYPE, linkname="../../nowhere", uid=9, gid=9),
        member("d/" + "n" * 200, b"long"),
        member("d/hole", bytes(3 * 2**20)),
    )
    for runs in (True, False):
        found = out(client, container, "/data")
        assert (found["data/x"][0].uid, found["data/x"][0].gid) == (7, 8)
        assert stat.S_IMODE(found["data/x"][0].mode) == 0o4750
        assert (found["data/x"][1], found["data/y"][1]) == (b"hi\n", b"hi\n")
        assert {found["data/x"][0].islnk(), found["data/y"][0].islnk()} == {True, False}
        assert found["data/link"][0].linkname == "/etc/passwd"
        assert found["data/pipe"][0].isfifo()
        assert found["data/deep/low"][1] == b"low\n"
        into = f"/data/deep/{runs}"
        assert put(client, container, "/data/deep", packed(member(f"{runs}/own", b"o"))) == 1
        assert put(client, container, into, tar, archive=True) == 6
        back = out(client, container, f"{into}/d")
        top, file = back["d"][0], back["d/a"][0] if back["d/a"][0].isreg() else back["d/h"][0]
        assert (top.uid, top.gid, top.mode, top.mtime) == (5, 6, 0o1750, 77)
        assert (file.uid, file.gid, file.mode, file.mtime, file.size) == (7, 8, 0o4755, 1000, 5)
        assert (back["d/s"][0].linkname, back["d/s"][0].uid) == ("../../nowhere", 9)
        assert back["d/" + "n" * 200][1] == b"long"
        assert back["d/hole"][1] == bytes(3 * 2**20)
        client.stop(container, grace=0)
    client.start(container)
    own = out(client, container, "/data/deep/False/own")["own"][0]
    assert (own.uid, own.gid) == (0, 0)


def test_mounts_are_seen(lab: Lab, container: str) -> None:
    """In memory alone is what only a process sees; the rest is there without one, too."""
    client = lab.client
    assert content(client, container, "/mem/t") == b"tmp\n"
    for runs in (True, False):
        assert content(client, container, "/named/k") == b"kept\n"
        assert content(client, container, "/bind/b") == b"bound\n"
        for target in ("/named", "/bind", "/anonymous"):
            put(client, container, target, packed(member(f"from-{runs}", b"in")))
            assert content(client, container, f"{target}/from-{runs}") == b"in"
        assert (lab.agent.volumes / "bound" / f"from-{runs}").read_bytes() == b"in"
        client.stop(container, grace=0)
    assert out(client, container, "/mem").keys() == {"mem"}
    client.start(container)
    assert content(client, container, "/anonymous/from-False") == b"in"


def test_one_that_never_ran(lab: Lab) -> None:
    client = lab.client
    spec = lab.spec(
        command=["sh", "-c", "cat /conf; cat /kept/k; echo ready; sleep 1000"],
        user="app",
        mounts=[{"type": "volume", "target": "/kept"}],
        hosts={"db": "192.0.2.9"},
    )
    id = client.create(spec, start=False).id
    assert put(client, id, "/", packed(member("conf", b"set\n"))) == 1
    assert put(client, id, "/kept", packed(member("k", b"kept\n"))) == 1
    assert out(client, id, "/conf")["conf"][0].uid == 1000
    assert [(one.path, one.kind) for one in client.diff(id)] == [("/conf", "added")]
    client.start(id)
    said(lab, id)
    assert b"".join(one.data for one in client.logs(id)) == b"set\nkept\nready\n"
    client.delete(id, force=True)


def test_a_file_that_is_mounted_is_written_to(lab: Lab, container: str) -> None:
    put(lab.client, container, "/etc", packed(member("hosts", b"192.0.2.1 other\n")))
    assert content(lab.client, container, "/etc/hosts") == b"192.0.2.1 other\n"


def test_what_is_refused(lab: Lab, container: str) -> None:
    """By the agent, before anything is written, and by the container as it is."""
    client, fine = lab.client, member("fine", b"x")
    hostile = {
        "leads out": [member("../out", b"x")],
        "leads out of it": [member("/etc/passwd", b"x")],
        "is a device": [member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        "a link of its own": [
            member("l", type=tarfile.SYMTYPE, linkname="/etc"),
            member("l/passwd", b"x"),
        ],
        "'../x' leads out": [member("h", type=tarfile.LNKTYPE, linkname="../x")],
    }
    for why, members in hostile.items():
        with pytest.raises(InvalidRequest, match=why):
            put(client, container, "/data/deep", packed(fine, *members))
    whole = packed(fine, member("cut", bytes(5000)))
    for tar in (whole[:2500], b"no tar" * 1000, b""):
        with pytest.raises(InvalidRequest):
            put(client, container, "/data/deep", tar)
    assert out(client, container, "/data/deep").keys() == {"deep", "deep/low"}
    for path in ("/proc/1", "/proc", "/sys/kernel", "/dev/pts"):
        with pytest.raises(InvalidRequest, match="kernel's own"):
            client.copy_out(container, path)
        with pytest.raises(InvalidRequest, match="kernel's own"):
            put(client, container, path, packed(fine))
    for path in ("/nowhere", "/data/x/y", "/proc/self/root/etc"):
        with pytest.raises(PathNotFound):
            client.copy_out(container, path)
    with pytest.raises(PathNotFound):
        put(client, container, "/data/x", packed(fine))
    with pytest.raises(Conflict, match="is a folder"):
        put(client, container, "/data", packed(member("deep", b"file")))
    with pytest.raises(Conflict, match="is no folder"):
        put(client, container, "/data", packed(member("y", type=tarfile.DIRTYPE)))
    replaced = packed(member("deep", b"file"), member("y", type=tarfile.DIRTYPE, mode=0o755))
    assert put(client, container, "/data", replaced, replace=True) == 2
    assert content(client, container, "/data/deep") == b"file"
    assert out(client, container, "/data/y")["y"][0].isdir()


def test_a_read_only_root_takes_files_in_volumes_alone(lab: Lab) -> None:
    client = lab.client
    spec = lab.spec(
        command=["sleep", "1000"],
        security={"read_only_rootfs": True},
        mounts=[{"type": "volume", "target": "/kept"}],
    )
    id = client.create(spec).id
    for _ in ("running", "stopped"):
        with pytest.raises(Conflict, match="ead-only"):
            put(client, id, "/tmp", packed(member("f", b"x")))
        assert put(client, id, "/kept", packed(member("f", b"x"))) == 1
        client.stop(id, grace=0)
    client.delete(id, force=True)


def test_what_it_has_changed(lab: Lab, container: str) -> None:
    client = lab.client
    said_so = {one.path: one.kind for one in client.diff(container)}
    assert said_so["/etc"] == "changed"
    assert said_so["/etc/group"] == "deleted"
    assert said_so["/data/deep/low"] == "added"
    # The places that were made to mount on are no change of anybody's.
    gone = ("/named", "/bind", "/mem", "/anonymous", "/etc/hosts", "/dev")
    assert not {path for path in said_so if path.startswith(gone)}
    client.stop(container, grace=0)
    assert {one.path: one.kind for one in client.diff(container)} == said_so
    assert [one.path for one in client.diff(container)] == sorted(said_so)


def test_the_same_request_is_done_once(lab: Lab, container: str, nodes: ComputeClient) -> None:
    """Over both doors; another tar under the same id is another request."""
    client, id, node = lab.client, str(uuid4()), lab.agent.node
    tar = packed(member("once", b"1"))
    assert put(client, container, "/tmp", tar, request_id=id) == 1
    put(client, container, "/tmp", packed(member("once", b"2")))
    lab.agent.kill()
    lab.agent.start()
    assert put(client, container, "/tmp", tar, request_id=id) == 1
    assert nodes.copy_in(node, container, "/tmp", tar, request_id=id) == 1
    status, back = nodes.copy_out(node, container, "/tmp/once")
    assert (status.name, status.size) == ("once", 1)
    assert b"2" in back
    with pytest.raises(RequestConflict):
        nodes.copy_in(node, container, "/tmp", packed(member("once", b"3")), request_id=id)
    assert nodes.diff(node, container) == client.diff(container)
    with pytest.raises(MessageTooLarge, match="above"):
        nodes.copy_out(node, container, "/bin")
    with pytest.raises(InvalidRequest, match="tar"):
        nodes.copy_in(node, container, "/tmp", bytes(TAR_MAX + 1))


def test_of_one_that_is_gone(lab: Lab) -> None:
    failed = lab.spec(command=["sleep", "1"], user="nobody-of-that-name")
    with pytest.raises(Exception, match="user"):
        lab.client.create(failed)
    with pytest.raises(IllegalTransition, match="it is failed"):
        lab.client.copy_out(failed["id"], "/")
    with pytest.raises(IllegalTransition, match="it is failed"):
        lab.client.diff(failed["id"])
    lab.client.delete(failed["id"])


def test_nothing_is_left(lab: Lab, container: str) -> None:
    """No descriptor, no thread, no mount, also of those that nobody reads to the end."""
    client = lab.client

    def held() -> tuple[int, int]:
        pid = lab.agent.pid
        return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))

    def no_more(descriptors: int, threads: int) -> bool:
        now = held()
        return now[0] <= descriptors and now[1] <= threads

    def some() -> None:
        for path in ("/bin", "/data", "/nowhere"):
            try:
                _, pieces = client.copy_out(container, path)
                next(pieces)
                pieces.close()
            except PathNotFound:
                assert path == "/nowhere"
            put(client, container, "/tmp", packed(member("f", b"x")))

    for _ in ("running", "stopped"):
        some()
        before = held()
        for _ in range(10):
            some()
        # Threads that serve calls come as they are needed, and stay.
        until(partial(no_more, before[0], before[1] + 4))
        client.stop(container, grace=0)
    assert str(lab.agent.state_dir / "spool") not in Path("/proc/self/mountinfo").read_text()
