"""Removing a tree of files that a container has filled as it pleased."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(folder: Path, deadline: float) -> None:
    """Removes the folder and all in it, following no link. One that is gone is fine.

    However deep it is: folders come up to the top before they are removed, so that neither a path
    nor the stack grows. What was interrupted goes on when called again.

    Args:
        deadline: monotonic seconds.

    Raises:
        TimeoutError: it is later than that.
        OSError: something cannot be removed.
    """
    try:
        top = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return
    try:
        while _sweep(top, deadline):
            pass
    finally:
        os.close(top)
    folder.rmdir()


def _sweep(top: int, deadline: float) -> bool:
    """Removes what is in it now. Whether there was anything: what was beneath has come up."""
    found = False
    for entry in _entries(top, deadline):
        found = True
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=top)
            continue
        _lift(top, entry.name, deadline)
        os.rmdir(entry.name, dir_fd=top)
    return found


def _lift(top: int, name: str, deadline: float) -> None:
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        for entry in _entries(folder, deadline):
            if entry.is_dir(follow_symlinks=False):
                new = f".removed-{secrets.token_hex(8)}"
                os.rename(entry.name, new, src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(entry.name, dir_fd=folder)
    finally:
        os.close(folder)


def _entries(folder: int, deadline: float) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if time.monotonic() > deadline:
                raise TimeoutError
            yield entry
