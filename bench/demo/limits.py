"""A container's limits as the kernel's own files say them, without any code of the agent's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limit:
    """One limit: value in the spec's units, and the file (or files) with their text."""

    name: str
    value: float
    file: Path
    text: str


def read(pid: int, id: str) -> Mapping[str, Limit]:
    """`memory` (bytes), `cpus` (cores) and `pids` of the process's cgroup.

    Args:
        id: the container's; its cgroup is named after it, and the process may be in one below.

    Raises:
        LookupError: a limit is in none of its cgroups.
    """
    unified = (_ROOT / "cgroup.controllers").exists()
    limits = {}
    for name, (controller, v1, v2) in _WHERE.items():
        for folder in _levels(pid, id, None if unified else controller):
            found = (v2 if unified else v1)(folder)
            if found:
                value, file = found
                text = " ".join(file.read_text().split())
                limits[name] = Limit(name, value, file, text)
                break
        else:
            raise LookupError(f"no {name} limit in any cgroup of process {pid}")
    return limits


def _levels(pid: int, id: str, controller: str | None) -> list[Path]:
    """The process's cgroup, then up to the container's; `controller` None: of cgroup v2."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller is None and not names:
            tree = _ROOT
        elif controller in names.split(","):
            tree = next(one for one in (_ROOT / names, _ROOT / controller) if one.is_dir())
        else:
            continue
        own = tree / path.lstrip("/")
        return [one for one in (own, *own.parents) if id in str(one)]
    return []


Found = tuple[float, Path] | None


def _number(name: str) -> Callable[[Path], Found]:
    def look(folder: Path) -> Found:
        file = folder / name
        text = file.read_text().strip() if file.exists() else "max"
        # cgroup v1 writes 'unlimited' as the largest number of pages.
        return None if text == "max" or int(text) >= 2**62 else (float(text), file)

    return look


def _cpu_max(folder: Path) -> Found:
    file = folder / "cpu.max"
    quota, period = file.read_text().split() if file.exists() else ("max", "1")
    return None if quota == "max" else (int(quota) / int(period), file)


def _cpu_quota(folder: Path) -> Found:
    file = folder / "cpu.cfs_quota_us"
    quota = int(file.read_text()) if file.exists() else -1
    period = folder / "cpu.cfs_period_us"
    return None if quota < 0 else (quota / int(period.read_text()), file)


#: Limit → controller of cgroup v1, and how v1 and v2 say it.
_WHERE: Mapping[str, tuple[str, Callable[[Path], Found], Callable[[Path], Found]]] = {
    "memory": ("memory", _number("memory.limit_in_bytes"), _number("memory.max")),
    "cpus": ("cpu", _cpu_quota, _cpu_max),
    "pids": ("pids", _number("pids.max"), _number("pids.max")),
}
