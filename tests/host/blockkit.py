"""A disk of one's own for tests that limit block I/O: a loop device."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loop_disk(image: Path, size: int, *, scheduler: str = "none") -> Iterator[str]:
    """Its path in /dev. `scheduler`: of its I/O; as it was at the end."""
    with image.open("wb") as file:
        file.truncate(size)
    path = subprocess.run(
        ["losetup", "--find", "--show", image], check=True, capture_output=True, text=True
    ).stdout.strip()
    chosen = Path("/sys/block") / Path(path).name / "queue/scheduler"
    before = chosen.read_text().split("[")[1].split("]")[0]
    try:
        chosen.write_text(scheduler)
        yield path
    finally:
        chosen.write_text(before)
        subprocess.run(["losetup", "--detach", path], check=True)
        image.unlink()
