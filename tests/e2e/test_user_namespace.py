"""Containers whose root is nobody on the node, by both runtimes, looked at from outside."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import PAGE
from e2e.lab import Lab, free_port, running_lab, until
from e2e.probes import page_if_served
from fields.proofs import proves
from longshore.errors import Exhausted, InvalidSpec
from longshore.model.commit import Commit
from longshore.model.status import ContainerStatus

FIRST, SIZE = 1_000_000_000, 65536
REMAPPED = {"user_namespace": True}
#: What a root that is one does, and what it sees: one line each.
_SCRIPT = """
echo "uid $(id -u) groups $(id -G)"
echo "host $(hostname) ping $(ping -c 1 -W 2 127.0.0.1 >/dev/null && echo yes)"
echo "sysctl $(cat /proc/sys/net/core/somaxconn) $(cat /proc/sys/net/ipv4/ping_group_range)"
for f in /etc/hosts /www/index.html /home/app /bind/app /named /kept /conf /run/secrets/word; do
    echo "owner $f $(stat -c %u:%g $f)"
done
echo "read $(cat /conf) $(cat /run/secrets/word)"
echo mine > /made-inside; chown 1000:2000 /made-inside
for f in /bind/new /named/new /kept/new; do echo new > $f; chown 7:8 $f; done
echo 10.0.0.1 more >> /etc/hosts; echo "hosts $?"
chmod 600 /dev/null 2>/dev/null || echo "the node's /dev/null is not ours"
chown 1000 /sys 2>/dev/null || echo "nor is /sys"
echo told
exec httpd -f -p 80 -h /www
"""


@pytest.fixture(scope="module", params=["crun", "runc"])
def users(request: pytest.FixtureRequest, containerd: PrivateContainerd) -> Iterator[Lab]:
    options = {
        "containerd.runtime": request.param,
        "userns.first": FIRST,
        "userns.count": 2,
        "policy.allowed_capabilities": "ALL",
    }
    with running_lab(containerd, f"users-{request.param}", options=options) as lab:
        yield lab


@pytest.fixture(autouse=True)
def _clean(users: Lab) -> Iterator[None]:
    yield
    users.agent.start()
    users.delete_all()
    for volume in users.client.list_volumes():
        users.client.remove_volume(volume.name)
    users.wait_clean()
    assert os.stat("/dev/null").st_uid == 0


def told(lab: Lab, id: str) -> list[str]:
    """What the script says, once it has said all."""

    def said() -> list[str]:
        text = b"".join(one.data for one in lab.client.logs(id)).decode()
        return text.splitlines() if "told\n" in text else []

    return until(said)


def made(lab: Lab, name: str) -> list[tuple[int, int]]:
    """Owners of the files of that name in containers' own layers, on the node's disk."""
    snapshots = lab.containerd.home / "root/io.containerd.snapshotter.v1.overlayfs/snapshots"
    found = [path.lstat() for path in snapshots.glob(f"*/fs/{name}")]
    return [(one.st_uid, one.st_gid) for one in found]


def with_volume(lab: Lab) -> str:
    """An image that declares a volume, in which something is app's."""
    base = lab.client.create(lab.spec(command=["sh", "-c", "mkdir /kept; chown 1000 /kept"]))
    until(lambda: lab.client.show(base.id).finished_at)
    lab.client.commit(base.id, "kept:1", Commit(changes=("VOLUME /kept",)))
    lab.client.delete(base.id, force=True)
    return "kept:1"


def maps(status: ContainerStatus) -> set[str]:
    return {
        " ".join(Path(f"/proc/{status.pid}/{kind}_map").read_text().split())
        for kind in ("uid", "gid")
    }


@proves("security.user_namespace", back="owners on the node of its process and its files")
def test_root_inside_is_nobody_outside(users: Lab) -> None:
    bind, port = users.volume("bind"), free_port()
    for name, owner in (("app", 1000), ("other", 5)):
        (bind / name).touch()
        os.chown(bind / name, owner, owner)
    spec: dict[str, Any] = users.spec(
        image=with_volume(users),
        command=["sh", "-c", _SCRIPT],
        groups=["extra"],
        hostname="inner",
        ports=[{"container_port": 80, "host_port": port}],
        security={**REMAPPED, "sysctls": {"net.core.somaxconn": "77"}},
        mounts=[
            {"type": "bind", "source": str(bind), "target": "/bind"},
            {"type": "volume", "name": "named", "target": "/named"},
        ],
        files=[{"target": "/conf", "content": "conf", "uid": 1000, "gid": 1000}],
        secrets=[{"name": "word", "value": "sesame", "uid": 1000}],
    )
    status = users.client.create(spec)
    assert status.ids is not None
    first = status.ids.first
    assert (first in (FIRST, FIRST + SIZE), status.ids.size) == (True, SIZE)
    assert told(users, status.id) == [
        "uid 0 groups 0 2000",
        "host inner ping yes",
        f"sysctl 77 0\t{SIZE - 1}",
        "owner /etc/hosts 0:0",
        "owner /www/index.html 0:0",
        "owner /home/app 1000:1000",
        "owner /bind/app 1000:1000",
        "owner /named 0:0",
        "owner /kept 1000:0",
        "owner /conf 1000:1000",
        "owner /run/secrets/word 1000:0",
        "read conf sesame",
        "hosts 0",
        "the node's /dev/null is not ours",
        "nor is /sys",
        "told",
    ]
    # The proof: whose the process and its file are for the node.
    assert maps(status) == {f"0 {first} {SIZE}"}
    assert os.stat(f"/proc/{status.pid}").st_uid == first
    assert made(users, "made-inside") == [(first + 1000, first + 2000)]
    # What outlives the container keeps the container's numbers, for whoever has it next.
    state = users.agent.state_dir
    (kept,) = (state / "data" / status.id).glob("*/new")
    for path in (bind / "new", state / "volumes/named/data/new", kept):
        assert (path.stat().st_uid, path.stat().st_gid) == (7, 8)
    # The image is what it was.
    assert set(made(users, "www/index.html")) == {(0, 0)}
    until(lambda: page_if_served("127.0.0.1", port) == PAGE)
    # The network namespace is the container's own to configure.
    assert (
        os.stat(f"/proc/{status.pid}/ns/net").st_ino
        == os.stat(users.agent.run_dir / "netns" / status.id).st_ino
    )
    again = users.client.create(users.spec(image="kept:1", security=REMAPPED))
    assert again.ids is not None
    assert {first, again.ids.first} == {FIRST, FIRST + SIZE}
    with pytest.raises(Exhausted, match="all 2 ranges") as full:
        users.client.create(users.spec(security=REMAPPED))
    assert full.value.field == "security.user_namespace"
    plain = users.client.create(users.spec())
    assert (plain.ids, maps(plain)) == (None, {"0 0 4294967295"})
    users.client.delete(status.id, force=True)
    third = users.client.create(users.spec(security=REMAPPED))
    assert third.ids is not None
    assert third.ids.first == first


def test_it_outlives_its_agent_and_its_own_stop(users: Lab) -> None:
    script = "echo >> /starts; chown 5 /starts; exec sleep 1000"
    spec = users.spec(command=["sh", "-c", script], security=REMAPPED, stop_grace=0)
    status = users.client.create(spec)
    assert status.ids is not None
    owner = [(status.ids.first + 5, status.ids.first)]
    until(lambda: made(users, "starts") == owner)
    users.agent.kill()
    users.agent.start()
    seen = users.client.show(status.id)
    assert (seen.state, seen.pid, seen.ids) == ("running", status.pid, status.ids)
    stopped = users.client.stop(status.id)
    assert stopped.ids == status.ids
    assert list((users.agent.run_dir / "userns").iterdir()) == []
    # What the agent had bound is gone with a reboot; so it is here.
    again = users.client.start(status.id)
    assert (again.state, again.ids) == ("running", status.ids)
    assert maps(again) == {f"0 {status.ids.first} {SIZE}"}
    until(lambda: made(users, "starts") == owner)


def test_an_image_of_it_has_the_containers_numbers(users: Lab) -> None:
    script = (
        "mkdir /mine; echo x > /mine/root; echo y > /mine/app; chown 1000:2000 /mine/app;"
        "chown 33 /www; exec sleep 1000"
    )
    status = users.client.create(users.spec(command=["sh", "-c", script], security=REMAPPED))
    until(lambda: made(users, "mine/app"))
    until(lambda: {1000, FIRST + 33, FIRST + SIZE + 33} & {uid for uid, _ in made(users, "www")})
    users.client.commit(status.id, "committed:1")
    show = "stat -c '%n %u:%g' /mine /mine/root /mine/app /www /etc; echo told; exec sleep 1000"
    for security in ({}, REMAPPED):
        other = users.client.create(
            users.spec(image="committed:1", command=["sh", "-c", show], security=security)
        )
        assert told(users, other.id)[:-1] == [
            "/mine 0:0",
            "/mine/root 0:0",
            "/mine/app 1000:2000",
            "/www 33:0",
            "/etc 0:0",
        ]


def test_all_capabilities_are_so_inside_alone(users: Lab) -> None:
    """Of its own namespaces it is the master, of the node's things it is not."""
    script = r"""
    mount -t tmpfs none /tmp && echo mounted; ip link set lo mtu 1400 && echo "network set"
    mknod /device c 1 3 2>/dev/null || echo no device
    mount -o remount,bind,rw /proc/sys && (cat /proc/sys/kernel/panic > /proc/sys/kernel/panic) \
        2>/dev/null || echo no kernel
    touch /made 2>/dev/null || echo root is read-only
    touch /memory/made && stat -c %u:%g /memory/made
    chmod 600 /dev/null /dev/zero /dev/tty 2>/dev/null || echo no chmod
    echo told; exec sleep 1000
    """
    status = users.client.create(
        users.spec(
            command=["sh", "-c", script],
            security={**REMAPPED, "cap_add": ["ALL"], "read_only_rootfs": True},
            mounts=[{"type": "tmpfs", "target": "/memory", "size": 2**20}],
        )
    )
    assert told(users, status.id) == [
        "mounted",
        "network set",
        "no device",
        "no kernel",
        "root is read-only",
        "0:0",
        "no chmod",
        "told",
    ]


def test_a_user_that_the_range_has_not(users: Lab) -> None:
    with pytest.raises(InvalidSpec, match=f"user: its user namespace has {SIZE}"):
        users.client.create(users.spec(user=str(SIZE), security=REMAPPED))
    assert users.client.create(users.spec(user=str(SIZE - 1), security=REMAPPED)).ids is not None


def test_a_source_that_the_node_itself_does_not_trust(users: Lab) -> None:
    """What its mount forbids stays forbidden, read-only or not, and mounting it does not fail."""
    forbids = {"nosuid", "nodev", "noexec"}
    source = users.volume("careful")
    options = ",".join(["size=1m", *forbids])
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "x", source], check=True)
    try:
        mounts = [
            {"type": "bind", "source": str(source), "target": f"/{name}", "read_only": ro}
            for name, ro in (("ro", True), ("rw", False))
        ]
        for security in (REMAPPED, {}):
            script = "cat /proc/self/mounts; echo told; exec sleep 1000"
            status = users.client.create(
                users.spec(command=["sh", "-c", script], security=security, mounts=mounts)
            )
            lines = [line.split() for line in told(users, status.id)[:-1]]
            found = {line[1]: set(line[3].split(",")) for line in lines}
            for name in ("ro", "rw"):
                assert {name, *forbids} <= found[f"/{name}"]
            users.client.delete(status.id, force=True)
    finally:
        subprocess.run(["umount", source], check=True)
