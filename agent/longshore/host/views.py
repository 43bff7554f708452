"""A container's files as a process in it sees them: one descriptor, beneath which all is opened.

Of one that runs it is the root of its first process, with all that is mounted there. Of one that
does not, its layers are mounted where nobody else sees it: in mounts of the agent's own that hang
on a descriptor alone, so that nothing is left of them when the agent dies, however that comes.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from longshore.errors import Conflict, InvalidSpec, PolicyForbids
from longshore.host import mounts as kernel
from longshore.host.containerd.snapshots import Rootfs
from longshore.host.mounts import Propagation, open_in_root
from longshore.host.namespaces import node_map, user_namespace
from longshore.host.volumes import Volumes
from longshore.model.copying import Files
from longshore.model.host import Ids
from longshore.model.layout import Layout
from longshore.model.mounts import Tmpfs
from longshore.model.names import Names

#: Of the file system in memory that gets what is written to nothing.
_SCRATCH = "mode=0700,size=64m"
_FOLDER_MODE = 0o755
_PATH = os.O_PATH | os.O_CLOEXEC


@dataclass(frozen=True)
class View:
    """Owns its descriptors.

    Args:
        root: what the container's root is.
        ids: how owners of files are moved against what the container calls them; None: they are
            not.
        alive: raises Conflict once the container it was opened for has ended.
    """

    root: int
    ids: Ids | None
    alive: Callable[[], None]
    held: ExitStack

    def close(self) -> None:
        self.held.close()


class Views:
    """Opens them. What it does may hang: for threads that may.

    Args:
        pid: of the container's first process, as containerd knows it now; 0: none.
    """

    def __init__(
        self, layout: Layout, rootfs: Rootfs, volumes: Volumes, pid: Callable[[Names], int]
    ) -> None:
        self._layout = layout
        self._rootfs = rootfs
        self._volumes = volumes
        self._pid = pid

    def open(self, files: Files, *, writable: bool) -> View:
        """Of one that does not run: in a thread that ends soon, since it leaves the node's mounts.
        `writable`: nobody starts the container as long as the view is there.

        Raises:
            Conflict: it has ended, or has no files.
            OSError, LongshoreError: as they say.
        """
        with ExitStack() as held:
            if files.runs:
                root, alive = self._running(files, held)
            else:
                root, alive = self._resting(files, held, writable=writable), _always
            return View(root, files.ids if files.runs else None, alive, held.pop_all())

    def _running(self, files: Files, held: ExitStack) -> tuple[int, Callable[[], None]]:
        ended = Conflict(
            f"cannot copy files of container {files.name}: it has ended", object=files.name
        )
        try:
            process = os.pidfd_open(self._pid(files.names) or -1)
            held.callback(os.close, process)
            # The number was the process's after that: so this is the process, and no later one.
            pid = self._pid(files.names)
            root = os.open(f"/proc/{pid}/root", _PATH | os.O_DIRECTORY)
        except OSError as error:
            raise ended from error
        held.callback(os.close, root)

        def alive() -> None:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            if poll.poll(0):
                raise ended

        alive()
        return root, alive

    def _resting(self, files: Files, held: ExitStack, *, writable: bool) -> int:
        folders, work, options = self._rootfs.stack(files.names)
        kernel.leave_mounts()
        # So that they last as long as the descriptors do, and not only as long as this thread.
        mounts = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        held.callback(os.close, mounts)
        place = self._layout.spool
        kernel.mount_tmpfs(place, _SCRATCH)
        with _mapped(folders, work, files.ids, place) as (own, below, work):
            root = place / "root"
            root.mkdir()
            if writable and work is None:
                _attach(Path(own), root)
            elif writable:
                _overlay(root, below, own, str(work), options)
            else:
                # What is written here, such as places to mount on, is nobody's.
                for name in ("upper", "work"):
                    (place / name).mkdir()
                upper, scratch = str(place / "upper"), str(place / "work")
                _as(own, upper)
                _overlay(root, [own, *below], upper, scratch, options)
        fd = os.open(root, _PATH | os.O_DIRECTORY)
        held.callback(os.close, fd)
        self._mount(files, fd)
        if files.read_only and writable:
            # What is mounted in it stays as it is.
            _make_read_only(root)
        return fd

    def _mount(self, files: Files, root: int) -> None:
        """What is bound into it and is there; those above before those within."""
        bound = [(i, one) for i, one in enumerate(files.mounts) if not isinstance(one, Tmpfs)]
        for index, mount in sorted(bound, key=lambda one: one[1].target.count("/")):
            try:
                tree, is_folder = self._volumes.seen(index, mount)
            except (FileNotFoundError, InvalidSpec, PolicyForbids):
                continue
            try:
                target = _target(root, mount.target, is_folder=is_folder)
                try:
                    kernel.attach_tree_to(tree, target)
                finally:
                    os.close(target)
            finally:
                os.close(tree)


def _always() -> None:
    """Nothing ends while it is looked at."""


@contextmanager
def _mapped(
    folders: Sequence[str], work: str | None, ids: Ids | None, place: Path
) -> Iterator[tuple[str, Sequence[str], str | None]]:
    """The container's own layer with the container's own numbers, those below, and the folder for
    an overlay's work, which has to be in the same mount."""
    own, *below = folders
    # Until its first start a layer belongs to no range.
    if ids is None or not ids.covers(os.stat(own).st_uid):
        yield own, below, work
        return
    top = os.path.commonpath([own, work]) if work else own
    seen = place / "own"
    seen.mkdir()
    fd = os.open(top, _PATH | os.O_DIRECTORY)
    try:
        tree = kernel.clone_tree(fd, recursive=False)
    finally:
        os.close(fd)
    try:
        kernel.set_tree(tree, Propagation.PRIVATE)
        # The folders around the layer are the node's root's, who has to be somebody in there too.
        with user_namespace(node_map(ids), (0, ids.first, 1)) as file:
            userns = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                kernel.idmap_tree(tree, userns)
            finally:
                os.close(userns)
        kernel.attach_tree(tree, seen)
    finally:
        os.close(tree)

    def moved(path: str) -> str:
        return os.path.normpath(seen / os.path.relpath(path, top))

    yield moved(own), below, moved(work) if work else None


def _overlay(
    target: Path, below: Sequence[str], upper: str, work: str, options: Sequence[str]
) -> None:
    """Lower folders are named from their common one: the kernel takes a page of options, and an
    image may have a hundred layers. The thread's own working folder moves there."""
    common = os.path.commonpath(below)
    os.chdir(common)
    lower = ":".join(os.path.relpath(one, common) for one in below)
    kernel.overlay(
        target, ",".join([*options, f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}"])
    )


def _as(folder: str, other: str) -> None:
    """Of folders in several layers the topmost's owner, mode and times are seen."""
    nature = os.stat(folder)
    os.chown(other, nature.st_uid, nature.st_gid)
    os.chmod(other, stat.S_IMODE(nature.st_mode))
    os.utime(other, ns=(nature.st_atime_ns, nature.st_mtime_ns))


def _attach(source: Path, target: Path) -> None:
    fd = os.open(source, _PATH | os.O_DIRECTORY)
    try:
        tree = kernel.clone_tree(fd, recursive=False)
    finally:
        os.close(fd)
    try:
        kernel.set_tree(tree, Propagation.PRIVATE)
        kernel.attach_tree(tree, target)
    finally:
        os.close(tree)


def _make_read_only(root: Path) -> None:
    fd = os.open(root, _PATH | os.O_DIRECTORY)
    try:
        kernel.set_read_only(fd, recursive=False)
    finally:
        os.close(fd)


def _target(root: int, path: str, *, is_folder: bool) -> int:
    """Where it is mounted, made as the runtime makes it; links lead no further than the root."""
    with suppress(FileNotFoundError):
        return open_in_root(root, path)
    above, _, name = path.rstrip("/").rpartition("/")
    folder = _target(root, above or "/", is_folder=True)
    try:
        if is_folder:
            os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=folder))
    finally:
        os.close(folder)
    return open_in_root(root, path)
