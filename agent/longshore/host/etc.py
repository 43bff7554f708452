"""What the node writes into a container's /etc. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from longshore.model.host import Nic

_LOOPBACK = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
#: Debian's address for a host name that no interface answers to.
_NO_NIC = "127.0.1.1"


def hosts(
    hostname: str,
    nics: Sequence[Nic],
    domain: str | None = None,
    more: Mapping[str, str] | None = None,
    node: str | None = None,
) -> str:
    """/etc/hosts: loopback, and each own address under the full and the short name.

    Args:
        domain: what follows the host name in the full one.
        more: name → address; the first line that has a name wins, so it cannot take away its own.
        node: the node's own file, for a container that is in the node's network.
    """
    full = f"{hostname}.{domain}" if domain else hostname
    own = " ".join(filter(None, dict.fromkeys([full, hostname, hostname.split(".")[0]])))
    addresses = [nic.address for nic in nics] or [_NO_NIC]
    lines = [f"{address}\t{own}\n" for address in addresses]
    lines += [f"{address}\t{name}\n" for name, address in (more or {}).items()]
    if node is None:
        return _LOOPBACK + "".join(lines)
    # What the node calls itself is its own affair; the container's name comes after.
    return node.rstrip("\n") + "\n" + "".join(lines)
