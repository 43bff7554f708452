"""Which sysctls a container has for itself, and of which of its namespaces they are.

Sources: ipc_namespaces(7), network_namespaces(7), uts_namespaces(7). What is in none of these is
the whole node's: no runtime sets it for a container, and nor do we.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Name, or the beginning of names (with a dot at its end) → namespace.
NAMESPACED: Mapping[str, str] = {
    "fs.mqueue.": "ipc",
    "kernel.domainname": "uts",
    "kernel.msgmax": "ipc",
    "kernel.msgmnb": "ipc",
    "kernel.msgmni": "ipc",
    "kernel.sem": "ipc",
    "kernel.shm_rmid_forced": "ipc",
    "kernel.shmall": "ipc",
    "kernel.shmmax": "ipc",
    "kernel.shmmni": "ipc",
    "net.": "network",
}


def namespace_of(sysctl: str) -> str | None:
    """None: the node has it but once."""
    return next(
        (
            namespace
            for name, namespace in NAMESPACED.items()
            if sysctl == name or (name.endswith(".") and sysctl.startswith(name))
        ),
        None,
    )
