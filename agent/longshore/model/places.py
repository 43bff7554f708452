"""Where in a container a request may put something. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

#: The kernel's file systems: what is put there would hide the kernel from the container, or be
#: hidden, and runtimes refuse most of it.
KERNEL = ("/proc", "/sys")
DEVICES = "/dev"
#: In /dev of every container; with what is in them.
DEFAULT_DEVICES = frozenset(
    f"{DEVICES}/{name}"
    for name in (
        *("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue"),
        *("console", "fd", "stdin", "stdout", "stderr"),
    )
)


def why_not(target: str) -> str | None:
    """Why nothing can be put there, in words."""
    if any(within(target, folder) for folder in KERNEL):
        return f"must not be in {' or '.join(KERNEL)}, which are the kernel's"
    if target == DEVICES:
        return f"must not be {DEVICES} itself, which is the container's own; in it is fine"
    return None


def why_no_device(target: str) -> str | None:
    """The same of a device."""
    if target == DEVICES or not within(target, DEVICES):
        return f"must be in {DEVICES}, where containers have their devices"
    if any(within(target, one) for one in DEFAULT_DEVICES):
        return "every container has that of its own"
    return None


def misplaced(mounts: Mapping[str, str], files: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A {field, why} for each thing that is put where it cannot be. Args: field → target."""
    for field, target in {**mounts, **files}.items():
        why = "must not be /" if target == "/" else why_not(target)
        above = next(
            (file for file in files.values() if file != target and within(target, file)), None
        )
        if why is None and above is not None:
            why = f"is beneath {above}, which is a file of this request"
        if why is not None:
            yield {"field": field, "why": why}


def within(path: str, folder: str) -> bool:
    """Whether it is that, or beneath it."""
    return PurePosixPath(path).is_relative_to(folder)
