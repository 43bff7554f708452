"""User namespaces: processes of a container that are nobody on the node.

A container that has one gets a range of the node's numbers to itself (`Ids`). Its image's layers,
which all containers share, are mounted once more for it with their owners moved into that range;
what it writes goes to its own layer with the range's numbers, and these are what the node sees.
In bind mounts and volumes they are the files' own users: what its root writes there is root's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longshore.errors import HostFailed, InvalidSpec, LongshoreError
from longshore.host import mounts as kernel
from longshore.host.containerd import remapped, snapshots
from longshore.host.containerd.client import Client
from longshore.host.idmap import hide, show, unmount
from longshore.host.mountinfo import mount_points
from longshore.host.namespaces import (
    container_map,
    holds,
    network_namespace_in,
    user_namespace,
)
from longshore.model.host import Ids
from longshore.model.layout import Layout
from longshore.model.names import Names, is_container_id
from longshore.model.status import Cannot

_CLONE_NEWUSER = 0x10000000
_FOLDER_MODE = 0o700
_STACKS = "overlayfs"
_PROBE = ".probe"
_PROBE_IDS = Ids(65536, 1)


class UserNamespaces:
    """Satisfies lifecycle.ports.UserNamespaces.

    Args:
        snapshotter: containerd's, by name.
        root: where it keeps root file systems.
    """

    def __init__(self, layout: Layout, client: Client, snapshotter: str, root: Path) -> None:
        self._layout = layout
        self._client = client
        self._snapshotter = snapshotter
        self._why_not = self._probe(root)

    def check(self) -> None:
        """Raises InvalidSpec with the reason if this node cannot."""
        if self._why_not:
            field = "security.user_namespace"
            raise InvalidSpec(
                f"cannot give the container a user namespace: {self._why_not}",
                field=field,
                hint="`longshore status` says what else this node cannot do",
                details={"faults": [{"field": field, "why": self._why_not}]},
            )

    def cannot(self) -> list[Cannot]:
        """For the node's status, found out at the agent's start."""
        why = self._why_not
        return [Cannot(feature="security.user_namespace", why=why)] if why else []

    def make(self, names: Names, ids: Ids) -> None:
        """The namespace; the image's layers as seen there; the container's own layer as its root's.
        What is there already stays.

        Raises:
            NotFound: there is no snapshot.
            HostUnavailable, HostFailed, DeadlineExceeded: as they say.
        """
        layout = self._layout
        found = snapshots.mounts(self._client, self._snapshotter, names)
        with _translated(f"make the user namespace of {names.id}", names.id):
            user = layout.userns(names)
            user.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            if not holds(user, _CLONE_NEWUSER):
                unmount(user)
                user.touch(mode=0o444)
                with user_namespace(container_map(ids)) as file:
                    kernel.bind_file(file, user)
            layers = layout.layers(names)
            if layers not in {point.path for point in mount_points(mentioning=names.id)}:
                layers.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                show(remapped.common(found, names.id), layers, user)
            for folder in remapped.own(found):
                _give(folder, ids)

    def remove(self, names: Names) -> None:
        """Raises HostFailed: something is in the way that is not ours."""
        with _translated(f"remove the user namespace of {names.id}", names.id):
            _clear(self._layout.user_namespaces / names.id)

    def owned(self) -> set[str]:
        """Ids of the containers that have one, or the folder for it."""
        with _translated("list user namespaces", None):
            try:
                found = os.listdir(self._layout.user_namespaces)
            except FileNotFoundError:
                return set()
            return {name for name in found if is_container_id(name)}

    def _probe(self, root: Path) -> str:
        """Why this node cannot; empty: it can. Does what `make` and the runtime do."""
        if self._snapshotter != _STACKS:
            return f"it takes snapshotter {_STACKS}, this node uses {self._snapshotter}"
        folder = self._layout.user_namespaces / _PROBE
        try:
            _clear(folder)
            layers, other, seen = (folder / name for name in ("layers", "other", "seen"))
            for one in (layers, other, seen):
                one.mkdir(mode=_FOLDER_MODE, parents=True)
            try:
                with user_namespace(container_map(_PROBE_IDS)) as file:
                    show(root, layers, file)
                    with network_namespace_in(file):
                        pass
                kernel.stack([layers, other], seen)
            finally:
                _clear(folder)
        except LongshoreError as error:
            return f"{error}"
        except OSError as error:
            return f"overlayfs on idmapped layers: {error.strerror} (needs Linux 5.19 or later)"
        return ""


def _clear(folder: Path) -> None:
    try:
        entries: Sequence[str] = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in entries:
        hide(folder / name)
    folder.rmdir()


def _give(folder: Path, ids: Ids) -> None:
    """The empty top of the container's own layer, which containerd made as the image's."""
    there = folder.stat()
    if not ids.covers(there.st_uid):
        os.chown(folder, ids.outside(there.st_uid), ids.outside(there.st_gid))


@contextmanager
def _translated(what: str, object: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = f"{error.strerror} ({error.filename})" if isinstance(error, OSError) else f"{error}"
        raise HostFailed(f"cannot {what}: {why}", object=object) from error
