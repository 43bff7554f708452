"""A folder of the node that begins with what an image has at some place.

It is filled under another name, written to the disk, and only then gets its own: one that has it
is whole, also after the power went.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longshore.errors import BadImage, DeadlineExceeded, Exhausted, HostFailed, LongshoreError
from longshore.host.containerd import layers, merged
from longshore.host.copying import Incapable
from longshore.host.removal import remove_tree

FOLDER_MODE = 0o700
#: Of a volume that the image has nothing for.
_EMPTY_MODE = 0o755
_LIBC = ctypes.CDLL(None, use_errno=True)


def make_filled(target: Path, folders: Sequence[str], path: str, deadline: float) -> None:
    """Makes `target`, which is not there or empty, of what the layers have at `path`.

    Args:
        folders: the layers, topmost first.
        deadline: monotonic seconds.

    Raises:
        BadImage: there is a file, and no folder.
        OSError: ENOTEMPTY when there is something in `target`, which stays as it is.
        TimeoutError: it is later than the deadline.
    """
    new = _begun(target, deadline)
    _fill(new, folders, path, deadline)
    new.rename(target)


def make_empty(target: Path, deadline: float) -> None:
    """Makes `target`, which is not there. Raises OSError, TimeoutError: as `make_filled`."""
    new = _begun(target, deadline)
    new.chmod(_EMPTY_MODE)
    new.rename(target)


def _begun(target: Path, deadline: float) -> Path:
    new = target.with_name(f".{target.name}.new")
    remove_tree(new, deadline)
    new.mkdir(mode=FOLDER_MODE)
    return new


def _fill(new: Path, folders: Sequence[str], path: str, deadline: float) -> None:
    found = layers.find(folders, path)
    if found is None:
        new.chmod(_EMPTY_MODE)
    elif not found.is_folder:
        raise BadImage(
            f"cannot make volume {path}: the image has a file there, no folder",
            field="config.Volumes",
            object=path,
        )
    elif merged.copy_folder(found, new, deadline):
        synced(new, _syncfs)


def synced(folder: Path, sync: Callable[[int], None] = os.fsync) -> None:
    """Has what `sync` says of an opened folder written to the disk: its names, by default."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def _syncfs(fd: int) -> None:
    """The whole file system: file by file would take far longer."""
    if _LIBC.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def translated(what: str, object: str | None, seconds: float) -> Iterator[None]:
    """Raises BadImage, Exhausted, DeadlineExceeded, HostFailed: 'cannot <what>: why'."""
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"cannot {what}: not done within {seconds:g} s", object=object
        ) from error
    except OSError as error:
        raise _error(what, object, error) from error


def _error(what: str, object: str | None, error: OSError) -> LongshoreError:
    why = f"{error.strerror}" + (f" ({error.filename})" if error.filename else "")
    if isinstance(error, Incapable):
        hint = f"its unit must leave it {error.capability}: CapabilityBoundingSet"
        return HostFailed(f"cannot {what}: {why}", object=object, hint=hint)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return Exhausted(f"cannot {what}: {why}", object=object)
        case errno.ELOOP | errno.E2BIG:
            why = _BAD[error.errno]
            return BadImage(f"cannot {what}: {why}", field="config.Volumes", object=object)
        case errno.EPERM:
            hint = "was a file in it made immutable? `lsattr -R` shows it"
            return HostFailed(f"cannot {what}: {why}", object=object, hint=hint)
        case _:
            return HostFailed(f"cannot {what}: {why}", object=object)


_BAD = {
    errno.ELOOP: "links in the image lead round in a circle",
    errno.E2BIG: f"the image has more than {merged.ENTRIES_MAX} files there",
}
