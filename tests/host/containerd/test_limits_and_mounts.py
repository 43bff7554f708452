"""Limits and mounts as the kernel has them, on a real containerd, with crun and with runc."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from host.containerd.stepwise import Node, spec_of
from longshore.errors import StartFailed
from longshore.host.cgroup import Cgroups
from longshore.host.volumes import Volumes
from longshore.model.drift import differences
from longshore.model.limits import Limits
from longshore.model.names import Names


def test_limits_are_those_of_the_cgroup(node: Node) -> None:
    spec = node.make(
        limits={
            "cpus": 0.5,
            "cpu_shares": 512,
            "cpuset": "0",
            "memory": 64 * 2**20,
            "memory_swap": 96 * 2**20,
            "pids": 33,
        }
    )
    applied = Cgroups().read(node.create(spec), Limits())
    assert differences(spec.limits, applied) == ()
    node.remove(spec)


def test_ulimits_and_shm(node: Node) -> None:
    limits = {"ulimits": [{"name": "nofile", "soft": 100, "hard": 200}], "shm_size": 1 << 20}
    out = node.shell("ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1", limits=limits)
    soft, hard, shm = out.splitlines()
    assert (soft, hard, shm.split()[1]) == ("100", "200", "1024")


def test_a_ulimit_above_the_nodes_is_what_the_check_is_for(node: Node) -> None:
    above = node.oci.rlimits["nofile"] + 1
    limits = {"ulimits": [{"name": "nofile", "soft": 1, "hard": above}]}
    with pytest.raises(StartFailed, match=r"(?i)rlimit"):
        node.run(limits=limits)


@pytest.fixture
def source(node: Node) -> Iterator[Path]:
    """A folder of the node, a mount of its own that events come from, as a real node's are."""
    node.sources.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", node.sources], check=True)
    subprocess.run(["mount", "--make-rshared", node.sources], check=True)
    yield node.sources
    subprocess.run(["umount", "--recursive", node.sources], check=True)
    node.sources.rmdir()


def test_a_read_only_bind_is_so_all_the_way_down(node: Node, source: Path) -> None:
    (source / "ro/sub/rw").mkdir(parents=True)
    for folder in (source / "ro/below", source / "rw"):
        folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", source / "ro/below"], check=True)
    spec = node.make(
        mounts=[
            {"type": "bind", "source": str(source / "ro"), "target": "/ro", "read_only": True},
            {"type": "bind", "source": str(source / "rw"), "target": "/ro/sub/rw"},
            {"type": "tmpfs", "target": "/tmp", "size": 65536},
        ],
        command=[
            "sh", "-c",
            "touch /ro/x; touch /ro/below/x; touch /ro/sub/rw/x && echo written;"
            "df -k /tmp | tail -1; grep -c ' /tmp .*noexec' /proc/self/mounts",
        ],
    )  # fmt: skip
    node.create(spec)
    out, err = node.finish(spec)
    assert err.count("Read-only file system") == 2
    written, size, noexec = out.splitlines()
    assert (written, size.split()[1], noexec) == ("written", "64", "1")
    assert (source / "rw/x").exists()


def test_what_the_node_allows_of_a_source_holds_in_the_container(node: Node, source: Path) -> None:
    """Whether it is read-only in there or not."""
    safe = ["nosuid", "nodev", "noexec"]
    flags = ["-o", ",".join([*safe, "noatime"])]
    for name in ("ro", "rw"):
        (source / name).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", *flags, "x", source / name], check=True)
    id, mounts = (
        str(uuid4()),
        [
            {"type": "bind", "source": str(source / name), "target": f"/{name}", "read_only": ro}
            for name, ro in (("ro", True), ("rw", False))
        ],
    )
    # As a start does it: what is mounted is looked at, and then recorded.
    volumes = Volumes(node.layout, lambda: [node.sources])
    volumes.mount(Names(id), spec_of(mounts=mounts).mounts)
    out = node.shell("cat /proc/self/mounts", id=id, mounts=mounts)
    found = {line.split()[1]: set(line.split()[3].split(",")) for line in out.splitlines()}
    for name in ("ro", "rw"):
        assert {name, *safe, "noatime"} <= found[f"/{name}"]


def test_a_mount_made_later_on_the_node_comes_in_where_asked(node: Node, source: Path) -> None:
    for name in ("a", "b"):
        (source / name / "later").mkdir(parents=True)
    wait = "until [ -e /slave/later/sign ]; do sleep 0.05; done; ls /slave/later /private/later"
    spec = node.make(
        mounts=[
            {"type": "bind", "source": str(source / "a"), "target": "/slave",
             "propagation": "rslave"},
            {"type": "bind", "source": str(source / "b"), "target": "/private"},
        ],
        command=["sh", "-c", wait],
    )  # fmt: skip
    node.create(spec)
    node.tasks.start(Names(spec.id))
    for name in ("b", "a"):
        subprocess.run(["mount", "-t", "tmpfs", "x", source / name / "later"], check=True)
        (source / name / "later/sign").touch()
    out, err = node.finish(spec)
    assert err == ""
    assert out.split() == ["/private/later:", "/slave/later:", "sign"]


def test_any_user_may_bind_any_port(node: Node) -> None:
    # The namespace of a real container has its loopback up; this one does not.
    script = "httpd -p 80 -h /www; grep -c ':0050 ' /proc/net/tcp6 /proc/net/tcp || true"
    assert ":1" in node.shell(script, user="app")


def test_a_workdir_that_is_not_there_is_made(node: Node) -> None:
    assert node.shell("pwd", workdir="/made/for/me") == "/made/for/me\n"
