"""Everything wrong with a spec is said at once, each fault with its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from longshore.errors import InvalidSpec
from longshore.model.limits import cpus_of
from longshore.model.spec import ContainerSpec, parse

GOOD: dict[str, Any] = {
    "id": "6a1d1b2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b",
    "name": "web",
    "image": "busybox:latest",
}
WHOLE: dict[str, Any] = {
    **GOOD,
    "entrypoint": ["/bin/sh"],
    "command": ["-c", "true"],
    "env": {"A": "1"},
    "workdir": "/srv",
    "user": "app:staff",
    "hostname": "web-1.example",
    "labels": {"tier": "front"},
    "mounts": [
        {"type": "bind", "source": "/srv/x", "target": "/x", "read_only": True},
        {"type": "tmpfs", "target": "/tmp", "size": 65536},
    ],
    "nics": [{"network": "default", "address": "10.89.0.7", "mac": "02:00:00:00:00:01"}],
    "ports": [{"container_port": 80, "host_port": 8080, "host_ip": "127.0.0.1", "protocol": "udp"}],
    "limits": {
        "cpus": 1.5,
        "cpu_shares": 512,
        "cpuset": "0-1",
        "memory": 2**26,
        "memory_swap": 2**27,
        "pids": 64,
        "ulimits": [{"name": "nofile", "soft": 1024, "hard": 2048}],
        "shm_size": 2**20,
    },
    "stop_signal": "SIGRTMIN+3",
    "stop_grace": 2.5,
    "security": {"cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"], "read_only_rootfs": True},
}
TMPFS = {"type": "tmpfs", "target": "/x", "size": 4096}
FUSE = {"source": "/dev/fuse"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    (
        {"mounts": [{**TMPFS, "target": "/f/x/y"}], "files": [{"target": "/f/x", "content": ""}]},
        "mounts[0].target",
        "beneath /f/x, which is a file",
    ),
    (
        {
            "files": [{"target": "/run/secrets/s/x", "content": ""}],
            "secrets": [{"name": "s", "value": "x"}],
        },
        "files[0].target",
        "beneath /run/secrets/s",
    ),
    (
        {"mounts": [TMPFS], "files": [{"target": "/x", "content": ""}]},
        "files[0].target",
        "twice",
    ),
    (
        {"hosts": {"db": "10.0.0.5"}, "files": [{"target": "/etc/hosts", "content": ""}]},
        "files[0].target",
        "twice",
    ),
    (
        {"security": {"devices": [FUSE, {**FUSE, "target": "/dev/x", "access": "r"}]}},
        "security.devices[1].access",
        "/dev/fuse has another",
    ),
    (
        {"mounts": [{"type": "bind", "source": "/x", "target": "/x", "recursive": "writable"}]},
        "mounts[0].recursive",
        "read_only",
    ),
    ({"volumes_from": [{"container": "web"}]}, "volumes_from[0].container", "itself"),
    ({"limits": {"oom_policy": "kill"}}, "limits.oom_policy", "kill needs memory"),
    ({"colour": "red"}, "colour", "no such field"),
    *(
        ({"security": {"user_namespace": True}, **asked}, field, "has 65536 numbers, from 0 on")
        for asked, field in (
            ({"user": "65536"}, "user"),
            ({"user": f"app:{'7' * 5000}"}, "user"),
            ({"groups": ["0", "70000"]}, "groups[1]"),
            ({"files": [{"target": "/f", "content": "", "uid": 70000}]}, "files[0].uid"),
            ({"secrets": [{"name": "s", "value": "x", "gid": 65536}]}, "secrets[0].gid"),
        )
    ),
    (
        {"security": {"privileged": True, "devices": [{"source": "/dev/fuse", "access": "r"}]}},
        "security.devices[0].access",
        "a privileged container may do everything",
    ),
    ({"limits": {"memry": 1}}, "limits.memry", "no such field"),
    ({"limits": {"memory": "512m"}}, "limits.memory", "whole number"),
    ({"limits": {"memory": -1}}, "limits.memory", "must be at least 6291456"),
    ({"limits": {"memory": 6 * 2**20 - 1}}, "limits.memory", "must be at least 6291456"),
    (
        {"limits": {"memory": 2**26, "memory_swap": 2**25}},
        "limits.memory_swap",
        "must not be below memory",
    ),
    ({"limits": {"memory_swap": 2**26}}, "limits.memory_swap", "needs memory"),
    ({"limits": {"cpus": 0}}, "limits.cpus", "must be above 0"),
    ({"limits": {"cpus": "1"}}, "limits.cpus", "number of cores"),
    ({"limits": {"cpus": True}}, "limits.cpus", "number of cores"),
    ({"limits": {"cpus": 0.001}}, "limits.cpus", "0.01"),
    ({"limits": {"cpuset": "3-1"}}, "limits.cpuset", "backwards"),
    ({"limits": {"cpuset": "one"}}, "limits.cpuset", "list like"),
    ({"limits": {"pids": 0}}, "limits.pids", "must be at least 1"),
    ({"limits": {"pids": 1.5}}, "limits.pids", "whole number"),
    (
        {"limits": {"ulimits": [{"name": "nofile", "soft": 2, "hard": 1}]}},
        "limits.ulimits[0].soft",
        "above hard",
    ),
    ({"limits": {"ulimits": [{"name": "x", "soft": 1, "hard": 1}]}}, "limits.ulimits[0].name", ""),
    ({"id": "web"}, "id", ""),
    ({"id": GOOD["id"].upper()}, "id", "canonical"),
    ({"name": "-web"}, "name", "begin with"),
    ({"name": "w" * 64}, "name", "1 to 63"),
    ({"name": "we b"}, "name", ""),
    ({"name": "../x"}, "name", ""),
    ({"name": "wéb"}, "name", ""),
    ({"image": ""}, "image", ""),
    ({"image": "a\0b"}, "image", "NUL"),
    ({"command": ["a\0b"]}, "command[0]", "NUL"),
    ({"command": "sleep 1"}, "command", ""),
    ({"env": {"A=B": "1"}}, "env", "environment variable"),
    ({"env": {"A": 1}}, "env[A]", "string"),
    ({"env": {"A B": "1"}}, "env[A B]", "blank"),
    ({"workdir": "srv"}, "workdir", "absolute"),
    ({"user": "a b"}, "user", ""),
    ({"hostname": "-a"}, "hostname", "RFC 1123"),
    ({"labels": {str(n): "" for n in range(65)}}, "labels", "64"),
    ({"mounts": [{"type": "bind", "source": "x", "target": "/x"}]}, "mounts[0].source", "absolute"),
    (
        {"mounts": [{"type": "bind", "source": "/srv/../etc", "target": "/x"}]},
        "mounts[0].source",
        "'..'",
    ),
    ({"mounts": [{"type": "tmpfs", "target": "/", "size": 4096}]}, "mounts[0].target", "not be /"),
    ({"mounts": [TMPFS] * 2}, "mounts[1].target", "twice"),
    ({"mounts": [{"type": "nfs", "target": "/x"}]}, "mounts[0]", "bind"),
    ({"nics": [{"address": "10.0.0.300"}]}, "nics[0].address", "not permitted"),
    ({"nics": [{"address": "fe80::1"}]}, "nics[0].address", ""),
    ({"nics": [{"mac": "01:00:00:00:00:01"}]}, "nics[0].mac", "unicast"),
    ({"nics": [{}, {}]}, "nics", "at most 1"),
    ({"ports": [{"container_port": 0}]}, "ports[0].container_port", ""),
    ({"ports": [{"container_port": 80, "protocol": "sctp"}]}, "ports[0].protocol", ""),
    ({"ports": [{"container_port": 1, "host_port": 9}] * 2}, "ports[1].host_port", "twice"),
    ({"ports": [{"container_port": 80}], "nics": []}, "spec", "need a nic"),
    ({"stop_signal": "SIGWHAT"}, "stop_signal", ""),
    ({"stop_grace": -1}, "stop_grace", ""),
    ({"security": {"cap_add": ["CAP_CHOWN"]}}, "security.cap_add[0]", ""),
]


def test_what_is_whole_comes_back_the_same() -> None:
    spec = parse(WHOLE)
    again = ContainerSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert json.loads(spec.model_dump_json(exclude_unset=True)) == WHOLE


@pytest.mark.parametrize(("change", "field", "why"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong(change: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse({**GOOD, **change})
    (fault,) = caught.value.faults
    assert fault["field"] == field == caught.value.field
    assert why in fault["why"]
    assert str(caught.value).startswith("cannot accept the spec: ")


def test_all_faults_at_once() -> None:
    with pytest.raises(InvalidSpec, match=r"\(and 2 more\)") as caught:
        parse({"name": "-", "image": "", "id": GOOD["id"], "x": 1})
    assert {fault["field"] for fault in caught.value.faults} == {"name", "image", "x"}


def test_what_is_no_json_is_refused_too() -> None:
    with pytest.raises(InvalidSpec):
        parse({**GOOD, "labels": {"a": object()}})


@pytest.mark.parametrize("missing", ["id", "name", "image"])
def test_missing(missing: str) -> None:
    with pytest.raises(InvalidSpec, match="required") as caught:
        parse({key: value for key, value in GOOD.items() if key != missing})
    assert caught.value.field == missing


def test_cpus_of() -> None:
    assert cpus_of("0-2,5") == {0, 1, 2, 5}
