"""The kernel's settings under /proc/sys.

What lies under net/ is the network namespace of the calling thread.
"""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/proc/sys")


def read(name: str) -> str | None:
    """The value of `net/ipv4/ip_forward`, None if the kernel has no such setting."""
    try:
        return (_ROOT / name).read_text().strip()
    except FileNotFoundError:
        return None


def ensure(name: str, value: str) -> bool:
    """Sets it unless it is so already; whether it is so now.

    A setting that the kernel lacks, or a /proc/sys that is read-only, is no error here: who
    needs the setting says so in its findings.
    """
    path = _ROOT / name
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError:
        return False
    return True
