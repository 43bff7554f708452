"""Changes of a spec: what a patch makes of it, and what each field takes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from fields.walk import fields
from longshore.errors import InvalidSpec
from longshore.host.containerd.oci_limits import changeable
from longshore.model.limits import Limits
from longshore.model.mounts import Borrowed
from longshore.model.patches import (
    LIVE,
    ORDER,
    TABLE,
    apply,
    asked_of,
    changes,
    merged,
    most,
    rule,
)
from longshore.model.spec import ContainerSpec, parse

ID = str(uuid.uuid4())


def spec(**more: Any) -> ContainerSpec:
    return parse({"id": ID, "name": "web", "image": "web:1", **more})


def kept(**more: Any) -> ContainerSpec:
    """As the journal has it."""
    return spec(**more).without_values()


def found(before: ContainerSpec, patch: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.field, one.when) for one in changes(before, apply(before, patch))]


def test_every_field_has_a_class_and_a_reason() -> None:
    seen = set()
    for field in fields():
        when, why = rule(field)
        assert when in ORDER[1:], field
        assert len(why.split()) > 2, field
        seen |= {row for row in TABLE if field.startswith(row)}
    assert seen == set(TABLE), "rows of fields that there are not"


@pytest.mark.parametrize("field", ["nothing", "limit", "limits.nothing", "nics[].colour", ""])
def test_a_field_without_a_class_is_an_error(field: str) -> None:
    with pytest.raises(KeyError):
        rule(field)


def test_what_every_runtime_can_change_is_live() -> None:
    """The limits that `Tasks.Update` takes, found by what each adds to the OCI resources."""
    samples: dict[str, Any] = {
        "memory_swap": {"memory": 2**30, "memory_swap": 2**30},
        "ulimits": {"ulimits": [{"name": "nofile", "soft": 1, "hard": 1}]},
        "io": {"io": [{"device": "/dev/sda", "read_bps": 1}]},
        "hugepages": {"hugepages": {"2MB": 2**21}},
        "oom_policy": {"oom_policy": "continue"},
        "cpuset": {"cpuset": "0"},
        "cpus": {"cpus": 1.0},
        "oom_score_adj": {"oom_score_adj": 1},
    }
    changed = set()
    for name in Limits.model_fields:
        given = samples.get(name, {name: 2**24 if name != "io_weight" else 100})
        if name in ("cpu_shares", "pids"):
            given = {name: 100}
        one = spec(limits=given).limits
        without = one.model_copy(update={name: Limits().__dict__[name]})
        if changeable(one) != changeable(without):
            changed.add(name)
    assert changed == {
        *("cpus", "cpu_shares", "cpuset"),
        *("memory", "memory_reservation", "memory_swap", "pids"),
    }
    assert {rule(f"limits.{name}")[0] for name in changed} == {LIVE}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # of RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merged(target, patch) == result


def test_nothing() -> None:
    one = spec(env={"A": "1"}, limits={"memory": 2**24})
    for patch in ({}, {"env": {"A": "1"}}, {"limits": {"memory": 2**24}}, {"env": {"B": None}}):
        assert changes(one, apply(one, patch)) == ()
    assert most(()) == "nothing"


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"name": "new"}, [("name", "never")]),
        ({"id": str(uuid.uuid4())}, [("id", "never")]),
        ({"image": "web:2", "pull": "always"}, [("image", "never"), ("pull", "never")]),
        ({"env": {"A": None, "B": "2"}}, [("env[A]", "restart"), ("env[B]", "restart")]),
        ({"labels": {"x": "y"}}, [("labels[x]", "live")]),
        ({"command": ["sh"]}, [("command", "restart")]),
        ({"user": "www"}, [("user", "recreate")]),
        ({"limits": {"memory": 2**25, "ulimits": []}}, [("limits.memory", "live")]),
        ({"limits": None}, [("limits.memory", "restart")]),
        ({"restart": {"policy": "always"}}, [("restart.policy", "live")]),
        ({"health": {"type": "tcp", "port": 80}}, [("health", "live")]),
        ({"dns": {"servers": ["10.0.0.1"]}}, [("dns.servers", "recreate")]),
        ({"security": {"cap_add": ["NET_RAW"]}}, [("security.cap_add", "restart")]),
        ({"security": {"user_namespace": True}}, [("security.user_namespace", "recreate")]),
        ({"nics": [{"mac": "02:00:00:00:00:01"}]}, [("nics[0].mac", "restart")]),
        ({"nics": [{"address": "10.1.2.3"}]}, [("nics[0].address", "recreate")]),
        ({"nics": []}, [("nics", "recreate")]),
        ({"host_network": True}, [("host_network", "recreate"), ("nics", "recreate")]),
        ({"ports": [{"container_port": 80}]}, [("ports", "restart")]),
        (
            {"mounts": [{"type": "tmpfs", "target": "/b", "size": 8192}]},
            [("mounts[0].size", "restart")],
        ),
        ({"mounts": [{"type": "volume", "target": "/b"}]}, [("mounts[0]", "recreate")]),
        (
            {"mounts": [{"type": "bind", "source": "/x", "target": "/b"}]},
            [("mounts[0]", "restart")],
        ),
        ({"mounts": []}, [("mounts", "restart")]),
        ({"flavor": {"name": "small"}}, [("flavor", "live")]),
        ({"secrets": [{"name": "s", "reference": "s"}]}, [("secrets", "restart")]),
        ({"files": [{"target": "/f", "content": "x"}]}, [("files", "recreate")]),
        ({"hostname": "h", "tty": True}, [("hostname", "recreate"), ("tty", "restart")]),
    ],
)
def test_what_changes(patch: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    before = spec(
        env={"A": "1"},
        limits={"memory": 2**24},
        mounts=[{"type": "tmpfs", "target": "/b", "size": 4096}],
    )
    assert found(before, patch) == expected
    assert most(changes(before, apply(before, patch))) == max(
        (when for _, when in expected), key=ORDER.index
    )


def test_before_and_after_are_as_json_has_them() -> None:
    before = spec(env={"A": "1"}, ports=[{"container_port": 80}])
    after = apply(before, {"env": {"A": None}, "ports": [], "limits": {"cpus": 1.5}})
    shown = {one.field: (one.before, one.after) for one in changes(before, after)}
    port = {"container_port": 80, "host_ip": "0.0.0.0", "protocol": "tcp"}
    assert shown == {"env[A]": ("1", None), "ports": ([port], []), "limits.cpus": (None, 1.5)}


SECRET = {"name": "key", "value": "old, and nobody's"}
FILE = {"target": "/f", "content": "old, and nobody's"}


def test_secrets_and_files_that_are_there_keep_what_they_have() -> None:
    before = kept(secrets=[SECRET], files=[FILE])
    assert found(before, {"env": {"A": "1"}}) == [("env[A]", "restart")]
    assert found(before, {"secrets": [{"name": "key"}], "files": [{"target": "/f"}]}) == []
    assert found(before, {"secrets": [{"name": "key", "uid": 1}]}) == [
        ("secrets[0].uid", "restart")
    ]
    for field, patch in (
        ("secrets[0]", {"secrets": [{"name": "other"}]}),
        ("files[0].content", {"files": [{"target": "/g"}]}),
    ):
        with pytest.raises(InvalidSpec) as refused:
            apply(before, patch)
        assert refused.value.field == field


def test_values_and_contents_are_never_shown() -> None:
    before = kept(secrets=[SECRET], files=[FILE])
    patch = {
        "secrets": [{"name": "key", "value": "hidden"}],
        "files": [{"target": "/f", "content": "hidden"}],
    }
    told = changes(before, apply(before, patch))
    assert [(one.field, one.when) for one in told] == [
        ("files[0].content", "recreate"),
        ("secrets[0].value", "restart"),
    ]
    more = {name: [*one, {**one[0], "name": "b"}] for name, one in patch.items()}
    more["files"] = [*patch["files"], {"target": "/g", "content": "hidden"}]
    told += changes(before, apply(before, more))
    assert len(told) == 4
    for one in told:
        assert "hidden" not in one.model_dump_json()
        assert "nobody" not in one.model_dump_json()


def test_what_it_borrows_stays_and_cannot_be_asked_for() -> None:
    lent = Borrowed(container=str(uuid.uuid4()), index=0, target="/data")
    before = spec().but(mounts=(lent,))
    assert found(before, {"env": {"A": "1"}}) == [("env[A]", "restart")]
    with pytest.raises(InvalidSpec, match=r"mounts\[0\].type"):
        apply(spec(), {"mounts": [lent.model_dump(mode="json")]})


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"limits": {"memory": "1g"}}, "limits.memory"),
        ({"limits": {"memory": 1}}, "limits.memory"),
        ({"name": None}, "name"),
        ({"auto_remove": True, "restart": {"policy": "always"}}, "restart.policy"),
        ({"env": {"A B": "1"}}, "env[A B]"),
        ({"host_network": True, "ports": [{"container_port": 80}]}, "spec"),
    ],
)
def test_what_comes_out_is_checked_as_a_whole(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        apply(spec(), patch)
    assert refused.value.field == field


def test_limits_of_a_flavor_follow_it() -> None:
    flavor = Limits(memory=2**30, cpus=1.0)
    filled = spec(flavor={"name": "small"}, limits={"memory": 2**30, "cpus": 2.0, "pids": 5})
    asked = asked_of(filled, flavor)
    assert asked.limits == Limits(cpus=2.0, pids=5)
    assert asked_of(filled, None) == filled
    swap = spec(flavor={"name": "small"}, limits={"memory": 2**30, "memory_swap": 2**31})
    assert asked_of(swap, flavor) == swap, "swap alone is no limit"
