"""What is mounted where: /proc/PID/mountinfo, which answers without touching any file system."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class MountPoint:
    """One line. `peers`: number of its peer group, None unless shared; `master` likewise; `root`:
    which folder of the file system is mounted there, `/` for all of it."""

    id: int
    path: Path
    peers: int | None
    master: int | None
    filesystem: str
    options: frozenset[str]
    root: Path


def mount_points(
    file: Path = Path("/proc/self/mountinfo"), mentioning: str = ""
) -> Sequence[MountPoint]:
    """In the order of mounting, so that of two on one path the later one is seen.

    Args:
        mentioning: only those whose line holds this word. A node has several for each container,
            and to understand a line takes a hundred times as long as to pass it over.
    """
    word = mentioning.encode()
    return [_parse(line) for line in file.read_bytes().splitlines() if word in line]


def containing(path: Path, points: Sequence[MountPoint]) -> MountPoint:
    """The mount that the absolute, resolved `path` is in."""
    depth = max(len(point.path.parts) for point in points if path.is_relative_to(point.path))
    return [
        point
        for point in points
        if path.is_relative_to(point.path) and len(point.path.parts) == depth
    ][-1]


def mount_id(fd: int) -> int:
    """The `MountPoint.id` of the mount that an open descriptor is in."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def _parse(line: bytes) -> MountPoint:
    """`id parent dev root path options [tag:number]… - filesystem source super-options`."""
    left, right = line.split(b" - ", 1)
    fields, (filesystem, _, super_options) = left.split(b" "), right.split(b" ", 2)
    tags = dict(tag.split(b":", 1) for tag in fields[6:] if b":" in tag)
    return MountPoint(
        id=int(fields[0]),
        path=_path(fields[4]),
        peers=int(tags[b"shared"]) if b"shared" in tags else None,
        master=int(tags[b"master"]) if b"master" in tags else None,
        filesystem=filesystem.decode(),
        options=frozenset(f"{fields[5].decode()},{super_options.decode()}".split(",")),
        root=_path(fields[3]),
    )


def _path(field: bytes) -> Path:
    return Path(os.fsdecode(_ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), field)))
