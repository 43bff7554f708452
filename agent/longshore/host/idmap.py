"""Idmapped mounts: files of the node as the users of a user namespace see them.

A file that is user 0's on the disk is the namespace's root's in such a mount, and what root writes
there is user 0's on the disk. Nothing is copied, no file is changed. See mount_setattr(2); what the
file system itself does is in the kernel's Documentation/filesystems/idmappings.rst.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from longshore.errors import HostUnavailable
from longshore.host import mounts as kernel
from longshore.host.mounts import Propagation

_HINT = "needs Linux 5.12 or later, and a file system that can (ext4, xfs, btrfs; tmpfs from 6.3)"


def map_tree(tree: int, userns: Path | int) -> None:
    """Maps a detached mount that was not mapped before (`mounts.clone_tree`), submounts too.

    Never waits for the file system.

    Args:
        userns: where a user namespace is held (`Layout.userns`), or a descriptor of it.

    Raises:
        HostUnavailable: its file system, or one mounted beneath it, cannot be seen that way.
        OSError: there is no such namespace, and what else the kernel says.
    """
    namespace = userns if isinstance(userns, int) else os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.idmap_tree(tree, namespace)
    except OSError as error:
        # EPERM: it is mapped already.
        if error.errno not in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            raise
        raise HostUnavailable(
            "cannot show files with the numbers of a user namespace: "
            "their file system, or one mounted beneath it, does not support idmapped mounts",
            hint=_HINT,
        ) from error
    finally:
        if namespace is not userns:
            os.close(namespace)


def show(source: Path, target: Path, userns: Path) -> None:
    """Mounts a folder once more, alone, with its owners as the user namespace has them.

    Raises:
        HostUnavailable: its file system cannot.
        OSError: as it says.
    """
    fd = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree = kernel.clone_tree(fd, recursive=False)
    finally:
        os.close(fd)
    try:
        kernel.set_tree(tree, Propagation.PRIVATE)
        map_tree(tree, userns)
        kernel.attach_tree(tree, target)
    finally:
        os.close(tree)


def hide(target: Path) -> None:
    """Takes what is mounted there away, all of it, and the mount point. Nothing there is fine.

    Raises:
        OSError: there is something beneath that is no mount.
    """
    unmount(target)
    try:
        target.rmdir()
    except NotADirectoryError:
        target.unlink()
    except FileNotFoundError:
        return


def unmount(target: Path) -> None:
    """Takes all mounts off `target`, used or not; none is fine."""
    while True:
        try:
            kernel.detach(target)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            raise
