"""Containers as far as meters go: a process in cgroups of its own, on the real kernel."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from longshore.model.running import Running

ROOT = Path("/sys/fs/cgroup")
#: All v1 hierarchies of this kernel, or its one v2.
HIERARCHIES = (
    [ROOT]
    if (ROOT / "cgroup.controllers").exists()
    else sorted(one for one in ROOT.iterdir() if one.is_dir() and not one.is_symlink())
)
#: It waits for its input to end, and works for so many seconds of CPU for each line of it.
_PROGRAM = """
import sys, time
for line in sys.stdin:
    end = time.process_time() + float(line)
    while time.process_time() < end:
        pass
    print(flush=True)
"""


@dataclass
class Worker:
    """A process that works when it is told to."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def work(self, seconds: float) -> None:
        """Returns when it has used so much CPU."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


@contextmanager
def worker(*, program: tuple[str, ...] = (sys.executable, "-c", _PROGRAM)) -> Iterator[Worker]:
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@contextmanager
def parent() -> Iterator[str]:
    """Name of a cgroup that is in all hierarchies, for containers; removed at the end."""
    name = f"longshore_{uuid4().hex[:6]}"
    for hierarchy in HIERARCHIES:
        (hierarchy / name).mkdir()
        if hierarchy.name == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                (hierarchy / name / file).write_text((hierarchy / file).read_text())
    try:
        yield name
    finally:
        for hierarchy in HIERARCHIES:
            _remove(hierarchy / name)


def contain(where: str, pid: int, id: str = "", below: str = "") -> Running:
    """Moves the process into `where`/ID[/below] of each hierarchy."""
    id = id or str(uuid4())
    for hierarchy in HIERARCHIES:
        folder = hierarchy / where
        for part in filter(None, (id, below)):
            folder /= part
            folder.mkdir(exist_ok=True)
            if hierarchy.name == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (folder / file).write_text((hierarchy / file).read_text())
        (folder / "cgroup.procs").write_text(str(pid))
    return Running(id, f"c-{id[:8]}", pid)


def emptied(where: str, id: str) -> None:
    """Removes the container's cgroups; its processes have ended."""
    for hierarchy in HIERARCHIES:
        _remove(hierarchy / where / id)


def until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


def open_files() -> dict[str, str]:
    """Descriptors of this process that are of cgroups."""
    found = {}
    for one in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[one] = os.readlink(f"/proc/self/fd/{one}")
    return {one: path for one, path in found.items() if path.startswith(str(ROOT))}


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    for child in folder.iterdir():
        if child.is_dir():
            _remove(child)

    def gone() -> bool:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    until(gone)
