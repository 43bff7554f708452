"""A container's folder on the node: its logs, and the files that it gets.

The container sees copies (shown.py), so here they stay as they were asked for. What the node itself
can say again (/etc) is not synced to the disk. What came with the request is: it is written once,
and then there is no other copy.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longshore.errors import Exhausted, HostFailed, LongshoreError, StartFailed
from longshore.host import shown, zoneinfo
from longshore.host.containerd import layers
from longshore.host.etc import hosts
from longshore.host.placing import Owner, owner_of, place, sync_folder
from longshore.host.resolv import UPSTREAM, has_nameserver, resolv_conf
from longshore.model.anonymous import is_covered
from longshore.model.host import User
from longshore.model.injected import File, KeyPair
from longshore.model.layout import Layout
from longshore.model.names import Names, is_container_id
from longshore.model.record import Facts
from longshore.model.spec import ContainerSpec
from longshore.model.values import encoded

_FOLDER_MODE, _LOG_MODE, _KEYS_MODE = 0o750, 0o640, 0o600


class Files:
    """Satisfies lifecycle.ports.Files.

    Args:
        resolv_conf: the node's; see host/resolv.py for what becomes of it.
        nameservers: instead of the node's, if any are given.
        upstream: where to look for name servers if the node's own are all on its loopback.
        folders: the layers of a container's snapshot, topmost first (`Rootfs.folders`).
        zones: the node's time zones.
        hosts: the node's, for containers that are in its network.
    """

    def __init__(
        self,
        layout: Layout,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        nameservers: Sequence[str] = (),
        upstream: Sequence[Path] = UPSTREAM,
        folders: Callable[[Names], Sequence[str]] = lambda _: (),
        zones: Path = zoneinfo.FOLDER,
        hosts: Path = Path("/etc/hosts"),
    ) -> None:
        self._layout = layout
        self._resolv_conf = (resolv_conf, *upstream)
        self._nameservers = tuple(nameservers)
        self._folders = folders
        self._zones = zones
        self._hosts = hosts

    def check(self, spec: ContainerSpec) -> None:
        """Raises InvalidSpec for a time zone that this node has not."""
        if spec.timezone is not None:
            zoneinfo.read(spec.timezone, self._zones)

    def write(self, names: Names, spec: ContainerSpec, facts: Facts) -> None:
        """Makes the logs if they are not there, the node's files of /etc, and, where they are not
        there yet, the request's own files and the public keys.

        Raises:
            InvalidSpec: a time zone that this node has not; an owner that the container has not.
            StartFailed: the image has no home folder for the public keys.
            Exhausted: the disk is full.
        """
        etc = self._etc(spec, facts)
        with _translated("write the files of", names):
            self._layout.folder(names).mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            for log in (self._layout.stdout(names), self._layout.stderr(names)):
                _make_log(log)
            root = owner_of(facts.ids, 0, 0, "user")
            targets = self._layout.etc(names) | self._layout.zone(names)
            for target, data in etc.items():
                _put(targets[target], data, root)
            given = [self._put_file(names, i, f, facts) for i, f in enumerate(spec.files)]
            if spec.key_pair is not None:
                given.append(self._put_keys(names, spec.key_pair, spec, facts))
            if any(given):
                sync_folder(self._layout.folder(names))

    def contents(self, names: Names, files: Sequence[File]) -> tuple[str, ...]:
        """Of the request's files, encoded as they say, one each.

        Raises:
            HostFailed: one is not there.
        """
        with _translated("read the files of", names):
            return tuple(
                encoded(self._layout.file(names, index).read_bytes(), one.encoding)
                for index, one in enumerate(files)
            )

    def forget(self, names: Names) -> None:
        """Removes all but the logs and what belongs to them, for `write` to write it anew.

        Raises:
            HostFailed: from the kernel.
        """
        folder = self._layout.folder(names)
        gone = [self._layout.authorized_keys(names), *self._layout.zone(names).values()]
        with _translated("renew the files of", names):
            for path in (*gone, *folder.glob("file-*")):
                path.unlink(missing_ok=True)

    def show(self, names: Names) -> None:
        """Makes the copies that the container sees; those of one that runs stay as they are.

        Raises:
            Exhausted: memory is short.
            HostFailed: they were never written.
        """
        with _translated("show the files of", names):
            shown.show(self._layout, names)

    def unshow(self, names: Names) -> None:
        """Removes the copies, with what the container has changed in them.

        Raises:
            HostFailed: something is there that is no mount.
        """
        with _translated("take away the files of", names):
            shown.unshow(self._layout, names)

    def remove(self, names: Names) -> None:
        """Removes the folder with the logs.

        Raises:
            HostFailed: something is in it that was not made here.
        """
        folder = self._layout.folder(names)
        with _translated("remove the files of", names):
            try:
                with os.scandir(folder) as entries:
                    ours = [e.path for e in entries if not e.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                return
            for path in ours:
                os.unlink(path)
            folder.rmdir()

    def owned(self) -> set[str]:
        """Ids of the containers that have a folder, or copies."""
        with _translated("list the files of", None):
            copies = shown.shown(self._layout)
            try:
                found = os.listdir(self._layout.containers)
            except FileNotFoundError:
                return copies
            return copies | {name for name in found if is_container_id(name)}

    def findings(self) -> list[str]:
        """What is wrong with this node, as far as the files show it."""
        if self._nameservers or has_nameserver(self._resolv_conf):
            return []
        return [
            f"names do not resolve in containers: {self._resolv_conf[0]} names no server that a "
            "container can reach (hint: configure name servers)"
        ]

    def _etc(self, spec: ContainerSpec, facts: Facts) -> dict[str, bytes]:
        """Target → content."""
        hostname = spec.hostname or spec.name
        resolv = resolv_conf(
            self._resolv_conf, self._nameservers, spec.dns, on_node=spec.host_network
        )
        found = {
            "/etc/hostname": f"{hostname}\n".encode(),
            "/etc/hosts": hosts(
                *(hostname, facts.nics, spec.domain, spec.hosts),
                self._hosts.read_text(errors="replace") if spec.host_network else None,
            ).encode(),
            "/etc/resolv.conf": resolv.encode(),
        }
        if spec.timezone is not None:
            found["/etc/localtime"] = zoneinfo.read(spec.timezone, self._zones)
            found["/etc/timezone"] = f"{spec.timezone}\n".encode()
        return found

    def _put_file(self, names: Names, index: int, file: File, facts: Facts) -> bool:
        owner = owner_of(facts.ids, file.uid, file.gid, f"files[{index}]")
        return _put_once(self._layout.file(names, index), file.data, file.mode, owner)

    def _put_keys(self, names: Names, pair: KeyPair, spec: ContainerSpec, facts: Facts) -> bool:
        user = facts.user
        assert user is not None
        self._check_home(names, user, spec)
        owner = owner_of(facts.ids, user.uid, user.gid, "user")
        data = "".join(f"{key}\n" for key in pair.public_keys).encode()
        return _put_once(self._layout.authorized_keys(names), data, _KEYS_MODE, owner)

    def _check_home(self, names: Names, user: User, spec: ContainerSpec) -> None:
        """The runtime would make the folder, as root's: nothing that its user can be at home in."""
        if is_covered(user.home, spec.mounts):
            return
        found = layers.find(self._folders(names), user.home)
        if found is None or not found.is_folder:
            raise StartFailed(
                f"cannot put the public keys into container {spec.name}: image {spec.image} has "
                f"no folder {user.home}, which is the home of its user {user.uid}",
                field="key_pair",
                object=spec.name,
                hint="make the home folder in the image, or run as another user",
            )


def _make_log(path: Path) -> None:
    """The shim appends to it; what an earlier run wrote stays."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, _LOG_MODE)
    try:
        os.fchmod(fd, _LOG_MODE)
    finally:
        os.close(fd)


def _put(file: Path, data: bytes, owner: Owner) -> None:
    try:
        if file.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    place(file, data, owner=owner)


def _put_once(file: Path, data: bytes, mode: int, owner: Owner) -> bool:
    """Whether it was not there yet."""
    if file.exists():
        return False
    place(file, data, mode=mode, owner=owner, durable=True)
    return True


@contextmanager
def _translated(what: str, names: Names | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind: type[LongshoreError] = Exhausted if full else HostFailed
        whose = "containers" if names is None else names.id
        raise kind(
            f"cannot {what} {whose}: {error.strerror} ({error.filename})",
            object=None if names is None else names.id,
        ) from error
