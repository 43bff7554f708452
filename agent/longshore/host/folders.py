"""Making the source of a bind mount: folders beneath an allowed root that are not there yet.

Each folder is made by its name in the opened folder above it, which was itself resolved beneath
the root; so nobody can swap a link in between and have something made elsewhere. It gets its name
when it has its owner and mode; what a killed agent left half made, the next that makes one there
removes.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from longshore.errors import (
    DeadlineExceeded,
    Exhausted,
    HostBusy,
    HostFailed,
    InvalidSpec,
    LongshoreError,
)
from longshore.host.beneath import open_allowed
from longshore.host.mounts import rename_new
from longshore.model.mounts import NewFolder

_MADE_MODE = 0o700
#: How names of half made folders begin, and go on when this process makes them.
_HALF = ".longshore-new-"
_TOKEN = 8
_OURS = secrets.token_hex(_TOKEN)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Missing(LongshoreError):
    """It is not there, or something on the way is no folder."""


def find_allowed(source: Path, roots: Sequence[Path], field: str) -> int:
    """As `open_allowed`, but when `source` is not there, the deepest folder above it that is: what
    would be made in there is allowed."""
    below: Path | None = None
    at = source
    while True:
        try:
            found = open_allowed(at, roots, field, missing=_Missing)
        except _Missing as error:
            if not _is_free(at, roots):
                raise _no_folder(source, field) from error
            below, at = at, at.parent
            continue
        if below is not None and not _can_hold(found, below.name):
            os.close(found)
            raise _no_folder(source, field)
        return found


def make_allowed(
    source: Path,
    roots: Sequence[Path],
    field: str,
    new: NewFolder,
    late: Callable[[], bool] = lambda: False,
) -> int:
    """As `open_allowed`, but makes `source` and the folders above it that are not there.

    Args:
        late: asked before each of them: whether nobody wants it any more.

    Raises:
        DeadlineExceeded: it is late.
        PolicyForbids: beneath no root, or through a link out of it.
        InvalidSpec: something on the way is no folder, or a link that leads nowhere.
        HostFailed: it cannot be made.
    """
    try:
        return open_allowed(source, roots, field, missing=_Missing)
    except _Missing as error:
        if not _is_free(source, roots):
            raise _no_folder(source, field) from error
    parent = make_allowed(source.parent, roots, field, new, late)
    try:
        if late():
            raise DeadlineExceeded(f"cannot make {source}: nobody waits for it", field=field)
        _make(parent, source.name, new)
    except OSError as error:
        raise _refusal(source, field, error) from error
    finally:
        os.close(parent)
    # Not what was just made, but what is there under its name: it was resolved as all others are.
    return open_allowed(source, roots, field)


def _is_free(source: Path, roots: Sequence[Path]) -> bool:
    """Whether it may be made in the folder above; the roots themselves are the operator's."""
    return any(
        source.is_relative_to(name) and source != name
        for root in roots
        for name in (root, Path(os.path.realpath(root)))
    )


def _make(parent: int, name: str, new: NewFolder) -> None:
    _remove_half_made(parent)
    half = f"{_HALF}{_OURS}{secrets.token_hex(_TOKEN)}"
    try:
        _make_as(parent, half, new)
        rename_new(parent, half, name)
    except OSError as error:
        with suppress(OSError):
            os.rmdir(half, dir_fd=parent)
        if error.errno == errno.EINVAL:
            # The file system cannot rename so.
            _make_as(parent, name, new)
        elif error.errno != errno.EEXIST:
            raise
        # Somebody else was faster, or it is a link: opening it will tell.


def _make_as(parent: int, name: str, new: NewFolder) -> None:
    try:
        os.mkdir(name, _MADE_MODE, dir_fd=parent)
    except FileExistsError:
        return
    folder = os.open(name, _FOLDER, dir_fd=parent)
    try:
        if not _is_ours(folder):
            raise OSError(errno.EBUSY, "it was replaced")
        os.fchown(folder, new.uid, new.gid)
        # After the change of owner, and not by mkdir, which heeds the umask.
        os.fchmod(folder, new.mode)
    finally:
        os.close(folder)


def _remove_half_made(parent: int) -> None:
    """What agents that are gone have begun here: an empty folder, or it stays.

    One of another node that is at it just now is told that it was replaced, and tries again.
    """
    try:
        opened = os.open(".", _FOLDER, dir_fd=parent)
    except OSError:
        return  # No folder, or not to be read: making something in it will tell.
    try:
        names = os.listdir(opened)
    finally:
        os.close(opened)
    for name in names:
        if name.startswith(_HALF) and not name.startswith(f"{_HALF}{_OURS}"):
            with suppress(OSError):
                os.rmdir(name, dir_fd=parent)


def _is_ours(folder: int) -> bool:
    """Whether it can be the one that was made: nobody else's, and nothing in it."""
    entry = os.fstat(folder)
    with os.scandir(folder) as entries:
        empty = not any(True for _ in entries)
    return empty and entry.st_uid == os.geteuid() and not stat.S_IMODE(entry.st_mode) & 0o077


def _can_hold(folder: int, name: str) -> bool:
    """Whether it is a folder, without anything of that name: what is there and could not be opened
    is a link that leads nowhere."""
    if not stat.S_ISDIR(os.fstat(folder).st_mode):
        return False
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    return False


def _refusal(source: Path, field: str, error: OSError) -> LongshoreError:
    what, name = f"cannot make {source}: {error.strerror}", str(source)
    match error.errno:
        case errno.ENOTDIR:
            return _no_folder(source, field)
        case errno.EBUSY | errno.ENOENT:
            return HostBusy(what, field=field, object=name)
        case errno.ENOSPC | errno.EDQUOT:
            return Exhausted(what, field=field, object=name)
        case _:
            return HostFailed(what, field=field, object=name)


def _no_folder(source: Path, field: str) -> LongshoreError:
    why = f"{source}: no such folder on this node, and it cannot be made there"
    return InvalidSpec(
        f"cannot mount {why}",
        field=field,
        object=str(source),
        details={"faults": [{"field": field, "why": why}]},
    )
