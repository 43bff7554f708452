"""What this containerd is and can do: version, plugins, the snapshotter to use, our namespace."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.empty_pb2 import Empty

from longshore.errors import Conflict, HostUnavailable
from longshore.host.containerd.client import Client
from longshore.pb.containerd import introspection_pb2, namespaces_pb2

#: Process, user and group of a peer.
_UCRED = struct.Struct("3i")
_SNAPSHOTTER = "io.containerd.snapshotter.v1"
#: overlayfs shares the layers' files; native copies them for each container, but works anywhere.
_SNAPSHOTTERS = ("overlayfs", "native")


@dataclass(frozen=True)
class Plugin:
    """One plugin of containerd.

    Attributes:
        failure: why it does not work here, empty if it does.
        root: the folder that it keeps its data in; None if it does not tell.
    """

    kind: str
    id: str
    failure: str = ""
    root: Path | None = None


@dataclass(frozen=True)
class Snapshotter:
    """The snapshotter to use, and why this one. `root`: where it keeps root file systems; None
    if it does not tell."""

    name: str
    why: str
    root: Path | None = None


def version(client: Client) -> str:
    """containerd's version, like `1.7.24`. The cheapest proof that it answers."""
    answer = client.call(client.version.Version, Empty(), "ask containerd's version")
    return str(answer.version).lstrip("v").partition("~")[0]


def pid(client: Client) -> int | None:
    """The process that listens at containerd's socket; None if it is not visible from here.

    Raises:
        HostUnavailable: nobody listens there.
    """
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(client.timeout)
            wire.connect(str(client.address))
            peer = wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError as error:
        raise HostUnavailable(
            f"cannot reach containerd at {client.address}: {error.strerror or error}",
            object=str(client.address),
        ) from error
    found: int = _UCRED.unpack(peer)[0]
    return found or None


def plugins(client: Client) -> tuple[Plugin, ...]:
    """All that this containerd was built with, also those that could not be loaded."""
    request = introspection_pb2.PluginsRequest()
    answer = client.call(client.introspection.Plugins, request, "list containerd's plugins")
    return tuple(
        Plugin(
            one.type,
            one.id,
            " ".join(one.init_err.message.split()) if one.HasField("init_err") else "",
            Path(one.exports["root"]) if "root" in one.exports else None,
        )
        for one in answer.plugins
    )


def ensure_namespace(client: Client) -> None:
    """Makes our namespace, in which containerd keeps everything of ours, if it is not there."""
    request = namespaces_pb2.CreateNamespaceRequest(namespace={"name": client.namespace})
    what = f"make containerd's namespace {client.namespace}"
    try:
        client.call(client.namespaces.Create, request, what)
    except Conflict:
        return


def choose_snapshotter(found: Sequence[Plugin], configured: str | None = None) -> Snapshotter:
    """The configured one, else overlayfs, else native.

    Raises:
        HostUnavailable: the configured one, or each of those, does not work here.
    """
    there = {one.id: one for one in found if one.kind == _SNAPSHOTTER}
    missing = "containerd has no such plugin"
    whys: list[str] = []
    for name in (configured,) if configured else _SNAPSHOTTERS:
        plugin = there.get(name, Plugin(_SNAPSHOTTER, name, missing))
        if not plugin.failure:
            why = "; ".join(["configured" if configured else "works", *whys])
            return Snapshotter(name, why, plugin.root)
        whys.append(f"{name} does not work: {plugin.failure}")
    raise HostUnavailable(f"cannot choose a snapshotter: {'; '.join(whys)}", object=configured)
