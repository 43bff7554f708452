"""What a container's resolv.conf says, made from the node's.

Containers have IPv4 addresses of their own, so a name server on the node's loopback (such as
systemd-resolved's stub) or at an IPv6 address does not answer them and is left out; only those on
the node's own network may ask whom the node asks. Where none remains, the file that a local
resolver writes with its upstream servers is taken instead. Public servers are never made up:
without any, names do not resolve, and the file says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from longshore.model.spec import Dns

#: Where resolvers that listen on loopback tell whom they ask.
UPSTREAM = (
    Path("/run/systemd/resolve/resolv.conf"),
    Path("/run/NetworkManager/no-stub-resolv.conf"),
)
_NONE = "# No name server of this node can be reached from a container.\n"
#: No resolver reads more than a few lines; a file larger than this is something else.
_MOST = 65536
#: Nothing asked for.
_NODES = Dns()


def resolv_conf(
    files: Sequence[Path],
    nameservers: Sequence[str],
    asked: Dns = _NODES,
    *,
    on_node: bool = False,
) -> str:
    """The text for a container.

    Search domains and options come from the same file as the servers. Servers of the agent's
    configuration, or of the request, take the node's search domains but none of its options
    (`trust-ad`, say), which speak of the servers that they stand beside.

    Args:
        files: the node's own, then where to look for servers if it has none that can be reached.
        nameservers: of the agent's configuration; not empty: instead of the node's.
        asked: what is not empty in it is instead of both.
        on_node: the container is on the node's own network.
    """
    answering = _servers if on_node else _reachable
    given = asked.servers or tuple(nameservers)
    texts = [_read(file) for file in files]
    text = texts[0] if given else next(filter(answering, texts), texts[0])
    servers = given or answering(text)
    domains = asked.search or _last(text, "search") or _last(text, "domain")
    options = [] if given else [v for key, v in _entries(text) if key == "options"]
    if asked.options:
        options = [list(asked.options)]
    lines = [f"nameserver {server}" for server in servers]
    lines += ["search " + " ".join(domains)] if domains else []
    lines += [f"options {' '.join(values)}" for values in options]
    return ("" if servers else _NONE) + "".join(line + "\n" for line in lines)


def has_nameserver(files: Sequence[Path]) -> bool:
    """Whether any of the files names a server that answers a container."""
    return any(_reachable(_read(file)) for file in files)


def _servers(text: str) -> list[str]:
    return [server for key, (server, *_) in _entries(text) if key == "nameserver"]


def _reachable(text: str) -> list[str]:
    return [server for server in _servers(text) if _is_remote(server)]


def _is_remote(server: str) -> bool:
    try:
        address = IPv4Address(server)
    except AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _last(text: str, keyword: str) -> list[str]:
    return next((values for key, values in reversed([*_entries(text)]) if key == keyword), [])


def _entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """`keyword value…` of each line that has both; `#` and `;` begin a comment."""
    for line in text.splitlines():
        if not line.startswith(("#", ";")) and len(words := line.split()) > 1:
            yield words[0], words[1:]


def _read(file: Path) -> str:
    try:
        with file.open(errors="replace") as opened:
            return opened.read(_MOST)
    except (FileNotFoundError, NotADirectoryError):
        return ""
