"""Mounts of the lab, and the private mount namespace in which crun works on a hybrid host.

Run as a program (`python mounts.py COMMAND…`) it becomes COMMAND in a mount namespace of its
own, without the cgroup2 tree of a hybrid host: crun before 1.9 refuses to run beside it.
No shell stands between, so the pid that was started is the command's.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

UNIFIED = Path("/sys/fs/cgroup/unified")

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_SLAVE, _MS_SHARED = 0x1000, 0x4000, 1 << 19, 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mounted:
    """One line of mountinfo: `root` within its file system, and where it is seen."""

    point: Path
    root: str
    kind: str
    shared: bool


def mounted() -> list[Mounted]:
    """What is mounted in this namespace, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        fields = left.split()
        found.append(
            Mounted(
                Path(_plain(fields[4])),
                _plain(fields[3]),
                right.split()[0],
                any(word.startswith("shared:") for word in fields[6:]),
            )
        )
    return found


def beneath(folder: Path) -> list[Mounted]:
    """What is mounted at `folder` or below, oldest first."""
    return [mount for mount in mounted() if mount.point.is_relative_to(folder)]


def hybrid() -> bool:
    """Whether this host has cgroup v1 controllers with a cgroup2 tree beside them."""
    return any(mount.point == UNIFIED and mount.kind == "cgroup2" for mount in mounted())


def share(folder: Path) -> None:
    """Lets what is mounted below `folder` later be seen in namespaces split off before."""
    around = [mount for mount in mounted() if folder.is_relative_to(mount.point)]
    if not max(around, key=lambda mount: len(mount.point.parts)).shared:
        _mount(folder, folder, _MS_BIND)
        _mount(None, folder, _MS_SHARED)


def unmount_all(folder: Path) -> None:
    """Unmounts everything at `folder` and below, newest first; what is busy is detached."""
    for mount in reversed(beneath(folder)):
        if _libc.umount2(os.fsencode(mount.point), _MNT_DETACH) != 0:
            raise _error(f"cannot unmount {mount.point}")


def _mount(source: Path | None, target: Path, flags: int) -> None:
    name = None if source is None else os.fsencode(source)
    if _libc.mount(name, os.fsencode(target), None, flags, None) != 0:
        raise _error(f"cannot mount {target}")


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _become(command: list[str]) -> None:
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise _error("cannot leave the mount namespace")
    # A slave: mounts of the agent still come in, and nothing goes out.
    _mount(None, Path("/"), _MS_REC | _MS_SLAVE)
    unmount_all(UNIFIED)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _become(sys.argv[1:])
