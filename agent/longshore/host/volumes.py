"""Volumes: bind mounts from allowed folders of the node, made before the runtime takes them.

Each source is opened beneath its root, and what was opened is mounted on `Layout.volume`. The
work that may hang on a dead file system happens in a thread that is left behind (hangs.py) and
yields a mount that is attached nowhere; attaching it is the caller's, and never hangs.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from longshore.errors import (
    HostBusy,
    HostFailed,
    HostUnavailable,
    InvalidSpec,
    LongshoreError,
    PolicyForbids,
)
from longshore.host import mounts as kernel
from longshore.host.beneath import open_allowed
from longshore.host.bindable import PROPAGATION, check_mapping, propagating
from longshore.host.folders import find_allowed, make_allowed
from longshore.host.hangs import Hangs
from longshore.host.idmap import map_tree
from longshore.host.mountinfo import containing, mount_points
from longshore.host.mounts import Propagation
from longshore.host.namespaces import container_map, user_namespace
from longshore.model.host import Ids
from longshore.model.layout import Layout
from longshore.model.mounts import Bind, Borrowed, Mount, NamedVolume, Tmpfs
from longshore.model.names import Names, is_container_id

#: Seconds for one step on the source's file system.
DEADLINE = 10.0

_TRIED = Ids(65536, 1)
#: Of a mount, what a container must not lose.
_KEPT = {"nosuid", "nodev", "noexec"}


@dataclass(frozen=True)
class _Tree:
    """A mount that is attached nowhere."""

    fd: int
    is_folder: bool

    def close(self) -> None:
        os.close(self.fd)


class Volumes:
    """Satisfies lifecycle.ports.Volumes.

    Args:
        roots: folders of the node beneath which a bind source may be, as they are now.
        deadline: seconds for each step that may hang.
    """

    def __init__(
        self,
        layout: Layout,
        roots: Callable[[], Sequence[Path]],
        deadline: float = DEADLINE,
    ) -> None:
        self._layout = layout
        self._roots = roots
        self._hangs = Hangs(deadline)
        # Of its own: sources that hang must not keep healthy containers from being removed.
        self._unmounts = Hangs(deadline)

    def check(self, mounts: Sequence[Mount], *, mapped: bool = False) -> None:
        """Whether each bind source is there and allowed, now.

        Args:
            mapped: it is to be seen from a user namespace.

        Raises:
            PolicyForbids: with all that are beneath no root.
            InvalidSpec: with all that are not there, cannot propagate as asked, or cannot be
                mapped.
        """
        forbidden: list[LongshoreError] = []
        wrong: list[LongshoreError] = []
        for index, bind in _binds(mounts):
            try:
                self._checked(index, bind, mapped=mapped)
            except PolicyForbids as error:
                forbidden.append(error)
            except InvalidSpec as error:
                wrong.append(error)
        if alike := forbidden or wrong:
            raise _together(alike)

    def mount(self, names: Names, mounts: Sequence[Mount], ids: Ids | None = None) -> None:
        """Binds each source, resolved anew and made if the mount says so, with what is mounted
        beneath it if it is to be seen.

        A mount that is there already is replaced; a running container has its own copy.
        """
        userns = self._layout.userns(names) if ids else None
        for index, mount in enumerate(mounts):
            if isinstance(mount, Tmpfs):
                continue
            source = self._path(mount)
            target = self._layout.volume(names, index)
            with _translated(f"mount {source}", source):
                late = threading.Event()
                try:
                    tree = self._hangs.run(
                        f"mount {source}",
                        source,
                        partial(self._tree, index, mount, userns, late.is_set),
                        discard=_Tree.close,
                    )
                except LongshoreError:
                    late.set()
                    raise
                try:
                    self._make_target(target, is_folder=tree.is_folder)
                    kernel.attach_tree(tree.fd, target)
                finally:
                    tree.close()

    def unmount(self, names: Names) -> None:
        """Takes the mounts away, used or not, and the empty mount points. Data is never removed.

        Raises:
            HostFailed: a mount point holds data that was written beneath the mount.
        """
        folder = self._layout.volumes / names.id
        with _translated(f"unmount the volumes of {names.id}", str(folder)):
            try:
                with os.scandir(folder) as entries:
                    # The type comes from the listing, so that a dead mount is not asked for it.
                    points = [(Path(e.path), e.is_dir(follow_symlinks=False)) for e in entries]
            except FileNotFoundError:
                return
            for point, is_folder in points:
                self._unmount_all(point)
                _remove_target(point, is_folder=is_folder)
            folder.rmdir()

    def seen(self, index: int, mount: Bind | NamedVolume | Borrowed) -> tuple[int, bool]:
        """A mount of the source, attached nowhere, as a container that has no user namespace would
        get it, and whether it is a folder; nothing is made. May hang: for a thread that may.

        Raises:
            PolicyForbids, InvalidSpec, OSError: it is not allowed, or not there.
        """
        if isinstance(mount, Bind):
            mount = mount.model_copy(update={"create": None, "propagation": "rprivate"})
        tree = self._tree(index, mount, None, lambda: True)
        return tree.fd, tree.is_folder

    def flags(self, names: Names) -> Mapping[int, Sequence[str]]:
        """Of the volumes that are mounted now, by number: those of nosuid, nodev and noexec that
        their sources have."""
        folder = (self._layout.volumes / names.id).resolve()
        if not folder.exists():
            return {}
        return {
            int(point.path.name): sorted(_KEPT & point.options)
            for point in mount_points(mentioning=names.id)
            if point.path.parent == folder
        }

    def owned(self) -> set[str]:
        """Ids of the containers that have a volume, or the folder for one."""
        with _translated("list volumes", str(self._layout.volumes)):
            try:
                return {name for name in os.listdir(self._layout.volumes) if is_container_id(name)}
            except FileNotFoundError:
                return set()

    def findings(self) -> list[str]:
        """Roots on which root of a container, in a user namespace or not, can leave a program that
        makes whoever runs it on the node root."""
        found, points = [], mount_points()
        for root in self._roots():
            look = partial(os.path.realpath, root)
            try:
                real = self._hangs.run(f"look at {root}", str(root), look)
            except LongshoreError as error:
                found.append(f"{error}")
                continue
            if "nosuid" not in containing(Path(real), points).options:
                found.append(
                    f"[volumes] roots: a container can leave setuid programs in {root}, which is "
                    "not mounted nosuid"
                )
        return found

    def _path(self, mount: Bind | NamedVolume | Borrowed) -> str:
        match mount:
            case Bind():
                return mount.source
            case NamedVolume():
                assert mount.name is not None  # `with_anonymous` has made that a borrowed one
                return str(self._layout.named_volume(mount.name))
            case Borrowed():
                return str(self._layout.data(Names(mount.container), mount.index))

    def _checked(self, index: int, bind: Bind, *, mapped: bool) -> None:
        userns = self._userns if mapped else None

        def look() -> None:
            """May hang."""
            source, field = Path(bind.source), f"mounts[{index}].source"
            find = open_allowed if bind.create is None else find_allowed
            fd = propagating(find(source, self._roots(), field), index, bind)
            try:
                if userns is not None:
                    check_mapping(fd, userns, index, bind)
            finally:
                os.close(fd)

        self._hangs.run(f"mount {bind.source}", bind.source, look)

    @cached_property
    def _userns(self) -> int:
        """A user namespace to try with, kept as long as this process runs."""
        with user_namespace(container_map(_TRIED)) as file:
            return os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def _open(
        self, index: int, mount: Bind | NamedVolume | Borrowed, late: Callable[[], bool]
    ) -> int:
        """May hang."""
        if not isinstance(mount, Bind):
            # In a folder of ours, which no container can put a link in.
            return os.open(self._path(mount), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        source, field = Path(mount.source), f"mounts[{index}].source"
        if mount.create is None:
            fd = open_allowed(source, self._roots(), field)
        else:
            fd = make_allowed(source, self._roots(), field, mount.create, late)
        return propagating(fd, index, mount)

    def _tree(
        self,
        index: int,
        mount: Bind | NamedVolume | Borrowed,
        userns: Path | None,
        late: Callable[[], bool],
    ) -> _Tree:
        """May hang. `late`: whether nobody wants it any more."""
        recursive = mount.recursive if isinstance(mount, Bind) else "enabled"
        propagation = mount.propagation if isinstance(mount, Bind) else "rprivate"
        source = self._open(index, mount, late)
        try:
            is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
            tree = _Tree(kernel.clone_tree(source, recursive=recursive != "disabled"), is_folder)
        finally:
            os.close(source)
        try:
            if userns is not None:
                map_tree(tree.fd, userns)
            kernel.set_tree(tree.fd, PROPAGATION[propagation])
            if mount.read_only:
                kernel.set_read_only(tree.fd, recursive=recursive != "writable")
        except (OSError, LongshoreError):
            tree.close()
            raise
        return tree

    def _make_target(self, target: Path, *, is_folder: bool) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make = target.mkdir if is_folder else partial(target.touch, exist_ok=False)
        try:
            make(mode=0o700)
        except FileExistsError:
            self._unmount_all(target)
            _remove_target(target, is_folder=target.is_dir())
            make(mode=0o700)

    def _unmount_all(self, target: Path) -> None:
        """Until the kernel says that nothing is mounted there any more."""
        what = f"unmount {target}"
        if _has_peers(target):
            private = partial(kernel.set_tree, target, Propagation.PRIVATE)
            self._unmounts.run(what, str(target), private)
        while True:
            try:
                # One call a thread: a late one has detached before it hangs, and does no more.
                self._unmounts.run(what, str(target), partial(kernel.detach, target))
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):
                    return
                raise


def _together(alike: Sequence[LongshoreError]) -> LongshoreError:
    """The first of several errors of one kind, with the faults of all."""
    first, more = alike[0], len(alike) - 1
    if more:
        first.message += f" (and {more} more)"
        first.details["faults"] = [fault for one in alike for fault in one.details["faults"]]
    return first


def _binds(mounts: Sequence[Mount]) -> Iterator[tuple[int, Bind]]:
    return ((index, mount) for index, mount in enumerate(mounts) if isinstance(mount, Bind))


def _has_peers(target: Path) -> bool:
    """Whether mounts elsewhere on the node hear of changes in what is mounted on `target`.

    If so, taking ours away would unmount what is mounted in a shared source, for everyone.
    """
    points = mount_points(mentioning=" shared:")
    ours = {point.peers for point in points if point.path.is_relative_to(target)}
    return any(point.peers in ours for point in points if not point.path.is_relative_to(target))


def _remove_target(target: Path, *, is_folder: bool) -> None:
    if is_folder:
        target.rmdir()
    elif target.lstat().st_size == 0:
        target.unlink()
    else:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(target))


@contextmanager
def _translated(what: str, object: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"{error.strerror}" + (f" ({error.filename})" if error.filename else "")
        match error.errno:
            case errno.ENOSYS:
                raise HostUnavailable(
                    f"cannot {what}: {why}", object=object, hint="needs Linux 5.12 or later"
                ) from error
            case errno.EBUSY:
                raise HostBusy(f"cannot {what}: {why}", object=object) from error
            case _:
                raise HostFailed(f"cannot {what}: {why}", object=object) from error
