"""Sysctls and devices as an OCI spec has them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from longshore.errors import InvalidSpec
from longshore.host.containerd.asked import AskedDevice
from longshore.host.containerd.node import Device, OciNode
from longshore.model.spec import ContainerSpec

#: Its network is its own, so any of its users may bind any port in it, and ping.
_OWN_NETWORK = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


def sysctls(spec: ContainerSpec) -> dict[str, str]:
    """`linux.sysctl`. The domain is one too, for runc knows OCI's `domainname` only since 1.2."""
    own = {} if spec.host_network else _OWN_NETWORK
    # In a user namespace nobody may write it: there it takes `domainname`.
    domain = None if spec.security.user_namespace else spec.domain
    named = {} if domain is None else {"kernel.domainname": domain}
    return {**own, **named, **spec.security.sysctls}


def check_domain(spec: ContainerSpec, node: OciNode) -> None:
    """Raises InvalidSpec if this node's runtime cannot set the domain that is asked for."""
    if spec.domain and spec.security.user_namespace and not node.domainname:
        why = "this node's runtime cannot set it in a user namespace"
        raise InvalidSpec(
            f"cannot create container {spec.name}: domain: {why}",
            field="domain",
            object=spec.name,
            hint="crun can: [containerd] runtime",
            details={"faults": [{"field": "domain", "why": why}]},
        )


def device(one: Device) -> dict[str, Any]:
    """A row of `linux.devices`."""
    return {
        "path": one.path,
        "type": one.kind,
        "major": one.major,
        "minor": one.minor,
        "fileMode": one.mode,
        "uid": one.uid,
        "gid": one.gid,
    }


def device_rules(asked: Sequence[AskedDevice]) -> list[dict[str, Any]]:
    """Rows of `linux.resources.devices`, after those that forbid everything."""
    return [
        {
            "allow": True,
            "type": one.node.kind,
            "major": one.node.major,
            "minor": one.node.minor,
            "access": one.access,
        }
        for one in asked
    ]


def bound(target: str, source: str) -> dict[str, Any]:
    """A file of the node that is only read."""
    options = ["bind", "rprivate", "nosuid", "nodev", "ro"]
    return {"destination": target, "type": "bind", "source": source, "options": options}


def device_mounts(asked: Sequence[AskedDevice]) -> list[dict[str, Any]]:
    """In a user namespace nobody can make a device, so the node's own is mounted."""
    return [
        {
            "destination": one.node.path,
            "type": "bind",
            "source": one.source,
            "options": ["bind", "rprivate", "nosuid", "noexec", "rw"],
        }
        for one in asked
    ]
