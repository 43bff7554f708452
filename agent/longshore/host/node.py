"""Facts of the node, from the kernel."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from longshore.errors import HostFailed
from longshore.model.limits import cpus_of
from longshore.model.node import Node, Space


def facts(state_dir: Path, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Node:
    """The node as it is now.

    Raises:
        HostFailed: proc or sys is not mounted, or the state folder is not there.
    """
    try:
        space = os.statvfs(state_dir)
        return Node(
            kernel=platform.release(),
            boot_id=(proc / "sys/kernel/random/boot_id").read_text().strip(),
            cpus=cpus_of((sys / "devices/system/cpu/online").read_text().strip()),
            memory=psutil.virtual_memory().total,
            pid_max=int((proc / "sys/kernel/pid_max").read_text()),
            disk=space.f_blocks * space.f_frsize,
        )
    except OSError as error:
        raise HostFailed(f"cannot read the node's facts: {error}") from error


def on_one_disk(one: Path, other: Path) -> bool:
    """Whether two folders are on the same file system; not where one of them cannot be seen."""
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def disk(folder: Path) -> Space:
    """The file system that the folder is on; what is kept for root counts as used.

    Raises:
        HostFailed: it is not there.
    """
    try:
        space = os.statvfs(folder)
    except OSError as error:
        raise HostFailed(f"cannot see the disk of {folder}: {error}") from error
    return Space(
        used=(space.f_blocks - space.f_bavail) * space.f_frsize,
        total=space.f_blocks * space.f_frsize,
    )
