"""`process` of the OCI spec for a command in a container, from the container's own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longshore.model.execs import Command
from longshore.model.host import User

#: Type of the message that holds it, as JSON.
URL = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_TERM = "xterm"


def process(
    spec: Mapping[str, Any], command: Command, user: User | None, capabilities: frozenset[str]
) -> dict[str, Any]:
    """Limits, capabilities and profiles are the container's own.

    Args:
        spec: the OCI spec that the container runs by.
        user: in numbers; None: the container's.
        capabilities: what a privileged command gets. The container's filter of system calls stays:
            runtimes have no way to leave it out.
    """
    made = dict(spec["process"])
    made.pop("consoleSize", None)
    made |= {
        "terminal": command.tty,
        "args": list(command.arguments),
        "env": _environment(made.get("env", ()), command, user),
        "cwd": command.workdir or made["cwd"],
    }
    if user is not None:
        made["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
    if command.tty and command.rows and command.columns:
        made["consoleSize"] = {"height": command.rows, "width": command.columns}
    if command.privileged:
        made["capabilities"] = dict.fromkeys(
            ("bounding", "effective", "permitted"), sorted(capabilities)
        )
        made["noNewPrivileges"] = False
        made.pop("apparmorProfile", None)
    return made


def is_mapped(spec: Mapping[str, Any]) -> bool:
    """Whether it has a user namespace."""
    namespaces = spec.get("linux", {}).get("namespaces", ())
    return any(one["type"] == "user" for one in namespaces)


def _environment(own: Any, command: Command, user: User | None) -> list[str]:
    values = dict(line.partition("=")[::2] for line in own)
    if command.tty:
        values.setdefault("TERM", _TERM)
    if user is not None:
        values["HOME"] = user.home
    return [f"{name}={value}" for name, value in {**values, **command.env}.items()]
