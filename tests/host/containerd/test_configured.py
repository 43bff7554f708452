"""What a request configures beside limits and mounts, read back inside and from the kernel, on a
real containerd, with crun and with runc."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from pathlib import Path

import pytest

from host.containerd.stepwise import Node, until
from longshore.errors import InvalidSpec, StartFailed
from longshore.host.containerd.asked import look_up
from longshore.host.init import Init
from longshore.model.names import Names


def test_sysctls_domain_and_groups(node: Node) -> None:
    sysctls = {
        "net.core.somaxconn": "1234",
        "net.ipv4.ip_unprivileged_port_start": "80",
        "kernel.shm_rmid_forced": "1",
        "kernel.msgmax": "9000",
        "fs.mqueue.msg_max": "7",
    }
    before = {name: Path("/proc/sys", *name.split(".")).read_text() for name in sysctls}
    out = node.shell(
        f"for name in {' '.join(sysctls)}; do cat /proc/sys/$(echo $name | tr . /); done;"
        "cat /proc/sys/net/ipv4/ping_group_range; hostname; cat /proc/sys/kernel/domainname; id -G",
        hostname="inside",
        domain="example.org",
        user="app",
        groups=["nogroup", "4711"],
        security={"sysctls": sysctls},
    )
    assert out.split("\n") == [
        "1234", "80", "1", "9000", "7", "0\t2147483647", "inside", "example.org",
        "1000 2000 4711 65534", "",
    ]  # fmt: skip
    after = {name: Path("/proc/sys", *name.split(".")).read_text() for name in sysctls}
    assert after == before, "the node's own"
    with pytest.raises(StartFailed, match="phantoms") as caught:
        node.run(groups=["0", "phantoms"])
    assert caught.value.field == "groups[1]"


def test_a_sysctl_that_the_kernel_has_for_the_node_alone(node: Node) -> None:
    with pytest.raises(StartFailed, match="net/core"):
        node.run(security={"sysctls": {"net.core.netdev_max_backlog": "1"}})


def test_devices_with_their_access(node: Node) -> None:
    """Opening /dev/fuse is enough; nobody mounts anything."""
    script = """
        stat -c '%t,%T %a' /dev/asked-for
        (: < /dev/asked-for) && echo read
        (: > /dev/asked-for) 2>/dev/null || echo kept
        (: < /dev/fuse) 2>/dev/null || echo not there
    """
    asked = {"source": "/dev/fuse", "target": "/dev/asked-for", "access": "r"}
    there = os.stat("/dev/fuse")
    assert node.shell(script, security={"devices": [asked]}).split("\n")[:4] == [
        f"a,e5 {stat.S_IMODE(there.st_mode):o}", "read", "kept", "not there",
    ]  # fmt: skip
    without = {"devices": [{"source": "/dev/null", "target": "/dev/nil"}]}
    out = node.shell("mknod /tmp/f c 10 229; (: < /tmp/f) 2>&1 || ls /dev/nil", security=without)
    assert out.split("\n")[-2:] == ["/dev/nil", ""]


def test_the_smallest_files_that_its_runtime_can_start_with(node: Node) -> None:
    size = node.oci.file_size_min
    limits = {"ulimits": [{"name": "fsize", "soft": size, "hard": size}]}
    assert node.shell("ulimit -f", limits=limits).strip() == str(size // 512)


def test_a_folder_of_devices(node: Node, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    os.mknod(tmp_path / "sub" / "one", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (tmp_path / "link").symlink_to("sub")
    devices = [{"source": str(tmp_path / "link"), "target": "/dev/mine", "access": "rw"}]
    out = node.shell("head -c1 /dev/mine/one | wc -c", security={"devices": devices})
    assert out == "1\n"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("/dev/nothing-here", "No such file"),
        ("/etc/passwd", "is no device"),
        ("/etc", "is no device"),
    ],
)
def test_what_is_no_device(node: Node, source: str, why: str) -> None:
    spec = node.make(security={})
    changed = spec.model_copy(
        update={
            "security": type(spec.security).model_validate_json(
                f'{{"devices": [{{"source": "{source}", "target": "/dev/x"}}]}}'
            )
        }
    )
    with pytest.raises(InvalidSpec, match=why) as caught:
        look_up(changed, Init())
    assert caught.value.field == "security.devices[0].source"
    assert caught.value.faults[0]["field"] == caught.value.field
    node.remove(spec)


def test_an_init_reaps_and_passes_signals_on(node: Node) -> None:
    """The command never waits for the orphan that it is left with."""
    script = "trap 'echo asked; exit 7' TERM; (sleep 0.01 &); echo up; while :; do sleep 0.03; done"
    spec = node.run(command=["sh", "-c", script], init=True)
    until(lambda: node.output(spec)[0] == "up\n")
    pid = node.tasks.get(Names(spec.id)).pid
    assert Path(f"/proc/{pid}/comm").read_text() == ".longshore-init\n"
    until(lambda: [one.split()[0] for one in children(pid)] == ["(sh)"])
    node.tasks.kill(Names(spec.id), signal.SIGTERM)
    assert node.ended(spec) == 7
    assert node.output(spec) == ("up\nasked\n", "")


def children(pid: int) -> list[str]:
    """Name and state of each child, zombies too."""
    found = []
    for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            _, name, state, *_ = Path(f"/proc/{one}/stat").read_text().split()
            found.append(f"{name} {state}")
    return found


def test_without_an_init_nobody_reaps(node: Node) -> None:
    """So that what the test above sees is the init's work."""
    spec = node.run(command=["sh", "-c", "(sleep 0.01 &); exec sleep 1000"])
    pid = node.tasks.get(Names(spec.id)).pid
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    until(lambda: children(pid) == ["(sleep) Z"])
    node.remove(spec)


def test_annotations_reach_the_runtime(node: Node) -> None:
    spec = node.make(annotations={"org.example.team": "blue"})
    record = node.containerd.ctr("containers", "info", spec.id)
    assert '"org.example.team": "blue"' in record
    node.create(spec)
    node.remove(spec)


def test_the_nodes_own_network(node: Node) -> None:
    out = node.shell("readlink /proc/self/ns/net; hostname", host_network=True, hostname="inside")
    assert out.split("\n")[:2] == [os.readlink("/proc/self/ns/net"), "inside"]
