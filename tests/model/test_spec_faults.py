"""Every fault of a spec is named by its field's path, as a caller writes it."""

from __future__ import annotations

from typing import Any

import pytest

from longshore.errors import InvalidSpec
from longshore.model.spec import parse

BASE = {"id": "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "name": "web", "image": "busybox"}
BIND = {"type": "bind", "source": "/a", "target": "/a"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hosts": {"a_b": "10.0.0.1"}}, "hosts[a_b]"),
        ({"hosts": {"db": "here"}}, "hosts[db]"),
        ({"env": {"A": 1}}, "env[A]"),
        ({"labels": {"a.b/c": None}}, "labels[a.b/c]"),
        ({"annotations": {"x" * 300: ""}}, f"annotations[{'x' * 64}]"),
        ({"security": {"sysctls": {"net.core.x": 1}}}, "security.sysctls[net.core.x]"),
        ({"security": {"sysctls": {"bind": ""}}}, "security.sysctls[bind]"),
        (
            {"security": {"user_namespace": True, "sysctls": {"kernel.domainname": "a"}}},
            "security.sysctls[kernel.domainname]",
        ),
        ({"limits": {"hugepages": {"2MB": "x"}}}, "limits.hugepages[2MB]"),
        ({"flavor": {"name": "a", "limits": {"memory": 1}}}, "flavor.limits.memory"),
        ({"flavor": {}}, "flavor.name"),
        ({"mounts": [{**BIND, "create": {"mode": "755"}}]}, "mounts[0].create.mode"),
        ({"mounts": [BIND, {"type": "tmpfs", "target": "/t"}]}, "mounts[1].size"),
        ({"mounts": [{"type": "volume", "name": "a b", "target": "/t"}]}, "mounts[0].name"),
        ({"mounts": [{"type": "nfs", "target": "/t"}]}, "mounts[0]"),
        ({"mounts": [{"type": "borrowed", "container": "a", "index": 0, "target": "/t"}]},
         "mounts[0].type"),
        ({"volumes_from": [{"container": ""}]}, "volumes_from[0].container"),
        ({"files": [{"target": "/f", "content": "!", "encoding": "base64"}]}, "files[0]"),
        ({"secrets": [{"name": "s", "value": "a", "reference": "b"}]}, "secrets[0]"),
        ({"secrets": [{"name": "s"}]}, "secrets[0]"),
        ({"key_pair": {"name": "k", "public_keys": ["x"]}}, "key_pair.public_keys[0]"),
        ({"dns": {"servers": ["x"]}}, "dns.servers[0]"),
        ({"limits": {"io": [{"device": "/dev/a"}]}}, "limits.io[0]"),
        ({"security": {"devices": [{"source": "x"}]}}, "security.devices[0].source"),
        ({"host_network": True, "nics": [{}]}, "spec"),
        ({"bogus": 1}, "bogus"),
    ],
    ids=lambda one: str(one)[:50],
)  # fmt: skip
def test_a_fault_is_named_by_its_path(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse({**BASE, **changes})
    assert [one["field"] for one in refused.value.details["faults"]] == [field]
    assert refused.value.field == field


def test_what_was_secret_is_in_no_fault() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse({**BASE, "secrets": [{"name": "s", "value": "swordfish", "encoding": "base64"}]})
    assert "swordfish" not in str(refused.value.to_dict())
