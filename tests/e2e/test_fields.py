"""What no other test reads back of what a spec asks for: few containers, each with many fields.

Everything is looked at from outside: in /proc and the cgroups of the container's process, and by
way of its root. FIELDS.md lists which test proves which field.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.image import PAGE
from e2e.lab import Lab, code_of, free_port, running_lab, until
from e2e.probes import node_address, page
from e2e.readback import (
    V1_FILES,
    V2,
    V2_FILES,
    bits,
    cgroup,
    code_of_page,
    has_become,
    log_of,
    mounts,
    root,
    status_of,
    submount,
)
from fields.proofs import proves
from host.blockkit import loop_disk
from longshore.model.status import ContainerStatus
from longshore.model.values import MIB

_SLEEP = ["sleep", "1000"]
#: Bits of capabilities(7).
_CHOWN, _NET_ADMIN, _SYS_ADMIN = 0, 12, 21
#: Opens a device each way, and then takes eight seconds over SIGTERM.
_TRIES = """
trap 'sleep 8; exit 0' TERM
for how in '<' '>' '<>'; do (eval "exec 3$how /dev/asked") 2>/dev/null && echo "$how"; done
echo tried
while :; do sleep 0.1; done
"""
_FLAVORS = "[flavor.small]\nlimits.pids = 41\nlimits.memory = '48m'\n"


@pytest.fixture(scope="module")
def own(containerd: PrivateContainerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A node that allows much, with a network and a flavor of its own."""
    flavors = tmp_path_factory.mktemp("flavors") / "flavors.toml"
    flavors.write_text(_FLAVORS)
    options = {
        "policy.allow_privileged": True,
        "policy.allowed_devices": "/dev/fuse:rm",
        "network.name": "back",
        "flavors.file": flavors,
    }
    with running_lab(containerd, "fields", options=options) as lab:
        yield lab


@pytest.fixture
def lab(own: Lab) -> Iterator[Lab]:
    own.wait_clean()
    yield own
    own.delete_all()
    for volume in own.client.list_volumes():
        own.client.remove_volume(volume.name)
    own.wait_clean()


def create(lab: Lab, **fields: Any) -> ContainerStatus:
    """A container that sleeps, on the node's only network."""
    return lab.client.create(
        lab.spec(**{"command": _SLEEP, "nics": [{"network": "back"}], **fields})
    )


@proves(
    "entrypoint", "command", "env", "workdir", "user",
    back="/proc/PID: cmdline, environ, cwd, status; what it writes",
)  # fmt: skip
@proves("id", "image", "labels", back="containerd's record")
@proves("name", back="/etc/hostname and HOSTNAME; it is found by it")
@proves("security.cap_add", "security.cap_drop", back="/proc/PID/status: CapBnd")
@proves("security.read_only_rootfs", back="/proc/PID/mountinfo")
def test_the_process_is_as_asked(lab: Lab) -> None:
    made = create(
        lab,
        image="docker.io/library/busybox:latest",
        entrypoint=["sh", "-c"],
        command=["echo $0; exec sleep 1000", "zero"],
        env={"GREETING": "a b=c"},
        workdir="/www",
        user="1000:2000",
        labels={"tier": "front"},
        security={
            "cap_add": ["NET_ADMIN"],
            "cap_drop": ["CHOWN"],
            "read_only_rootfs": True,
        },
    )
    folder = has_become(made, "sleep")
    assert (folder / "cmdline").read_bytes() == b"sleep\x001000\x00"
    environment = (folder / "environ").read_bytes().split(b"\0")
    assert b"GREETING=a b=c" in environment
    assert os.readlink(folder / "cwd") == "/www"
    status = status_of(made)
    assert (status["Uid"].split()[0], status["Gid"].split()[0]) == ("1000", "2000")
    assert _NET_ADMIN in bits(made)
    assert _CHOWN not in bits(made)
    assert "ro" in mounts(made)["/"][0]
    # The shim writes what it has read when it gets round to it.
    assert until(lambda: log_of(lab, made)) == "zero\n"
    info = json.loads(lab.containerd.ctr("containers", "info", made.id, namespace=lab.namespace))
    assert info["Labels"]["tier"] == "front"
    assert info["Image"] == "docker.io/library/busybox:latest"
    assert b"HOSTNAME=" + made.name.encode() in environment
    assert root(made, "/etc/hostname").read_text() == f"{made.name}\n"
    assert lab.client.show(made.name).id == made.id


@proves(
    "security.devices[].source", "security.devices[].target", "security.devices[].access",
    back="the device's number in /proc/PID/root/dev, and what opening it says in there",
)  # fmt: skip
@proves("security.privileged", back="/proc/PID/status: CapBnd, Seccomp, NoNewPrivs")
@proves("stop_signal", "stop_grace", back="the container's exit code, by its own handler")
def test_devices_privileges_and_how_it_is_stopped(lab: Lab) -> None:
    script = "trap 'exit 9' USR1; sleep 1000 & wait"
    made = create(
        lab,
        command=["sh", "-c", script],
        stop_signal="SIGUSR1",
        security={"privileged": True},
    )
    status = status_of(made)
    assert _SYS_ADMIN in bits(made)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")
    until(lambda: int(status_of(made)["SigCgt"], 16) >> 9 & 1)  # USR1 is 10
    assert lab.client.stop(made.id).exit_code == 9
    deaf = create(
        lab,
        command=["sh", "-c", _TRIES],
        stop_grace=0.2,
        security={"devices": [{"source": "/dev/fuse", "target": "/dev/asked", "access": "r"}]},
    )
    log = until(lambda: text if "tried" in (text := log_of(lab, deaf)) else "")
    assert log.split() == ["<", "tried"]
    assert os.stat(root(deaf, "/dev/asked")).st_rdev == os.stat("/dev/fuse").st_rdev
    # So it is killed; by the default, ten seconds, it would have ended by itself before.
    assert lab.client.stop(deaf.id).exit_code == 137


@proves(
    "limits.cpus", "limits.cpu_shares", "limits.cpuset", "limits.memory",
    "limits.memory_reservation", "limits.memory_swap", "limits.oom_policy", "limits.pids",
    "limits.io_weight", back="the files of its cgroup, v1 or v2",
)  # fmt: skip
@proves(
    "limits.io[].device", "limits.io[].read_bps", "limits.io[].write_bps",
    "limits.io[].read_iops", "limits.io[].write_iops",
    back="its cgroup: blkio.throttle.*_device, or io.max",
)  # fmt: skip
@proves("limits.oom_score_adj", back="/proc/PID/oom_score_adj")
@proves(
    "limits.ulimits[].name", "limits.ulimits[].soft", "limits.ulimits[].hard",
    back="/proc/PID/limits",
)  # fmt: skip
@proves("limits.shm_size", back="/proc/PID/mountinfo")
def test_limits_are_the_kernels(lab: Lab, tmp_path: Path) -> None:
    with loop_disk(tmp_path / "image", MIB, scheduler="bfq") as device:
        made = create(
            lab,
            limits={
                "cpus": 0.5,
                "cpu_shares": 512,
                "cpuset": "0",
                "memory": 64 * MIB,
                "memory_reservation": 32 * MIB,
                "memory_swap": 96 * MIB,
                "oom_policy": "kill" if V2 else "pause",
                "oom_score_adj": 321,
                "pids": 37,
                "ulimits": [{"name": "nofile", "soft": 123, "hard": 234}],
                "shm_size": 5 * MIB,
                "io_weight": 250,
                "io": [
                    {
                        "device": device,
                        "read_bps": 1111111,
                        "write_bps": 2222222,
                        "read_iops": 333,
                        "write_iops": 444,
                    }
                ],
            },
        )
        numbers = os.stat(device).st_rdev
        disk = f"{os.major(numbers)}:{os.minor(numbers)}"
        for controller, file, wanted in V2_FILES if V2 else V1_FILES:
            text = (cgroup(lab, made, controller) / file).read_text()
            assert re.search(wanted.format(disk=disk), text, re.M), (file, text)
        proc = Path(f"/proc/{made.pid}")
        assert (proc / "oom_score_adj").read_text() == "321\n"
        assert re.search(r"^Max open files +123 +234 ", (proc / "limits").read_text(), re.M)
        assert f"size={5 * 1024}k" in mounts(made)["/dev/shm"][1]
        shown = made.limits
        assert shown is not None
        assert (shown.memory, shown.pids, shown.oom_score_adj) == (64 * MIB, 37, 321)
        lab.client.delete(made.id, force=True)  # before its disk goes


@proves("flavor.name", "flavor.limits", back="the files of its cgroup")
def test_flavors_are_the_kernels_too(lab: Lab) -> None:
    ours = create(lab, flavor={"name": "small"}, limits={"memory": 64 * MIB})
    brought = create(lab, flavor={"name": "mine", "limits": {"pids": 43}})
    memory = "memory.max" if V2 else "memory.limit_in_bytes"
    assert (cgroup(lab, ours, "pids") / "pids.max").read_text() == "41\n"
    assert (cgroup(lab, ours, "memory") / memory).read_text() == f"{64 * MIB}\n"
    assert (cgroup(lab, brought, "pids") / "pids.max").read_text() == "43\n"
    assert code_of(lambda: create(lab, flavor={"name": "moon"})) == "invalid_spec"


@proves(
    "mounts[bind].source", "mounts[bind].target", "mounts[bind].read_only",
    "mounts[bind].propagation", "mounts[bind].recursive", back="/proc/PID/mountinfo",
)  # fmt: skip
@proves(
    "mounts[bind].create.uid", "mounts[bind].create.gid", "mounts[bind].create.mode",
    back="the folder on the node",
)  # fmt: skip
@proves(
    "mounts[tmpfs].target", "mounts[tmpfs].size", "mounts[tmpfs].mode",
    "mounts[tmpfs].executable", back="/proc/PID/mountinfo",
)  # fmt: skip
@proves(
    "mounts[volume].name", "mounts[volume].target", "mounts[volume].read_only",
    "mounts[volume].copy_image", back="/proc/PID/mountinfo, and what is in it",
)  # fmt: skip
@proves(
    "volumes_from[].container", "volumes_from[].read_only",
    back="/proc/PID/mountinfo of the other, and what is in it",
)  # fmt: skip
@proves("secrets[].encoding", "files[].encoding", back="the file in /proc/PID/root")
def test_what_is_mounted_is_as_asked(lab: Lab) -> None:
    folder = lab.volume("top")
    (folder / "below").mkdir()
    data = base64.b64encode(b"\0\xff").decode()
    with submount(folder / "below"):
        made = create(
            lab,
            mounts=[
                {
                    "type": "bind",
                    "source": str(folder / "new/er"),
                    "target": "/new",
                    "propagation": "rshared",
                    "create": {"uid": 70, "gid": 71, "mode": 0o2750},
                },
                {
                    "type": "bind",
                    "source": str(folder),
                    "target": "/flat",
                    "read_only": True,
                    "recursive": "disabled",
                },
                {
                    "type": "tmpfs",
                    "target": "/fast",
                    "size": MIB,
                    "mode": 0o700,
                    "executable": True,
                },
                {"type": "tmpfs", "target": "/plain", "size": MIB},
                {"type": "volume", "name": "kept", "target": "/www"},
                {
                    "type": "volume",
                    "name": "empty",
                    "target": "/etc/opt",
                    "read_only": True,
                    "copy_image": False,
                },
            ],
            files=[{"target": "/blob", "content": data, "encoding": "base64"}],
            secrets=[{"name": "blob", "value": data, "encoding": "base64"}],
        )
        seen = mounts(made)
        assert "/flat/below" not in seen
    assert "shared" in seen["/new"][0]
    there = (folder / "new/er").stat()
    assert (there.st_uid, there.st_gid, there.st_mode & 0o7777) == (70, 71, 0o2750)
    assert os.stat(root(made, "/new")).st_ino == there.st_ino
    assert "ro" in seen["/flat"][0]
    assert {"tmpfs", "size=1024k", "mode=700"} <= seen["/fast"][1]
    assert "noexec" not in seen["/fast"][0]
    assert "noexec" in seen["/plain"][0]
    assert "rw" in seen["/www"][0]
    assert "ro" in seen["/etc/opt"][0]
    assert root(made, "/www/index.html").read_bytes() == PAGE
    assert list(root(made, "/etc/opt").iterdir()) == []
    for path in ("/blob", "/run/secrets/blob"):
        assert root(made, path).read_bytes() == b"\0\xff"
    other = create(lab, volumes_from=[{"container": made.name, "read_only": True}])
    also = mounts(other)
    assert {"ro"} == {word for at in ("/new", "/www") for word in also[at][0] & {"ro", "rw"}}
    assert os.stat(root(other, "/www")).st_ino == os.stat(root(made, "/www")).st_ino
    assert set(lab.client.show_volume("kept").used_by) >= {made.name}
    lab.client.delete(other.id, force=True)


@proves("nics[].network", "nics[].address", "nics[].mac", back="the interface in its namespace")
@proves("ports[].host_ip", back="who answers at which address of the node")
def test_the_network_is_as_asked(lab: Lab) -> None:
    subnet = re.search(r"^subnet = (\S+)$", lab.agent.configure().read_text(), re.M)
    assert subnet is not None
    address, port = str(IPv4Network(subnet[1])[77]), free_port()
    made = lab.client.create(
        lab.spec(
            nics=[{"network": "back", "address": address, "mac": "02:00:5e:10:00:09"}],
            ports=[{"container_port": 80, "host_port": port, "host_ip": "127.0.0.1"}],
        )
    )
    link = root(made, "/sys/class/net/eth0")
    assert (link / "address").read_text() == "02:00:5e:10:00:09\n"
    assert f"|-- {address}\n" in Path(f"/proc/{made.pid}/net/fib_trie").read_text()
    peer = Path(f"/sys/class/net/{lab.agent.bridge}/brif")
    assert len(list(peer.iterdir())) == 1
    until(lambda: code_of_page("127.0.0.1", port) is None)
    assert page("127.0.0.1", port) == PAGE
    assert code_of_page(node_address(), port) is not None
    assert code_of(lambda: create(lab, nics=[{"network": "moon"}])) == "invalid_spec"
