"""Unix sockets that appear whole: bound out of sight, given their owner and mode, then renamed.

The rename replaces the socket of an agent that died; a lock, which the kernel drops with its
holder, keeps it from replacing a live one's.
"""

from __future__ import annotations

import fcntl
import grp
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longshore.errors import HostBusy, HostFailed

LOG = logging.getLogger(__name__)
MODE = 0o660
#: sun_path of unix(7), with its closing NUL.
_PATH_MAX = 108


def lock(path: Path) -> int:
    """Takes the right to listen at `path`; returns the descriptor that holds it.

    Raises:
        HostBusy: a live agent has it.
        HostFailed: something that is no socket is there, or the folder cannot be written.
    """
    if len(os.fsencode(_hidden(path))) >= _PATH_MAX:
        raise HostFailed(
            f"cannot listen at {path}: the path is too long for a unix socket", object=str(path)
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
            raise HostFailed(f"cannot listen at {path}: it is no socket", object=str(path))
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _failed(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise HostBusy(
            f"cannot listen at {path}: another agent does",
            object=str(path),
            hint="one agent runs on a node; stop the other one first",
        ) from error
    return descriptor


@contextmanager
def publishing(path: Path, group: str) -> Iterator[Path]:
    """Yields the path to bind; at the end of the block that socket stands at `path`.

    Raises:
        HostFailed: it cannot be put there.
    """
    hidden = _hidden(path)
    try:
        shutil.rmtree(hidden.parent, ignore_errors=True)
        hidden.parent.mkdir(mode=0o700)
        try:
            yield hidden
            hidden.chmod(MODE)
            _give(hidden, path, group)
            hidden.rename(path)
        finally:
            shutil.rmtree(hidden.parent, ignore_errors=True)
    except OSError as error:
        raise _failed(path, error) from error


def _hidden(path: Path) -> Path:
    return path.parent / f".{path.name}" / "s"


def _give(hidden: Path, path: Path, group: str) -> None:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        LOG.warning("no group %s on this node: %s is for its owner and its group", group, path)
        return
    os.chown(hidden, -1, number)


def _failed(path: Path, error: OSError) -> HostFailed:
    return HostFailed(f"cannot listen at {path}: {error.strerror or error}", object=str(path))
