"""Limits that the kernel keeps with a process and in its mounts, not in a cgroup.

All is read from /proc, which asks no file system of the container: one that hangs holds up nobody.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterable, Mapping
from pathlib import Path

from longshore.errors import HostFailed
from longshore.host.mountinfo import mount_points
from longshore.model.limits import Ulimit

#: The largest that a spec can ask for; the kernel's 'unlimited' is one bit more.
_MOST = 2**63 - 1
_SHM = Path("/dev/shm")  # noqa: S108 - the container's, and only its mount is looked at
#: Resource → its line in /proc/PID/limits, where columns are apart by two blanks or more.
_LINES = {
    "as": "Max address space",
    "core": "Max core file size",
    "cpu": "Max cpu time",
    "data": "Max data size",
    "fsize": "Max file size",
    "locks": "Max file locks",
    "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size",
    "nice": "Max nice priority",
    "nofile": "Max open files",
    "nproc": "Max processes",
    "rss": "Max resident set",
    "rtprio": "Max realtime priority",
    "rttime": "Max realtime timeout",
    "sigpending": "Max pending signals",
    "stack": "Max stack size",
}
_COLUMNS = re.compile(r"\s{2,}")
#: By getrlimit(2); Python has no name for it.
_RLIMIT_LOCKS = 10


def ulimits(folder: Path, names: Iterable[str]) -> tuple[Ulimit, ...]:
    """Those of the process whose /proc folder it is.

    Raises:
        OSError: it is gone.
    """
    names = tuple(names)
    if not names:
        return ()
    there: dict[str, list[str]] = {}
    for line in (folder / "limits").read_text().splitlines()[1:]:
        title, *columns = _COLUMNS.split(line.strip())
        there[title] = columns
    return tuple(
        Ulimit(name=name, soft=_number(soft), hard=_number(hard))
        for name in names
        for soft, hard in (there[_LINES[name]][:2],)
    )


def oom_score_adj(folder: Path) -> int:
    return int((folder / "oom_score_adj").read_text())


def shm_size(folder: Path, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes of the tmpfs that is /dev/shm for the process; None: that is no tmpfs."""
    there = [one for one in mount_points(folder / "mountinfo") if one.path == _SHM]
    if not there or there[-1].filesystem != "tmpfs":
        return None
    for option in there[-1].options:
        name, _, size = option.partition("=")
        if name == "size":
            return int(size.removesuffix("k")) * 1024
    # The kernel does not mention its own default, half of the memory.
    total = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemTotal"))
    return int(total.split()[1]) * 1024 // 2


def set_ulimits(pid: int, wanted: Iterable[Ulimit], has: Mapping[str, Ulimit]) -> None:
    """Of one process: those that it started already keep what they have.

    Raises:
        HostFailed: the kernel does not let us.
    """
    for one in wanted:
        there = has.get(one.name)
        if there is not None and there.soft <= one.soft and there.hard <= one.hard:
            # It may be content with less.
            continue
        number = getattr(resource, f"RLIMIT_{one.name.upper()}", _RLIMIT_LOCKS)
        try:
            resource.prlimit(pid, number, (one.soft, one.hard))
        except ProcessLookupError:
            return
        except (OSError, ValueError) as error:
            raise HostFailed(
                f"cannot set ulimit {one.name} of process {pid}: {error}", object=str(pid)
            ) from error


def set_oom_score_adj(folder: Path, score: int) -> None:
    """Raises:
    HostFailed: without CAP_SYS_RESOURCE nothing goes below what it was given.
    """
    try:
        (folder / "oom_score_adj").write_text(str(score))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return
        raise HostFailed(
            f"cannot set oom_score_adj of process {folder.name}: {os.strerror(error.errno or 0)}",
            object=folder.name,
        ) from error


def _number(text: str) -> int:
    return _MOST if text == "unlimited" else min(int(text), _MOST)
