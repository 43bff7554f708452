"""The kernel's calls for mounts and paths that Python does not have.

All of them raise OSError; the numbers are the same on every architecture that we run on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from enum import IntFlag
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 428, 429, 437, 442

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_RESOLVE_IN_ROOT = 0x10
_CLONE_NEWNS = 0x00020000
_MOUNT_ATTR_RDONLY = 1
_MOUNT_ATTR_IDMAP = 1 << 20
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_RENAME_NOREPLACE = 1
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 1, 2, 4, 8, 0x1000


class Propagation(IntFlag):
    """MS_* of mount(2)."""

    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def open_beneath(folder: int, path: Path, *, follow: bool = True) -> int:
    """An O_PATH descriptor of the relative `path`, which never leads out of `folder`.

    Symbolic links that stay inside are followed, or refused without `follow`.

    Raises:
        OSError: EXDEV where the path or a link in it leads out; ELOOP for a magic link.
    """
    links = 0 if follow else _RESOLVE_NO_SYMLINKS
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | links)
    return _syscall(
        _SYS_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how), path=path
    )


def open_in_root(root: int, path: str, *, follow: bool = True) -> int:
    """An O_PATH descriptor of what a process whose root is `root` sees at `path`.

    Symbolic links lead no further than that root, and those of /proc nowhere. A link at the end is
    followed, or without `follow` opened itself.

    Raises:
        OSError: ELOOP for a link of /proc; EAGAIN where the path changed meanwhile.
    """
    flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    how = _OpenHow(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    size = ctypes.sizeof(how)
    # An empty path would be an error, and a container's path is absolute.
    return _syscall(
        _SYS_OPENAT2, root, os.fsencode(f"/{path}"), ctypes.byref(how), size, path=Path(path)
    )


def leave_mounts() -> None:
    """Gives the calling thread mounts of its own, which hear of the node's, and the node's not of
    them. They are gone with the thread and the last that holds them."""
    if _LIBC.unshare(_CLONE_NEWNS) != 0:
        raise _error(None)
    set_tree(Path("/"), Propagation.SLAVE)


def rename_new(folder: int, old: str, new: str) -> None:
    """Renames within an opened folder; what has the new name already stays.

    Raises:
        OSError: EEXIST: there is something; EINVAL: the file system cannot do so (NFS).
    """
    names = os.fsencode(old), os.fsencode(new)
    if _LIBC.renameat2(folder, names[0], folder, names[1], _RENAME_NOREPLACE) != 0:
        raise _error(Path(new))


def clone_tree(source: int, *, recursive: bool = True) -> int:
    """A detached copy of the mount that `source` (O_PATH) is in, from there down, submounts too
    if `recursive`."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    return _syscall(_SYS_OPEN_TREE, source, b"", flags)


def set_tree(tree: int | Path, propagation: Propagation) -> None:
    """Changes a mount, given by descriptor or path, and the mounts beneath it."""
    attr = _MountAttr(0, 0, propagation, 0)
    at, path = (tree, b"") if isinstance(tree, int) else (_AT_FDCWD, os.fsencode(tree))
    flags = _AT_RECURSIVE | (_AT_EMPTY_PATH if isinstance(tree, int) else 0)
    _syscall(_SYS_MOUNT_SETATTR, at, path, flags, ctypes.byref(attr), ctypes.sizeof(attr))


def set_read_only(tree: int, *, recursive: bool) -> None:
    """A detached mount; those beneath it too if `recursive`."""
    attr = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _syscall(_SYS_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr))


def idmap_tree(tree: int, userns: int) -> None:
    """Maps a detached mount and those beneath it to a user namespace, given by descriptor."""
    attr = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, userns)
    flags = _AT_RECURSIVE | _AT_EMPTY_PATH
    _syscall(_SYS_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr))


def attach_tree(tree: int, target: Path) -> None:
    """Mounts a detached tree on `target`."""
    _syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def attach_tree_to(tree: int, target: int) -> None:
    """Mounts a detached tree on what `target` (O_PATH) is."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _syscall(_SYS_MOVE_MOUNT, tree, b"", target, b"", flags)


def overlay(target: Path, options: str) -> None:
    """Mounts an overlayfs by its options; relative folders in them are the thread's own."""
    if _LIBC.mount(b"overlay", os.fsencode(target), b"overlay", 0, os.fsencode(options)) != 0:
        raise _error(target)


def bind_file(source: Path, target: Path) -> None:
    """Binds a file, such as the one that stands for a namespace."""
    if _LIBC.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None) != 0:
        raise _error(target)


def stack(layers: Sequence[Path], target: Path) -> None:
    """Mounts folders, topmost first, as one that nobody can write to (overlayfs)."""
    options = b"lowerdir=" + b":".join(map(os.fsencode, layers))
    if _LIBC.mount(b"overlay", os.fsencode(target), b"overlay", _MS_RDONLY, options) != 0:
        raise _error(target)


def mount_tmpfs(target: Path, options: str, *, programs: bool = False) -> None:
    """A file system in memory, of which nothing can be run unless `programs`."""
    flags = _MS_NODEV | (0 if programs else _MS_NOSUID | _MS_NOEXEC)
    if _LIBC.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, options.encode()) != 0:
        raise _error(target)


def detach(target: Path) -> None:
    """Takes the topmost mount off `target` at once, used or not (EINVAL: there is none)."""
    if _LIBC.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise _error(target)


def _syscall(number: int, *args: object, path: Path | None = None) -> int:
    # A variadic function: a bare int would be passed as 32 bits, and the kernel reads 64.
    wide = (ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in (number, *args))
    result: int = _LIBC.syscall(*wide)
    if result < 0:
        raise _error(path)
    return result


def _error(path: Path | None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), None if path is None else str(path))
