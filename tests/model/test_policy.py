"""What the operator forbids, whoever asks: each rule by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from longshore.errors import InvalidSpec, PolicyForbids
from longshore.model.linux import CAPABILITIES, DEFAULT_CAPABILITIES
from longshore.model.policy import (
    ORDERS,
    RULES,
    Ceiling,
    DeviceRule,
    Rules,
    capabilities,
    check,
    check_rules,
)
from longshore.model.spec import ContainerSpec, parse
from longshore.model.sysctls import NAMESPACED, namespace_of
from longshore.options import OPTIONS

CEILING = Ceiling(frozenset(range(4)), frozenset({"default"}))
ALLOWED = Rules(capabilities=capabilities(["NET_ADMIN"]))


def spec_of(fields: Mapping[str, Any] | None = None, **security: Any) -> ContainerSpec:
    id = "6f2c1f2e-7f0b-4a0e-9d3a-0123456789ab"
    whole = {"id": id, "name": "web", "image": "busybox:latest", "security": security}
    return parse({**whole, **(fields or {})})


def test_the_default_capabilities_are_always_allowed() -> None:
    assert capabilities([]) == set(DEFAULT_CAPABILITIES)
    assert capabilities(["BPF"]) == {"BPF", *DEFAULT_CAPABILITIES}
    assert capabilities(["ALL"]) == set(CAPABILITIES)
    check(spec_of(cap_drop=["ALL"], cap_add=["CHOWN", "NET_ADMIN"]), CEILING, ALLOWED)


@pytest.mark.parametrize(
    ("add", "index", "name"),
    [
        (["SYS_ADMIN"], 0, "SYS_ADMIN"),
        (["NET_ADMIN", "CHOWN", "SYS_MODULE"], 2, "SYS_MODULE"),
        (["ALL"], 0, "ALL"),
    ],
)
def test_a_capability_that_is_not_allowed(add: Sequence[str], index: int, name: str) -> None:
    with pytest.raises(PolicyForbids, match=f"does not allow capability {name}") as caught:
        check(spec_of(cap_add=add), CEILING, ALLOWED)
    assert caught.value.field == f"security.cap_add[{index}]"
    assert caught.value.object == "web"
    assert caught.value.hint is not None
    assert f"add {name} to [policy] allowed_capabilities" in caught.value.hint


def test_all_needs_each_of_them() -> None:
    each = replace(ALLOWED, capabilities=capabilities(["ALL"]))
    check(spec_of(cap_add=["ALL"]), CEILING, each)
    all_but_one = replace(ALLOWED, capabilities=each.capabilities - {"BPF"})
    with pytest.raises(PolicyForbids, match="ALL, which includes BPF"):
        check(spec_of(cap_add=["ALL"]), CEILING, all_but_one)


def test_who_may_be_privileged_needs_no_capability_beside() -> None:
    with pytest.raises(PolicyForbids) as caught:
        check(spec_of(privileged=True, cap_add=["SYS_ADMIN"]), CEILING, ALLOWED)
    assert caught.value.field == "security.privileged"
    allowing = replace(ALLOWED, allow_privileged=True)
    check(spec_of(privileged=True, cap_add=["SYS_ADMIN"]), CEILING, allowing)
    with pytest.raises(PolicyForbids):
        check(spec_of(cap_add=["SYS_ADMIN"]), CEILING, allowing)


def devices(*asked: str) -> list[dict[str, str]]:
    """`/dev/x:rw`."""
    parts = [one.partition(":") for one in asked]
    return [{"source": path, "access": access or "rwm"} for path, _, access in parts]


#: What is asked for; what allows it; the rule; the field; what the hint names.
CASES: list[tuple[ContainerSpec, Rules, str, str, str]] = [
    (
        spec_of(privileged=True),
        Rules(allow_privileged=True),
        "policy.allow_privileged",
        "security.privileged",
        "set [policy] allow_privileged",
    ),
    (
        spec_of({"host_network": True}, cap_add=["NET_ADMIN"]),
        replace(ALLOWED, allow_privileged=True, allow_host_network=True),
        "policy.allow_privileged",
        "security.cap_add[0]",
        "set [policy] allow_privileged",
    ),
    (
        spec_of(cap_add=["CHOWN", "BPF"]),
        Rules(capabilities=capabilities(["BPF"])),
        "policy.allowed_capabilities",
        "security.cap_add[1]",
        "add BPF to [policy] allowed_capabilities",
    ),
    (
        spec_of(devices=devices("/dev/kmsg:r", "/dev/fuse:rw")),
        Rules(devices=(DeviceRule("/dev/kmsg"), DeviceRule("/dev/fu*", "rw"))),
        "policy.allowed_devices",
        "security.devices[0].source",
        "add /dev/kmsg:r to [policy] allowed_devices",
    ),
    (
        spec_of(sysctls={"net.ipv4.tcp_rmem": "1 2 3"}),
        Rules(sysctls=("net.ipv4.tcp_*",)),
        "policy.allowed_sysctls",
        "security.sysctls[net.ipv4.tcp_rmem]",
        "add net.ipv4.tcp_rmem to [policy] allowed_sysctls",
    ),
    (
        spec_of({"annotations": {"org.systemd.property.MemoryMax": "uint64 1"}}),
        Rules(annotations=("org.systemd.property.*",)),
        "policy.allowed_annotations",
        "annotations[org.systemd.property.MemoryMax]",
        "add org.systemd.property.MemoryMax to [policy] allowed_annotations",
    ),
    (
        spec_of({"host_network": True}),
        Rules(allow_host_network=True),
        "policy.allow_host_network",
        "host_network",
        "set [policy] allow_host_network",
    ),
    (
        spec_of(),
        Rules(),
        "policy.require_user_namespace",
        "security.user_namespace",
        "ask for security.user_namespace",
    ),
]


@pytest.mark.parametrize(
    ("spec", "allowing", "rule", "field", "hint"), CASES, ids=[f"{c[2]}-{c[3]}" for c in CASES]
)
def test_each_rule(spec: ContainerSpec, allowing: Rules, rule: str, field: str, hint: str) -> None:
    check_rules(spec, allowing)
    forbidding = replace(Rules(), require_user_namespace=rule == "policy.require_user_namespace")
    with pytest.raises(PolicyForbids, match="cannot run container web: this node ") as caught:
        check_rules(spec, forbidding)
    error = caught.value
    assert (error.details["rule"], error.field, error.object) == (rule, field, "web")
    assert hint in str(error.hint)
    assert error.details["faults"][0]["field"] == field


def test_every_rule_has_a_case_an_option_and_words() -> None:
    assert {rule for _, _, rule, _, _ in CASES} == set(RULES)
    options = {f"policy.{option.name}" for option in OPTIONS["policy"]}
    assert options == set(RULES)
    assert all(option.mutable for option in OPTIONS["policy"])
    assert all(rule.__doc__ for rule in RULES.values())


def test_all_breaches_of_a_rule_are_told() -> None:
    with pytest.raises(PolicyForbids, match=r"/dev/a \(and 1 more\)") as caught:
        check_rules(spec_of(devices=devices("/dev/a", "/dev/b")), Rules())
    fields = [fault["field"] for fault in caught.value.details["faults"]]
    assert fields == ["security.devices[0].source", "security.devices[1].source"]


@pytest.mark.parametrize(
    ("rule", "path", "covered"),
    [
        ("/dev/fuse", "/dev/fuse", True),
        ("/dev/fuse", "/dev/fuse2", False),
        ("/dev/fuse", "/x/dev/fuse", False),
        ("/dev/snd", "/dev/snd/pcmC0D0p", True),
        ("/dev/sd*", "/dev/sda", True),
        ("/dev/snd/*", "/dev/snd", False),
        ("/dev/*", "/etc/passwd", False),
    ],
)
def test_which_devices_a_rule_covers(rule: str, path: str, covered: bool) -> None:
    assert DeviceRule.parse(rule).covers(path) is covered


def test_access_to_a_device_adds_up() -> None:
    rules = Rules(devices=(DeviceRule.parse("/dev/fuse:r"), DeviceRule.parse("/dev/f*:w")))
    check_rules(spec_of(devices=devices("/dev/fuse:rw")), rules)
    with pytest.raises(PolicyForbids, match="with access rwm") as caught:
        check_rules(spec_of(devices=devices("/dev/fuse:rwm")), rules)
    assert caught.value.field == "security.devices[0].access"


def test_annotations_that_order_nothing_are_free() -> None:
    check_rules(spec_of({"annotations": {"org.example.team": "blue", "run.ocixyz": ""}}), Rules())
    for one in ORDERS:
        with pytest.raises(PolicyForbids):
            check_rules(spec_of({"annotations": {f"{one}x": ""}}), Rules())


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("net.ipv4.ip_forward", "network"),
        ("kernel.shmmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("kernel.domainname", "uts"),
        ("kernel.hostname", None),
        ("kernel.shmmax2", None),
        ("kernel.shm", None),
        ("network.x", None),
        ("vm.swappiness", None),
        ("user.max_user_namespaces", None),
    ],
)
def test_whose_a_sysctl_is(name: str, namespace: str | None) -> None:
    assert namespace_of(name) == namespace
    assert set(NAMESPACED.values()) == {"ipc", "uts", "network"}
    if namespace is None:
        with pytest.raises(InvalidSpec, match="of the whole node"):
            spec_of(sysctls={name: "1"})
    else:
        spec_of(sysctls={name: "1"})
