"""What each field of a spec takes and what it refuses, by examples that are tried.

A field that is not here fails test_fields_table; so does an example that is taken, or refused,
against its row, or whose refusal names another field.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 2**20
ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@home"
_MODES = ([0, 0o644, 0o7777], [-1, 0o10000, "644"])
_IDS = ([0, 65534, 2**32 - 2], [-1, 2**32 - 1, "root"])
_TARGETS = (
    ["/x", "/a/b c", "/dev/shm"],
    ["x", "/a/../b", "", "/x\0", "/", "/proc", "/sys/fs", "/dev"],
)
_RATES = ([1, 2**53], [0, -1, 1.5, "1m"])
_IOPS = ([1, 2**32 - 2], [0, -1, 1.5, "1m", 2**32 - 1])
_YES = ([True], ["true", 1])
_TCP = {"health.type": "tcp", "health.port": 80}
_HTTP = {"health.type": "http", "health.port": 80}


@dataclass(frozen=True)
class Row:
    """`beside`: path → value of what it cannot be without. `elsewhere`: refused values, and the
    field that is at fault then, where it is not this one but what holds it.
    """

    accepted: list[Any]
    refused: list[Any]
    beside: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, list[Any]] = field(default_factory=dict)


ROWS: Mapping[str, Row] = {
    "id": Row([ID], ["", "x", ID.upper(), ID.replace("-", "")]),
    "name": Row(["web", "a.b_c-1", "x" * 63], ["", "-a", "a b", "x" * 64, 1]),
    "image": Row(
        ["busybox", "h:5000/a/b:1", "busybox@sha256:" + "0" * 64, "glance://web"],
        ["", "UPPER", "a b", "x\0", "busybox@sha256:1"],
    ),
    "pull": Row(["always", "if-not-present", "never"], ["sometimes", None, ""]),
    "image_credential": Row(["ci"], ["a/b", ""]),
    "flavor.name": Row(["general-small"], ["", "a b", None]),
    "flavor.limits": Row([{}, {"memory": 64 * MIB}], [{"memory": 1}, {"memroy": 1}, []]),
    "entrypoint": Row([["/bin/sh", "-c"], []], ["/bin/sh", [1], ["a\0"]]),
    "command": Row([["sleep", "60"], [""]], ["sleep 60", [None], ["\0"]]),
    "env": Row([{"A": "1", "B": ""}], [{"A=B": "1"}, {"A B": "1"}, {"": "1"}, {"A": 1}, ["A=1"]]),
    "workdir": Row(["/srv"], ["srv", "/a/../b", "/\0"]),
    "user": Row(["33", "www:www", "0:0"], ["", "a b", "a:b:c", 0]),
    "groups": Row([["audio", "44"]], ["audio", [""], ["a b"], ["a"] * 65]),
    "hostname": Row(["web", "web.example"], ["", "-a", "a_b", "x" * 65]),
    "domain": Row(["example.org"], ["", "_", ".org", "x" * 65]),
    "hosts": Row(
        [{"db": "10.0.0.5", "v6": "fd00::5"}], [{"a_b": "10.0.0.1"}, {"db": "here"}, {"db": None}]
    ),
    "dns.servers": Row([["10.0.0.1", "fd00::1"]], [["here"], "10.0.0.1", ["10.0.0.1"] * 9]),
    "dns.search": Row([["example.org", "b"]], [["_"], [""], ["a"] * 33]),
    "dns.options": Row([["ndots:2", "rotate"]], [["ndots 2"], ["x\nnameserver 1"], ["a"] * 17]),
    "labels": Row([{"tier": "front", "a.b/c": ""}], [{"": "x"}, {"a": 1}, {"a" * 257: ""}]),
    "annotations": Row([{"a.b/c": "x"}], [{"": "x"}, {"a": None}, {"a": "\0"}]),
    "mounts[bind].source": Row(["/srv/x", "/srv/x y"], ["x", "/srv/../etc", "", "/x\0"]),
    "mounts[bind].target": Row(*_TARGETS),
    "mounts[bind].read_only": Row(*_YES),
    "mounts[bind].propagation": Row(
        ["private", "rprivate", "slave", "rslave", "shared", "rshared"], ["", "unbindable"]
    ),
    "mounts[bind].recursive": Row(
        ["enabled", "writable", "disabled"], [True, "readonly"], {"mounts[bind].read_only": True}
    ),
    "mounts[bind].create.uid": Row(*_IDS),
    "mounts[bind].create.gid": Row(*_IDS),
    "mounts[bind].create.mode": Row(*_MODES),
    "mounts[tmpfs].target": Row(*_TARGETS),
    "mounts[tmpfs].size": Row([4096, 2**50], [0, 4095, "1m", None]),
    "mounts[tmpfs].mode": Row(*_MODES),
    "mounts[tmpfs].executable": Row(*_YES),
    "mounts[volume].name": Row(["data"], ["", "../x", "a b"]),
    "mounts[volume].target": Row(*_TARGETS),
    "mounts[volume].read_only": Row(*_YES),
    "mounts[volume].copy_image": Row([False], ["false", 0]),
    "volumes_from[].container": Row(["db", ID.replace("6", "7")], ["", None, "x" * 65, "web", ID]),
    "volumes_from[].read_only": Row(*_YES),
    "files[].target": Row(*_TARGETS),
    "files[].content": Row(["", "a\nb", "\N{SNOWMAN}"], [None, 1], elsewhere={
        "files[0]": ["x" * (64 * 1024 + 1)]}),
    "files[].encoding": Row(["text", "base64"], ["", "gzip"], {"files[].content": "QQ=="}),
    "files[].mode": Row(*_MODES),
    "files[].uid": Row(*_IDS),
    "files[].gid": Row(*_IDS),
    "secrets[].name": Row(["db-password"], ["", "../x", None]),
    "secrets[].value": Row(
        ["correct horse"], [1, []], {"secrets[].reference": None},
        elsewhere={"secrets[0]": [None, "x" * (64 * 1024 + 1)]},
    ),
    "secrets[].encoding": Row(
        ["text", "base64"], ["", "gzip"],
        {"secrets[].reference": None, "secrets[].value": "QQ=="},
    ),
    "secrets[].reference": Row(["prod-db"], ["../x", "a/b", ""]),
    "secrets[].target": Row(*_TARGETS),
    "secrets[].mode": Row(*_MODES),
    "secrets[].uid": Row(*_IDS),
    "secrets[].gid": Row(*_IDS),
    "key_pair.name": Row(["ann"], ["", "a b"]),
    "key_pair.public_keys": Row(
        [[KEY]],
        [[], ["ssh-ed25519 x"], [f"no-pty {KEY}"], [f"{KEY}\n{KEY}"], ["-----BEGIN"], KEY],
    ),
    "timezone": Row(["UTC", "Europe/Berlin"], ["", "../x", "/etc/passwd", "a b"]),
    "nics[].network": Row(["default", "back"], ["", "a b", None]),
    "nics[].address": Row(["10.89.0.9"], ["10.0.0.256", "fd00::1", "10.0.0.1/24", ""]),
    "nics[].mac": Row(["02:00:00:00:00:09"], ["01:00:00:00:00:09", "02:00", ""]),
    "host_network": Row(*_YES),
    "ports[].container_port": Row([1, 65535], [0, 65536, "80", None]),
    "ports[].host_port": Row([1, 65535], [0, 65536, "80"]),
    "ports[].host_ip": Row(["0.0.0.0", "127.0.0.1"], ["fd00::1", "here", ""]),
    "ports[].protocol": Row(["tcp", "udp"], ["sctp", "", "TCP"]),
    "limits.cpus": Row([0.01, 1, 1.5], [0, 0.001, -1, "1", True, 4097]),
    "limits.cpu_shares": Row([2, 262144], [1, 262145, 1.5]),
    "limits.cpuset": Row(["0", "0-3,5"], ["", "a", "3-0", "0,", 1]),
    "limits.memory": Row([6 * MIB, 2**53], [MIB, 0, -1, "64m", 1.5]),
    "limits.memory_reservation": Row(
        [6 * MIB, 64 * MIB], [MIB, "64m", 65 * MIB], {"limits.memory": 64 * MIB},
    ),
    "limits.memory_swap": Row(
        [64 * MIB, 128 * MIB], [MIB, -1, 63 * MIB], {"limits.memory": 64 * MIB}
    ),
    "limits.oom_policy": Row(
        ["continue", "kill", "pause"], ["", "ignore"], {"limits.memory": 64 * MIB}
    ),
    "limits.oom_score_adj": Row([-1000, 0, 1000], [-1001, 1001, "0"]),
    "limits.pids": Row([1, 4194304], [0, -1, 4194305]),
    "limits.ulimits[].name": Row(["nofile", "core"], ["", "files"]),
    "limits.ulimits[].soft": Row([0, 5], [-1, "1", 11]),
    "limits.ulimits[].hard": Row([10, 2**63 - 1], [-1, 2**63]),
    "limits.shm_size": Row([4096, MIB], [0, "1m"]),
    "limits.io_weight": Row([10, 1000], [9, 1001]),
    "limits.io[].device": Row(["/dev/vda"], ["vda", "/dev/../x", None]),
    "limits.io[].read_bps": Row(*_RATES),
    "limits.io[].write_bps": Row(*_RATES),
    "limits.io[].read_iops": Row(*_IOPS),
    "limits.io[].write_iops": Row(*_IOPS),
    "limits.hugepages": Row(
        [{"2MB": 4 * MIB}, {"1GB": 0}], [{"2MB": -1}, {"2M": 0}, {"2MB": 1}, {"2MB": "4m"}]
    ),
    "limits.disk": Row([MIB, 2**60], [0, MIB - 1, "1g"]),
    "init": Row(*_YES),
    "tty": Row(*_YES),
    "stdin": Row(*_YES),
    "health.type": Row(["none"], ["ping", None, ""]),
    "health.command": Row(
        [["true"], ["/bin/sh", "-c", "exit 1"]],
        ["true", [1], ["a\0"], []],
        {"health.type": "exec"},
    ),
    "health.port": Row([1, 65535], [0, 65536, "80", None], {"health.type": "tcp"}),
    "health.path": Row(["/health?deep=1"], ["health", "/a b", "", None], _HTTP),
    "health.tls": Row(*_YES, _HTTP),
    "health.interval": Row([0.1, 5, 86400], [0, 86401, "5", True], _TCP),
    "health.timeout": Row([0.1, 5, 86400], [0, 86401, "5", True], _TCP),
    "health.retries": Row([1, 1000], [0, 1001, 1.5, "3"], _TCP),
    "health.start_period": Row([0.5, 86400], [-1, 86401, "5", True], _TCP),
    "health.on_unhealthy": Row(["restart", "stop", "kill"], ["delete", "", None], _TCP),
    "health.budget": Row([1, 1000], [0, 1001, "5"], _TCP),
    "stop_signal": Row(["SIGTERM", "SIGRTMIN+3"], ["TERM", "SIGFOO", "", 15]),
    "stop_grace": Row([0, 2.5, 86400], [-1, 86401, "10", True]),
    "auto_remove": Row(*_YES),
    "restart.policy": Row(["always", "unless-stopped"], ["sometimes", True]),
    "restart.retries": Row(
        [1, 1_000_000], [0, -1, "3", 1_000_001], {"restart.policy": "on-failure"}
    ),
    "security.cap_add": Row([["NET_ADMIN"], ["ALL"]], [["FLY"], ["CAP_NET_ADMIN"], "ALL"]),
    "security.cap_drop": Row([["ALL"], ["CHOWN"]], [["all"], [""]]),
    "security.read_only_rootfs": Row(*_YES),
    "security.privileged": Row(*_YES),
    "security.user_namespace": Row(*_YES),
    "security.sysctls": Row(
        [{"net.core.somaxconn": "99"}], [{"x": "1"}, {"net/core": "1"}, {"net.a": 1}]
    ),
    "security.devices[].source": Row(["/dev/fuse"], ["fuse", "/dev/../x", "/x", None]),
    "security.devices[].target": Row(
        ["/dev/x"], ["x", "/dev/../x", "/x", "/dev", "/dev/null", "/dev/pts/0"]
    ),
    "security.devices[].access": Row(["r", "rw", "rwm", "m"], ["", "x", "wr"]),
}  # fmt: skip

#: What else a part has to have for one of its fields to be there.
_PARTS: Mapping[str, Mapping[str, Any]] = {
    "flavor": {"name": "general"},
    "mounts[bind]": {"type": "bind", "source": "/srv/a", "target": "/a"},
    "mounts[tmpfs]": {"type": "tmpfs", "target": "/a", "size": MIB},
    "mounts[volume]": {"type": "volume", "name": "a", "target": "/a"},
    "volumes_from[]": {"container": "a"},
    "files[]": {"target": "/a", "content": ""},
    "secrets[]": {"name": "a", "reference": "a"},
    "key_pair": {"name": "a", "public_keys": [KEY]},
    "ports[]": {"container_port": 80},
    "limits.ulimits[]": {"name": "nofile", "soft": 5, "hard": 10},
    "limits.io[]": {"device": "/dev/vda", "read_iops": 1},
    "security.devices[]": {"source": "/dev/fuse"},
}


def spec_with(path: str, value: Any) -> dict[str, Any]:
    """The smallest spec, with one field set, and what it cannot be without."""
    spec: dict[str, Any] = {"id": ID, "name": "web", "image": "busybox"}
    for where, what in {**ROWS[path].beside, path: value}.items():
        _put(spec, where, what)
    return spec


def blamed(path: str) -> str:
    """How an error names it: `mounts[0].source`."""
    return re.sub(r"\[\w*\]", "[0]", path)


def _put(spec: dict[str, Any], path: str, value: Any) -> None:
    above = ""
    *parents, last = path.split(".")
    for name in parents:
        above = f"{above}.{name}".lstrip(".")
        plain, bracket, _ = name.partition("[")
        part = copy.deepcopy(dict(_PARTS.get(above, {})))
        spec = spec.setdefault(plain, [part])[0] if bracket else spec.setdefault(plain, part)
    spec[last] = value
