"""What a container sees of the files in its folder: copies in memory, for as long as it runs.

It may write to them, and a file system of its own with little room fills nothing of the node's.
The next start begins with what was asked for.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from longshore.host import mounts as kernel
from longshore.host.idmap import hide, unmount
from longshore.host.placing import place
from longshore.model.layout import Layout
from longshore.model.names import Names, is_container_id

#: Bytes by which they may grow, all of a container's together.
ROOM = 2**20
_FOLDER_MODE = 0o700


def show(layout: Layout, names: Names) -> None:
    """Copies all but the logs to `Layout.shown`. What is there already stays: a process has it.

    Raises:
        OSError: there is no folder; memory is short.
    """
    whole = layout.shown(names)
    if whole.is_dir():
        return
    files = _files(layout, names)
    top = layout.injected / names.id
    top.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    unmount(top)  # What a killed agent had begun.
    room = ROOM + sum(_pages(file.stat().st_size) for file in files)
    # Not nosuid: a file's mode is as asked for. Nobody but root comes in here.
    kernel.mount_tmpfs(top, f"mode={_FOLDER_MODE:o},size={room}", programs=True)
    half = whole.with_name(".new")
    half.mkdir(_FOLDER_MODE)
    for file in files:
        found = file.stat()
        place(
            half / file.name,
            file.read_bytes(),
            mode=stat.S_IMODE(found.st_mode),
            owner=(found.st_uid, found.st_gid),
        )
    half.rename(whole)


def unshow(layout: Layout, names: Names) -> None:
    """Raises OSError: there is something beneath that is no mount."""
    hide(layout.injected / names.id)


def shown(layout: Layout) -> set[str]:
    """Ids of the containers that have copies, half made ones too. Raises OSError."""
    try:
        return {name for name in os.listdir(layout.injected) if is_container_id(name)}
    except FileNotFoundError:
        return set()


def _files(layout: Layout, names: Names) -> Sequence[Path]:
    logs = (layout.stdout(names), layout.stderr(names))
    there = sorted(layout.folder(names).iterdir())
    return [file for file in there if file not in logs and not file.name.startswith(".")]


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
