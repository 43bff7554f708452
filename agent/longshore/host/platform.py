"""What programs this node runs."""

from __future__ import annotations

import os
from pathlib import Path

from longshore.model.platform import Platform, of_node


def this_node(cpuinfo: Path = Path("/proc/cpuinfo")) -> Platform:
    """From the kernel; without its word on the processors' flags, the least that they have."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    # The kernel shows each processor only what all of the node can run.
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return of_node(os.uname().machine, frozenset(flags))
