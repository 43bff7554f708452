"""What a node's operator allows, and changes while the agent runs; and what ends by itself."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.lab.containerd import PrivateContainerd
from e2e.lab import Lab, code_of, running_lab, until
from fields.proofs import proves
from longshore.errors import ContainerNotFound, InvalidSpec, LongshoreError, PolicyForbids

_SLEEP = ["sleep", "1000"]
_ORDER = "run.oci.mount_context_type"
_OPEN = {
    "policy.allow_host_network": True,
    "policy.allowed_devices": "/dev/fuse:r",
    "policy.allowed_annotations": _ORDER,
    "policy.allowed_sysctls": "net.core.*,kernel.msg*",
}


@pytest.fixture(scope="module")
def notified(folder: Path) -> Iterator[list[str]]:
    """What systemd would be told, as long as the module's agent runs."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(str(folder / "notify"))

        def listen() -> None:
            while text := wire.recv(4096).decode():
                heard.append(text)

        listener = threading.Thread(target=listen)
        listener.start()
        yield heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(folder / "notify"))
        listener.join()
        (folder / "notify").unlink()


@pytest.fixture(scope="module")
def own(containerd: PrivateContainerd, folder: Path, notified: list[str]) -> Iterator[Lab]:
    """An agent whose configuration these tests may change, with some of its doors open."""
    options = {**_OPEN, "converge.interval": 1000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        running = running_lab(containerd, "policy", options=options)
        lab = running.__enter__()
    try:
        yield lab
    finally:
        running.__exit__(None, None, None)


@pytest.fixture
def lab(own: Lab) -> Iterator[Lab]:
    """As it was configured, and clean, before and after."""
    file = own.agent.configure()
    before = file.read_text()
    yield own
    if file.read_text() != before:
        file.write_text(before)
        reload(own, "the configuration was reloaded")
    own.delete_all()
    own.wait_clean()


def reload(lab: Lab, told: str) -> None:
    """SIGHUP, and waits for what the agent says then."""
    log = lab.agent.log
    seen = log.stat().st_size
    os.kill(lab.agent.pid, signal.SIGHUP)
    until(lambda: told in log.read_bytes()[seen:].decode())


def change(lab: Lab, told: str = "the configuration was reloaded", **options: str) -> None:
    """Writes options (`group__option`) over those that are there, and reloads."""
    file = lab.agent.configure()
    text = file.read_text()
    for name, value in options.items():
        group, option = name.split("__")
        text = re.sub(rf"(?m)^{option} = .*\n", "", text)
        if f"[{group}]\n" not in text:
            text += f"\n[{group}]\n"
        text = text.replace(f"[{group}]\n", f"[{group}]\n{option} = {value}\n")
    file.write_text(text)
    reload(lab, told)


#: What is asked for → the rule that forbids it where nothing is allowed, and the field.
FORBIDDEN: list[tuple[Mapping[str, Any], str, str]] = [
    ({"security": {"privileged": True}}, "policy.allow_privileged", "security.privileged"),
    (
        {"host_network": True, "security": {"cap_add": ["NET_ADMIN"]}},
        "policy.allow_privileged",
        "security.cap_add[0]",
    ),
    (
        {"security": {"cap_add": ["CHOWN", "SYS_ADMIN"]}},
        "policy.allowed_capabilities",
        "security.cap_add[1]",
    ),
    (
        {"security": {"devices": [{"source": "/dev/fuse"}]}},
        "policy.allowed_devices",
        "security.devices[0].access",
    ),
    (
        {"security": {"devices": [{"source": "/dev/net/tun"}]}},
        "policy.allowed_devices",
        "security.devices[0].source",
    ),
    (
        {"security": {"sysctls": {"net.ipv4.ip_forward": "1"}}},
        "policy.allowed_sysctls",
        "security.sysctls[net.ipv4.ip_forward]",
    ),
    (
        {"annotations": {"run.oci.hooks.stdout": "/etc/cron.d/x"}},
        "policy.allowed_annotations",
        "annotations[run.oci.hooks.stdout]",
    ),
    (
        {"mounts": [{"type": "bind", "source": "/etc", "target": "/x"}]},
        "volumes.roots",
        "mounts[0].source",
    ),
]


@pytest.mark.parametrize(
    ("fields", "rule", "field"), FORBIDDEN, ids=[f"{rule}-{field}" for _, rule, field in FORBIDDEN]
)
def test_what_is_forbidden_leaves_nothing(
    lab: Lab, fields: Mapping[str, Any], rule: str, field: str
) -> None:
    with pytest.raises(PolicyForbids) as caught:
        lab.client.create(lab.spec(**fields))
    assert (caught.value.details["rule"], caught.value.field) == (rule, field)
    assert [one["field"] for one in caught.value.details["faults"]] == [field]
    assert caught.value.hint
    assert lab.client.list() == []
    lab.wait_clean()


@proves("init", "groups", "hostname", "domain", back="/proc/PID: comm, status, its namespaces")
@proves("annotations", back="the OCI spec in containerd's record")
@proves("security.sysctls", back="/proc/sys in its namespaces")
def test_what_is_allowed_is_there(lab: Lab) -> None:
    """One container with everything, read back from the kernel; devices again after a restart."""
    made = lab.client.create(
        lab.spec(
            command=_SLEEP,
            init=True,
            user="app",
            groups=["4711"],
            hostname="inside",
            domain="example.org",
            annotations={"org.example/team": "blue", _ORDER: "context"},
            security={
                "sysctls": {"net.core.somaxconn": "77", "kernel.msgmax": "9000"},
                "devices": [{"source": "/dev/fuse", "target": "/dev/asked", "access": "r"}],
            },
        )
    )
    look_at(made.pid)
    look_at(again(lab, made.id))
    info = json.loads(lab.containerd.ctr("containers", "info", made.id, namespace="policy"))
    assert info["Spec"]["annotations"]["org.example/team"] == "blue"


def look_at(pid: int | None) -> None:
    proc = Path(f"/proc/{pid}")
    # The runtime's own process becomes it a moment after the start.
    until(lambda: (proc / "comm").read_text() == ".longshore-init\n")
    status = (proc / "status").read_text().splitlines()
    assert "Groups:\t2000 4711" in [line.rstrip() for line in status]
    assert "NoNewPrivs:\t1" in status
    assert os.stat(proc / "root/dev/asked").st_rdev == os.stat("/dev/fuse").st_rdev
    assert "\tinside.example.org inside\n" in (proc / "root/etc/hosts").read_text()
    assert namespaced(int(pid or 0)) == ["77", "9000", "inside", "example.org"]


def again(lab: Lab, id: str) -> int | None:
    lab.client.stop(id, grace=0)
    return lab.client.start(id).pid


def namespaced(pid: int) -> list[str]:
    """Read in the namespaces of the process, by a thread that has entered them."""

    def read() -> list[str]:
        libc = ctypes.CDLL(None, use_errno=True)
        for kind in ("ipc", "uts", "net"):
            with open(f"/proc/{pid}/ns/{kind}") as namespace:
                assert libc.setns(namespace.fileno(), 0) == 0
        return [
            Path("/proc/thread-self/root/proc/sys", name).read_text().strip()
            for name in (
                "net/core/somaxconn", "kernel/msgmax", "kernel/hostname", "kernel/domainname",
            )
        ]  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(read).result()


@proves("host_network", back="/proc/PID/ns/net")
def test_the_nodes_own_network(lab: Lab) -> None:
    made = lab.client.create(
        lab.spec(command=_SLEEP, host_network=True, hosts={"friend": "192.0.2.7"})
    )
    proc = Path(f"/proc/{made.pid}")
    assert os.readlink(proc / "ns/net") == os.readlink("/proc/self/ns/net")
    assert made.nics == ()
    hosts = (proc / "root/etc/hosts").read_text()
    assert hosts.startswith(Path("/etc/hosts").read_text().rstrip("\n"))
    assert "192.0.2.7\tfriend" in hosts
    assert f"{made.name}\n" in hosts
    assert not list((lab.agent.run_dir / "netns").iterdir())
    # What the node has set stays as it is.
    for name in ("ip_unprivileged_port_start", "ping_group_range"):
        assert Path("/proc/sys/net/ipv4", name).read_text() == _NETWORK[name]
    assert again(lab, made.id)


_NETWORK = {
    name: Path("/proc/sys/net/ipv4", name).read_text()
    for name in ("ip_unprivileged_port_start", "ping_group_range")
}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"security": {"sysctls": {"vm.swappiness": "1"}}}, "security.sysctls[vm.swappiness]"),
        ({"host_network": True, "ports": [{"container_port": 1}]}, "spec"),
        ({"host_network": True, "security": {"user_namespace": True}}, "security"),
        ({"host_network": True, "security": {"sysctls": {"net.core.somaxconn": "1"}}}, "security"),
        (
            {"security": {"privileged": True, "user_namespace": True}},
            "security.user_namespace",
        ),
        (
            {"domain": "a.org", "security": {"sysctls": {"kernel.domainname": "b.org"}}},
            "security",
        ),
    ],
)
def test_what_contradicts_itself(lab: Lab, fields: Mapping[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        lab.client.create(lab.spec(**fields))
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)


def test_rules_change_without_a_restart(lab: Lab, notified: list[str]) -> None:
    pid = lab.agent.pid
    begun = len(notified)
    outside = lab.agent.folder / "elsewhere"
    outside.mkdir(exist_ok=True)
    bind = [{"type": "bind", "source": str(outside), "target": "/x"}]
    running = lab.client.create(lab.spec(command=_SLEEP, host_network=True))
    asleep = lab.client.create(lab.spec(command=_SLEEP, host_network=True), start=False)
    assert code_of(lambda: lab.client.create(lab.spec(mounts=bind))) == "policy_forbids"

    change(
        lab,
        policy__allow_host_network="false",
        volumes__roots=str(outside),
        DEFAULT__debug="true",
        network__mtu="1400",
    )
    until(lambda: "needs a restart of the agent: [network] mtu" in findings(lab))
    # For `systemctl reload`, whatever proofs of life come in between.
    until(lambda: "READY=1" in notified[begun:])
    (said, at) = next(one for one in notified[begun:] if "RELOADING" in one).split("\n")
    assert said == "RELOADING=1"
    assert 0 < int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert lab.agent.pid == pid
    assert lab.client.show(running.id).pid == running.pid
    assert alive(running.pid)
    assert code_of(lambda: lab.client.create(lab.spec(host_network=True))) == "policy_forbids"
    # What was created before is asked for anew by its start.
    assert code_of(lambda: lab.client.start(asleep.id)) == "policy_forbids"
    made = lab.client.create(lab.spec(command=_SLEEP, mounts=bind))
    assert (Path(f"/proc/{made.pid}/root/x").stat().st_ino) == outside.stat().st_ino
    assert " DEBUG " in lab.agent.log.read_text()

    file = lab.agent.configure()
    good = file.read_text()
    for bad, why in (
        ("[policy]\nallow_privileged = perhaps\n", "perhaps"),
        ("[policy\n", "configuration"),
        (f"[flavors]\nfile = {outside}\n", str(outside)),
    ):
        file.write_text(f"{good}\n{bad}")
        reload(lab, "the configuration was not reloaded, the old one goes on")
        until(lambda why=why: why in findings(lab))  # type: ignore[misc]  # bound by its default
        assert code_of(lambda: lab.client.create(lab.spec(host_network=True))) == "policy_forbids"
    file.write_text(good)
    change(lab, policy__allow_host_network="true", network__mtu="1500")
    until(lambda: "not reloaded" not in findings(lab))
    assert lab.client.start(asleep.id).state == "running"
    assert lab.client.show(running.id).pid == running.pid


def alive(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


def findings(lab: Lab) -> str:
    return "\n".join(lab.client.node_status().converge.findings)


def test_user_namespaces_demanded(lab: Lab) -> None:
    change(lab, policy__require_user_namespace="true")
    with pytest.raises(PolicyForbids) as caught:
        lab.client.create(lab.spec(command=_SLEEP))
    assert caught.value.details["rule"] == "policy.require_user_namespace"
    assert caught.value.field == "security.user_namespace"


def gone(lab: Lab, id: str) -> bool:
    try:
        lab.client.show(id)
    except ContainerNotFound:
        return True
    return False


@proves("auto_remove", back="the container, which is gone")
def test_what_ended_is_removed(lab: Lab) -> None:
    """By itself, by a stop (which gets its answer), and when it could not be started."""
    short = lab.client.create(lab.spec(command=["sh", "-c", "sleep 0.2"], auto_remove=True))
    stopped = lab.client.create(lab.spec(command=_SLEEP, auto_remove=True))
    answer = lab.client.stop(stopped.id, grace=0)
    assert (answer.state, answer.exit_code) == ("stopped", 137)
    assert gone(lab, stopped.id)
    until(lambda: gone(lab, short.id))
    broken = lab.client.create(lab.spec(command=["/no-such"], auto_remove=True), start=False)
    assert lab.client.show(broken.id).state == "created"
    with pytest.raises(LongshoreError, match="no-such"):
        lab.client.start(broken.id)
    assert gone(lab, broken.id)
    seen = []
    for one in lab.client.watch(0):
        if one.id == stopped.id:
            seen.append((one.previous, one.state))
            if one.state == "absent":
                break
    assert seen[-4:] == [
        ("running", "stopping"), ("stopping", "stopped"), ("stopped", "deleting"),
        ("deleting", "absent"),
    ]  # fmt: skip
    lab.wait_clean()
