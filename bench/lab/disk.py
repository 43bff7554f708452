"""A disk of one's own: a file system in a file, on a loop device that goes when it is unmounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.lab import mounts


@contextmanager
def disk(
    at: Path, size: int, make: Sequence[str] = ("mkfs.btrfs", "-q"), options: str = ""
) -> Iterator[Path]:
    """Mounts a new file system of `size` bytes at the folder `at`, which is made, for the body.

    What was mounted in it is unmounted too; what still uses it keeps it until it ends.

    Args:
        make: the command that makes it, to which the file's name is added.
        options: of mount(8).
    """
    at.mkdir(parents=True, exist_ok=True)
    image = at.with_name(f"{at.name}.image")
    with image.open("wb") as file:
        file.truncate(size)
    try:
        _run(*make, image)
        _run("mount", "-o", ",".join(filter(None, ["loop", options])), image, at)
        yield at
    finally:
        mounts.unmount_all(at)
        image.unlink()


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot {' '.join(map(str, command))}: {done.stderr.strip()}")
