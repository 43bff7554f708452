"""What a container can and cannot do, on a real containerd, with crun and with runc."""

from __future__ import annotations

import pytest

from host.containerd.stepwise import Node
from longshore.errors import StartFailed
from longshore.model.linux import effective_capabilities

#: Exit code of a busybox applet, and what it says, when a call is not permitted.
_REFUSED = "Operation not permitted"


@pytest.mark.parametrize(
    "call",
    [
        "mount -t tmpfs x /tmp",
        "unshare -m true",
        "unshare -U true",
        "hostname other",
        "date -s 2020-01-01 2>&1 | grep permitted >&2; false",
        "swapoff -a /etc/passwd; swapoff /etc/passwd",
        "chroot / unshare -n true",
    ],
)
def test_what_only_an_administrator_needs_is_refused(node: Node, call: str) -> None:
    code, _, err = node.outcome(command=["sh", "-c", call])
    assert code != 0
    assert _REFUSED in err or "permission denied" in err


def test_ordinary_things_work(node: Node) -> None:
    script = """
        cd /tmp; mkdir a; echo x > a/b; chmod 600 a/b; chown app a/b; ln -s b a/c; rm -r a
        mknod /tmp/n c 1 3; mkfifo f; (echo piped > f) & cat f; wait
        su app -s /bin/sh -c 'id -u'; chroot / true; renice 5 $$; sync; kill -0 1
        echo > /dev/null; head -c4 /dev/urandom > /dev/null; sleep 0.01
    """
    assert node.shell(script).split() == ["piped", "1000"]


def test_what_is_seen_of_the_node(node: Node) -> None:
    out = node.shell(
        """
        grep -E '^(CapBnd|CapEff|CapInh|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status
        cat /proc/self/oom_score_adj; hostname; ls /sys/class/net; id
        ls -A /sys/firmware | wc -l; cat /proc/interrupts /proc/keys | wc -c
        """,
        hostname="inside.example",
    )
    lines = out.split("\n")
    mask = f"{0xA80425FB:016x}"
    assert len(effective_capabilities((), ())) == 14
    assert f"CapBnd:\t{mask}" in lines
    assert f"CapEff:\t{mask}" in lines
    assert "CapInh:\t" + "0" * 16 in lines
    assert "CapAmb:\t" + "0" * 16 in lines
    assert "NoNewPrivs:\t1" in lines
    assert "Seccomp:\t2" in lines
    assert "1" in lines, "the out-of-memory killer's score"
    assert lines.count("0") == 2, "files of the firmware, bytes of what is masked"
    assert "inside.example" in lines
    assert "lo" in lines
    assert "eth0" not in lines
    assert "uid=0(root) gid=0(root)" in lines


@pytest.mark.parametrize("path", ["/proc/sys/kernel/hostname", "/sys/kernel/mm/x"])
def test_the_kernels_files_are_read_only(node: Node, path: str) -> None:
    code, _, err = node.outcome(command=["sh", "-c", f"echo x > {path}"])
    assert code != 0
    assert "Read-only file system" in err


def test_devices_of_the_node_are_out_of_reach(node: Node) -> None:
    code, _, err = node.outcome(
        command=["sh", "-c", "mknod /tmp/disk b 254 0 && head -c1 /tmp/disk"]
    )
    assert code != 0
    assert _REFUSED in err
    seen = set(node.shell("ls /dev").split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"} <= seen
    assert not {"vda", "kmsg", "mem"} & seen


def test_a_read_only_root(node: Node) -> None:
    security = {"read_only_rootfs": True}
    code, _, err = node.outcome(command=["touch", "/x"], security=security)
    assert code != 0
    assert "Read-only file system" in err
    mounts = [{"type": "tmpfs", "target": "/tmp", "size": 65536}]
    assert node.shell("echo y > /tmp/x; cat /tmp/x", security=security, mounts=mounts) == "y\n"


def test_capabilities_come_and_go(node: Node) -> None:
    code, _, err = node.outcome(command=["chown", "1", "/tmp"], security={"cap_drop": ["ALL"]})
    assert code != 0
    assert _REFUSED in err
    node.shell("mount -t tmpfs x /tmp", security={"cap_add": ["SYS_ADMIN"]})


def test_a_privileged_container(node: Node) -> None:
    out = node.shell(
        """
        mount -t tmpfs x /tmp; unshare -m true; ls /dev/vda; cat /proc/sys/kernel/hostname
        grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; grep ' /sys ' /proc/self/mounts
        """,
        security={"privileged": True},
    )
    assert "Seccomp:\t0" in out
    assert "NoNewPrivs:\t0" in out
    assert "/dev/vda" in out
    assert "sysfs rw" in out


def test_another_user(node: Node) -> None:
    assert node.shell("id -u; id -g; id -G; echo $HOME", user="app").split("\n")[:4] == [
        "1000", "1000", "1000 2000", "/home/app",
    ]  # fmt: skip
    assert node.shell("id -u; id -g", user="4711:4712") == "4711\n4712\n"
    assert "CapEff:\t" + "0" * 16 in node.shell("cat /proc/self/status", user="app")
    with pytest.raises(StartFailed, match="nobody-at-all") as caught:
        node.run(user="nobody-at-all")
    assert caught.value.field == "user"


def test_the_out_of_memory_killers_score_is_ours_to_say(node: Node) -> None:
    spec = node.run(
        lambda oci: oci["process"].update(oomScoreAdj=500),
        command=["cat", "/proc/self/oom_score_adj"],
    )
    node.ended(spec)
    assert node.output(spec) == ("500\n", "")
