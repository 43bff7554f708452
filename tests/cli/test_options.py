"""Every option of `run` and `create` reaches the spec."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cli.imaging import DETAIL, ImageNode
from fakes.node import FakeNode
from fakes.shell import Shell
from longshore.cli.spec_options import OPTIONS
from longshore.model.injected import REVEAL
from longshore.model.reference import canonical
from longshore.model.security import Security

MIB = 1024 * 1024
BIND = {
    "type": "bind",
    "source": "/srv",
    "target": "/x",
    "read_only": False,
    "propagation": "rprivate",
    "recursive": "enabled",
    "create": None,
}
TMPFS = {
    "type": "tmpfs",
    "target": "/t",
    "size": 64 * MIB,
    "mode": 0o1777,
    "executable": False,
}
VOLUME = {
    "type": "volume",
    "name": "data",
    "target": "/x",
    "read_only": False,
    "copy_image": True,
}
PORT = {"container_port": 80, "host_port": None, "host_ip": "0.0.0.0", "protocol": "tcp"}
ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"
CASES: list[tuple[list[str], str, Any]] = [
    (["-v", "/x"], "mounts", [{**VOLUME, "name": None}]),
    (
        ["--mount", "type=volume,dst=/x,ro,volume-nocopy"],
        "mounts",
        [{**VOLUME, "name": None, "read_only": True, "copy_image": False}],
    ),
    (["--memory", "64m", "-m", "64m"], "limits.memory", 64 * MIB),
    (["--id", ID], "id", ID),
    (["--name", "web"], "name", "web"),
    ([], "pull", "if-not-present"),
    (["--pull", "missing"], "pull", "if-not-present"),
    (["--pull", "never"], "pull", "never"),
    (["--pull", "always"], "pull", "always"),
    ([], "image_credential", None),
    (["--image-credential", "ci"], "image_credential", "ci"),
    (["--memory", "256m"], "limits.memory", 256 * MIB),
    (["-m", "1.5g"], "limits.memory", 1536 * MIB),
    (["-m", "64m", "--memory-swap", "128m"], "limits.memory_swap", 128 * MIB),
    (["--cpus", "0.5"], "limits.cpus", 0.5),
    (["--cpu-shares", "512"], "limits.cpu_shares", 512),
    (["-c", "512"], "limits.cpu_shares", 512),
    (["--cpuset-cpus", "0-1"], "limits.cpuset", "0-1"),
    (["--pids-limit", "100"], "limits.pids", 100),
    (
        ["--ulimit", "nofile=1024:2048", "--ulimit", "core=0"],
        "limits.ulimits",
        [
            {"name": "nofile", "soft": 1024, "hard": 2048},
            {"name": "core", "soft": 0, "hard": 0},
        ],
    ),
    (["--shm-size", "1m"], "limits.shm_size", MIB),
    (["-p", "80"], "ports", [PORT]),
    (["-p", "8080:80"], "ports", [{**PORT, "host_port": 8080}]),
    (["--publish", "8080:80/tcp"], "ports", [{**PORT, "host_port": 8080}]),
    (
        ["-p", "127.0.0.1:53:53/udp"],
        "ports",
        [{"container_port": 53, "host_port": 53, "host_ip": "127.0.0.1", "protocol": "udp"}],
    ),
    (["-p", "127.0.0.1::80"], "ports", [{**PORT, "host_ip": "127.0.0.1"}]),
    (
        ["-p", "8000-8001:80-81", "-p", "9"],
        "ports",
        [
            {**PORT, "host_port": 8000},
            {**PORT, "host_port": 8001, "container_port": 81},
            {**PORT, "container_port": 9},
        ],
    ),
    (["-v", "/srv:/x"], "mounts", [{**BIND}]),
    (
        ["--volume", "/srv:/x:ro,rshared"],
        "mounts",
        [{**BIND, "read_only": True, "propagation": "rshared"}],
    ),
    (
        ["-v", "./here:/x"],
        "mounts",
        [{**BIND, "source": f"{os.getcwd()}/here"}],
    ),
    (
        ["--mount", "type=bind,src=/srv,dst=/x,readonly,bind-propagation=slave"],
        "mounts",
        [{**BIND, "read_only": True, "propagation": "slave"}],
    ),
    (
        ["--mount", "source=/srv,target=/x,ro=false"],
        "mounts",
        [{**BIND}],
    ),
    (
        ["--mount", "type=tmpfs,destination=/t,tmpfs-size=1m"],
        "mounts",
        [{**TMPFS, "size": MIB}],
    ),
    (["--tmpfs", "/t"], "mounts", [TMPFS]),
    (
        ["--tmpfs", "/t:size=1m", "-v", "/srv:/x"],
        "mounts",
        [
            {**BIND},
            {**TMPFS, "size": MIB},
        ],
    ),
    (["-v", "data:/x"], "mounts", [VOLUME]),
    (["-v", "data:/x:ro,nocopy"], "mounts", [{**VOLUME, "read_only": True, "copy_image": False}]),
    (["-v", "/srv:/x:rw,shared"], "mounts", [{**BIND, "propagation": "shared"}]),
    (["--mount", "type=volume,source=data,target=/x"], "mounts", [VOLUME]),
    (
        ["--mount", "type=volume,src=data,dst=/x,readonly,volume-nocopy"],
        "mounts",
        [{**VOLUME, "read_only": True, "copy_image": False}],
    ),
    (
        ["--mount", "src=/srv,dst=/x,bind-recursive=disabled"],
        "mounts",
        [{**BIND, "recursive": "disabled"}],
    ),
    (
        ["--mount", "src=/srv,dst=/x,bind-recursive=readonly"],
        "mounts",
        [BIND],
    ),
    (
        ["--mount", "src=/srv,dst=/x,create"],
        "mounts",
        [{**BIND, "create": {"uid": 0, "gid": 0, "mode": 0o755}}],
    ),
    (
        ["--mount", "src=/srv,dst=/x,create,uid=70,gid=71,mode=0700"],
        "mounts",
        [{**BIND, "create": {"uid": 70, "gid": 71, "mode": 0o700}}],
    ),
    (
        ["--mount", "type=tmpfs,dst=/t,tmpfs-mode=700,exec"],
        "mounts",
        [{**TMPFS, "mode": 0o700, "executable": True}],
    ),
    (
        ["--tmpfs", "/t:mode=755,exec,size=1m"],
        "mounts",
        [{**TMPFS, "mode": 0o755, "executable": True, "size": MIB}],
    ),
    (["--tmpfs", "/t:noexec"], "mounts", [TMPFS]),
    (
        ["--volumes-from", "db", "--volumes-from", "web:ro"],
        "volumes_from",
        [{"container": "db", "read_only": False}, {"container": "web", "read_only": True}],
    ),
    (["--flavor", "general"], "flavor", {"name": "general", "limits": None}),
    (["-m", "64m", "--memory-reservation", "32m"], "limits.memory_reservation", 32 * MIB),
    (["--oom-score-adj", "500"], "limits.oom_score_adj", 500),
    (["--oom-score-adj", "0"], "limits.oom_score_adj", 0),
    (["-m", "64m", "--oom-policy", "kill"], "limits.oom_policy", "kill"),
    (["-m", "64m", "--oom-kill-disable"], "limits.oom_policy", "pause"),
    (["--disk", "1g"], "limits.disk", 1024 * MIB),
    (["--storage-opt", "size=1g"], "limits.disk", 1024 * MIB),
    (["--blkio-weight", "50"], "limits.io_weight", 50),
    (
        [
            *("--device-read-bps", "/dev/sda:10m", "--device-write-bps", "/dev/sda:1m"),
            *("--device-read-iops", "/dev/sdb:100", "--device-write-iops", "/dev/sda:7"),
        ],
        "limits.io",
        [
            {"device": "/dev/sda", "read_bps": 10 * MIB, "write_bps": MIB,
             "read_iops": None, "write_iops": 7},
            {"device": "/dev/sdb", "read_bps": None, "write_bps": None,
             "read_iops": 100, "write_iops": None},
        ],
    ),
    (
        ["--hugepages", "2MB=64m", "--hugepages", "1GB=0"],
        "limits.hugepages",
        {"2MB": 64 * MIB, "1GB": 0},
    ),
    (["--init"], "init", True),
    (["-i", "--interactive"], "stdin", True),
    (["-t", "--tty"], "tty", True),
    (["--restart", "unless-stopped"], "restart", {"policy": "unless-stopped", "retries": None}),
    (["--restart", "on-failure:3"], "restart", {"policy": "on-failure", "retries": 3}),
    (["--group-add", "audio", "--group-add", "44"], "groups", ["audio", "44"]),
    (["--domainname", "example.org"], "domain", "example.org"),
    (
        ["--add-host", "db:10.0.0.5", "--add-host", "v6=fd00::1", "--add-host", "b:[fd00::2]"],
        "hosts",
        {"db": "10.0.0.5", "v6": "fd00::1", "b": "fd00::2"},
    ),
    (
        ["--dns", "10.0.0.1", "--dns", "fd00::1", "--dns-search", "example.org",
         "--dns-option", "ndots:2"],
        "dns",
        {"servers": ["10.0.0.1", "fd00::1"], "search": ["example.org"], "options": ["ndots:2"]},
    ),
    (["--tz", "Europe/Berlin"], "timezone", "Europe/Berlin"),
    (["--annotation", "a.b/c=x=y"], "annotations", {"a.b/c": "x=y"}),
    (["--userns", "private"], "security.user_namespace", True),
    (["--userns", "host"], "security.user_namespace", False),
    (
        ["--sysctl", "net.core.somaxconn=99", "--sysctl", "kernel.msgmax=9"],
        "security.sysctls",
        {"net.core.somaxconn": "99", "kernel.msgmax": "9"},
    ),
    (
        ["--device", "/dev/fuse", "--device", "/dev/sda:/dev/x:r", "--device", "/dev/sdb:rw",
         "--device", "/dev/sdc:/dev/sdd"],
        "security.devices",
        [
            {"source": "/dev/fuse", "target": None, "access": "rwm"},
            {"source": "/dev/sda", "target": "/dev/x", "access": "r"},
            {"source": "/dev/sdb", "target": None, "access": "rw"},
            {"source": "/dev/sdc", "target": "/dev/sdd", "access": "rwm"},
        ],
    ),
    (["--rm"], "auto_remove", True),
    (["--network", "host"], "host_network", True),
    (["--network", "host"], "nics", []),
    (["--entrypoint", "/bin/sh"], "entrypoint", ["/bin/sh"]),
    (["--entrypoint", ""], "entrypoint", []),
    ([], "entrypoint", None),
    (["--user", "www:www"], "user", "www:www"),
    (["-u", "33"], "user", "33"),
    (["--workdir", "/srv"], "workdir", "/srv"),
    (["-w", "/srv"], "workdir", "/srv"),
    (["--hostname", "web.local"], "hostname", "web.local"),
    (["-h", "web"], "hostname", "web"),
    (["--cap-add", "cap_net_admin", "--cap-add", "SYS_TIME"], "security.cap_add",
     ["NET_ADMIN", "SYS_TIME"]),
    (["--cap-drop", "ALL"], "security.cap_drop", ["ALL"]),
    (["--read-only"], "security.read_only_rootfs", True),
    (["--privileged"], "security.privileged", True),
    ([], "security", Security().model_dump(mode="json")),
    (["--stop-signal", "SIGINT"], "stop_signal", "SIGINT"),
    (["--stop-signal", "hup"], "stop_signal", "SIGHUP"),
    (["--stop-signal", "10"], "stop_signal", signal.Signals(10).name),
    ([], "health", None),
    (["--health-cmd", "wget -q x || exit 1"], "health.type", "exec"),
    (["--health-cmd", "true || x"], "health.command", ["/bin/sh", "-c", "true || x"]),
    (["--health-http", "80"], "health.type", "http"),
    (["--health-http", "8080/up?x=1"], "health.path", "/up?x=1"),
    (["--health-http", "8080/up"], "health.port", 8080),
    (["--health-http", "https:8443"], "health.tls", True),
    (["--health-http", "http:80"], "health.tls", False),
    (["--health-tcp", "5432"], "health.port", 5432),
    (["--health-tcp", "5432"], "health.type", "tcp"),
    (["--no-healthcheck"], "health.type", "none"),
    (["--health-tcp", "1", "--health-interval", "1.5s"], "health.interval", 1.5),
    (["--health-interval", "5", "--health-tcp", "1"], "health.interval", 5.0),
    (["--health-tcp", "1", "--health-timeout", "2m"], "health.timeout", 120.0),
    (["--health-tcp", "1", "--health-retries", "7"], "health.retries", 7),
    (["--health-tcp", "1", "--health-start-period", "10s"], "health.start_period", 10.0),
    (["--health-tcp", "1", "--on-unhealthy", "restart"], "health.on_unhealthy", "restart"),
    (["--health-tcp", "1", "--health-budget", "9"], "health.budget", 9),
    (["--stop-timeout", "2"], "stop_grace", 2.0),
    (["--stop-timeout", "1.5m"], "stop_grace", 90.0),
    (["-e", "A=1", "-e", "B=x=y", "--env", "EMPTY="], "env", {"A": "1", "B": "x=y", "EMPTY": ""}),
    (["-e", "FROM_HERE", "-e", "NOT_HERE"], "env", {"FROM_HERE": "yes"}),
    (["-l", "tier=front", "--label", "plain"], "labels", {"tier": "front", "plain": ""}),
    (["--network", "none"], "nics", []),
    (["--network", "back"], "nics", [{"network": "back", "address": None, "mac": None}]),
    (
        ["--ip", "10.88.0.9", "--mac-address", "02:00:00:00:00:09"],
        "nics",
        [{"network": "default", "address": "10.88.0.9", "mac": "02:00:00:00:00:09"}],
    ),
    ([], "nics", [{"network": "default", "address": None, "mac": None}]),
]  # fmt: skip


def sent(node: FakeNode) -> dict[str, Any]:
    [spec] = node.specs.values()
    return spec.model_dump(mode="json", context=REVEAL)


def at(spec: Any, field: str) -> Any:
    for part in field.split("."):
        spec = spec[part]
    return spec


@pytest.mark.parametrize("verb", ["create", "run -d"])
@pytest.mark.parametrize(("options", "field", "expected"), CASES, ids=lambda one: str(one)[:40])
def test_an_option_reaches_the_spec(
    shell: Shell, node: FakeNode, verb: str, options: list[str], field: str, expected: Any
) -> None:
    words = [*verb.split(), *options, "busybox:1"]
    result = shell.run(*words, env={"FROM_HERE": "yes"})
    assert result.exit_code == 0
    assert (result.stderr == "") is ("always" not in options)  # which shows how it comes
    assert at(sent(node), field) == expected


def test_every_row_has_a_case() -> None:
    tried = {word for options, _, _ in CASES for word in options}
    # Those that read a file are in test_injections.
    reading = {"--file", "--secret", "--key-pair", "--ssh-key"}
    flags = [flag for row in OPTIONS for flag in row.flags]
    assert [flag for flag in flags if flag not in tried | reading] == []


def test_what_follows_the_image_is_the_commands(shell: Shell, node: FakeNode) -> None:
    shell.out("run", "-d", "--name", "x", "busybox:1", "sh", "-c", "echo", "--name", "-d", "--")
    assert sent(node)["command"] == ["sh", "-c", "echo", "--name", "-d", "--"]
    assert sent(node)["name"] == "x"


def test_env_file(shell: Shell, node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("# comment\n\nA=1\nB= two words \nFROM_HERE\n")
    (tmp_path / "b").write_text("A=2")
    words = ["--env-file", str(tmp_path / "a"), "--env-file", str(tmp_path / "b"), "-e", "B=3"]
    result = shell.run("create", *words, "busybox:1", env={"FROM_HERE": "yes"})
    assert result.exit_code == 0
    assert sent(node)["env"] == {"A": "2", "B": "3", "FROM_HERE": "yes"}


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox:1", "busybox"),
        (f"h:5000/a/web@sha256:{'00' * 32}", "web"),
        ("glance://\N{KATAKANA LETTER KA}", "container"),
    ],
)
def test_a_name_is_made(shell: Shell, node: ImageNode, image: str, name: str) -> None:
    node.details[canonical(image)] = DETAIL
    shell.out("create", "--id", ID, image)
    assert sent(node)["name"] == f"{name}-6f1c7a54"
