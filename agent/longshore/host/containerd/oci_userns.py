"""A user namespace in an OCI spec. Pure.

Both by path and with its mappings, as containerd's own CRI plugin hands it on: runc joins the
namespace and computes with the mappings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longshore.errors import InvalidSpec
from longshore.model.host import Ids, User
from longshore.model.linux import effective_capabilities
from longshore.model.spec import ContainerSpec

#: The kernel takes a range of groups only if both ends are mapped.
_PING = "net.ipv4.ping_group_range"
_ALL_GROUPS = "0 2147483647"


def check_user(user: User, ids: Ids, name: str) -> None:
    """Raises InvalidSpec: whom the process is to run as is not in the container's range."""
    for what, number in (
        ("user", user.uid),
        ("group", user.gid),
        *(("group", one) for one in user.groups),
    ):
        if number >= ids.size:
            why = f"its user namespace has {ids.size} of them, from 0 on"
            raise InvalidSpec(
                f"cannot run {name} as {what} {number}: {why}",
                field="user",
                object=name,
                details={"faults": [{"field": "user", "why": f"{what} {number}: {why}"}]},
            )


def check_remount(spec: ContainerSpec, runtime: str) -> None:
    """crun attaches binds inside the user namespace, so that who may mount in there takes the
    'read-only' off them again, and off its secrets. runc's are locked.

    Raises:
        InvalidSpec: with the field.
    """
    names = effective_capabilities(spec.security.cap_add, spec.security.cap_drop)
    fixed = spec.secrets or any(getattr(mount, "read_only", False) for mount in spec.mounts)
    if runtime == "runc" or not (spec.security.user_namespace and fixed):
        return
    if "CAP_SYS_ADMIN" not in names:
        return
    field = "security.cap_add"
    why = f"with SYS_ADMIN in a user namespace {runtime} lets it write to read-only mounts"
    raise InvalidSpec(
        f"cannot create container {spec.name}: {field}: {why}",
        field=field,
        object=spec.name,
        hint="runc does not: [containerd] runtime",
        details={"faults": [{"field": field, "why": why}]},
    )


def enter(linux: dict[str, Any], userns: Path, ids: Ids) -> None:
    """Adds the namespace to the `linux` part of a spec.

    Args:
        userns: where it is held.
    """
    linux["namespaces"].append({"type": "user", "path": str(userns)})
    maps = [{"containerID": 0, "hostID": ids.first, "size": ids.size}]
    linux |= {"uidMappings": maps, "gidMappings": maps}
    if linux["sysctl"].get(_PING) == _ALL_GROUPS:
        linux["sysctl"][_PING] = f"0 {ids.size - 1}"
