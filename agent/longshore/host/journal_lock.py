"""One agent on one journal: two would each undo what the other does."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from longshore.errors import HostBusy

_PROC = Path("/proc")
#: Of the first thread of a process that was killed (proc_pid_stat(5)).
_DEAD = frozenset({"Z", "X"})


def hold(path: Path) -> int:
    """A descriptor that holds the lock until it is closed, or its process has ended.

    One that was killed while a thread of it hangs in the kernel, on a file system that does not
    answer, never ends: it can do nothing any more, and does not count.

    Raises:
        HostBusy: another agent has it.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(descriptor):
                if not _is_dead(descriptor):
                    raise _busy(path)
                # Its lock goes on in a file that has no name any more.
                _forget(path, descriptor)
            elif _is_named(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                # Who looked before that may have taken us for the one that was here last.
                if _is_named(path, descriptor):
                    return os.dup(descriptor)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_dead(descriptor: int) -> bool:
    """Whether the holder was killed. While it lives, its pid is no other's."""
    holder = os.pread(descriptor, 32, 0).strip()
    if not holder.isdigit():
        return False
    try:
        stat = (_PROC / holder.decode() / "stat").read_text()
    except OSError:
        return False  # ended just now: the lock is free in a moment, or somebody else's
    return stat.rpartition(")")[2].split()[0] in _DEAD


def _forget(path: Path, descriptor: int) -> None:
    if _is_named(path, descriptor):
        path.unlink(missing_ok=True)


def _is_named(path: Path, descriptor: int) -> bool:
    """Whether the file that was opened is the one that others find."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _busy(path: Path) -> HostBusy:
    return HostBusy(
        "cannot use the journal: another agent works with it",
        object=str(path),
        hint="is longshore-agent running already? use another state_dir for a second one",
    )
