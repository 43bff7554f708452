"""What the memory of a cgroup came to: files that stay until the cgroup is removed."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from longshore.model.host import MemoryUse

_PEAK, _LIMIT, _KILLED = "peak", "limit", "killed"
#: A v1 limit that is none reads as the largest multiple of the page size below 2**63.
_NO_LIMIT = 2**62
_V1 = {
    _PEAK: "memory.max_usage_in_bytes",
    _LIMIT: "memory.limit_in_bytes",
    _KILLED: "memory.oom_control",
}
#: The peak since Linux 5.19. `memory.events` counts those of the cgroups beneath as well.
_V2 = {_PEAK: "memory.peak", _LIMIT: "memory.max", _KILLED: "memory.events"}


def memory_use(folder: Path, cgroup: str, *, unified: bool) -> MemoryUse | None:
    """None: there is no such cgroup, or it limits no memory.

    Raises:
        OSError: but for what went away meanwhile.
    """
    files = {what: _text(folder / name) for what, name in (_V2 if unified else _V1).items()}
    events = files[_KILLED]
    if events is None:
        return None
    killed = dict(line.split() for line in events.splitlines()).get("oom_kill", "0")
    return MemoryUse(cgroup, _number(files, _PEAK), _number(files, _LIMIT), int(killed))


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def _number(files: Mapping[str, str | None], what: str) -> int | None:
    text = files[what]
    if text is None or text == "max":
        return None
    return int(text) if int(text) < _NO_LIMIT else None
