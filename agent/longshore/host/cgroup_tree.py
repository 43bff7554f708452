"""Folders of cgroups: what is in them, what is written to them, and their removal."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from longshore.errors import HostBusy, HostFailed
from longshore.host.cgroup_writes import Write

#: What the kernel says of a process, a cgroup or a file in it that ended meanwhile.
VANISHED = (errno.ENOENT, errno.ESRCH, errno.ENODEV)
#: The kernel lets go of a cgroup some moments after its last process; no event says when.
_RMDIR_PAUSE = 0.01


def children(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError as error:
        if error.errno in VANISHED:
            return []
        raise failed("list", folder, error) from error


def processes(folder: Path) -> Iterator[int]:
    try:
        pids = (folder / "cgroup.procs").read_text().split()
    except OSError as error:
        if error.errno in VANISHED:
            return
        raise failed("read", folder, error) from error
    yield from map(int, pids)
    for child in children(folder):
        yield from processes(child)


def remove_tree(folder: Path, deadline: float) -> None:
    for child in children(folder):
        remove_tree(child, deadline)
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise failed("remove", folder, error) from error
            if time.monotonic() >= deadline:
                raise _busy(folder) from error
        else:
            return
        time.sleep(_RMDIR_PAUSE)


def write(level: Path, one: Write) -> None:
    for name, text in one.files:
        file = level / name
        # Not 'w', which would make a file where the kernel has none.
        if file.exists():
            try:
                file.write_text(text)
            except OSError as error:
                if error.errno in VANISHED:
                    return
                raise HostFailed(
                    f"cannot set limits.{one.field}: {error.strerror} (writing {text!r} to {file})",
                    field=f"limits.{one.field}",
                    object=str(file),
                ) from error
            return


def _busy(folder: Path) -> HostBusy:
    try:
        pids = (folder / "cgroup.procs").read_text().split()
    except OSError:
        pids = []
    why = f"process {', '.join(pids)} is in it" if pids else "the kernel still uses it"
    return HostBusy(
        f"cannot remove cgroup {folder}: {why}", object=str(folder), details={"pids": pids}
    )


def failed(verb: str, folder: Path, error: OSError) -> HostFailed:
    return HostFailed(f"cannot {verb} cgroup {folder}: {error.strerror}", object=str(folder))
