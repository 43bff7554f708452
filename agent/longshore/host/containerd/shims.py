"""Shims and bundles as the node has them, for what containerd tells nothing of.

An agent that dies leaves the creates that it had asked for to containerd, which breaks them off:
it kills the shim, has the runtime delete the container, and removes the bundle. Meanwhile it
knows no task. A new create of the same container before that is through would lose its own
bundle or process to the removal of the old one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

_PROC = Path("/proc")
#: Between the end of a shim and the start of the process that clears up after it there is a
#: moment with neither: what is gone must be gone at two looks in a row.
_PAUSE = 0.05


@dataclass(frozen=True)
class Shim:
    """A process of the shim's program. `bundle` is the folder that containerd made for it."""

    pid: int
    bundle: Path


def of_container(namespace: str, id: str) -> list[Shim]:
    """Those that serve this container, or clear up after one that did."""
    return list(_shims(namespace.encode(), id.encode()))


def wait_until_gone(bundles: Path, namespace: str, id: str, patience: float) -> None:
    """Returns once containerd has cleared up all of a container whose task it does not know.

    Args:
        bundles: where containerd makes the bundles of the namespace.
        patience: seconds after which shims are killed, once; and again, to give up waiting.
    """

    def is_gone() -> bool:
        return not (bundles / id).exists() and not of_container(namespace, id)

    if is_gone():
        return
    for last_resort in (_kill, _leave):
        until = time.monotonic() + patience
        looks = 0
        while time.monotonic() < until:
            looks = looks + 1 if is_gone() else 0
            if looks == 2:
                return
            time.sleep(_PAUSE)
        last_resort(namespace, id)


def _kill(namespace: str, id: str) -> None:
    """Nobody else will end it: containerd has forgotten it."""
    for shim in of_container(namespace, id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(shim.pid, SIGKILL)


def _leave(namespace: str, id: str) -> None:
    """What still stays is the caller's to find: a new create says what is in its way."""


def _shims(namespace: bytes, id: bytes) -> Iterator[Shim]:
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (_PROC / entry / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and id in words and namespace in words:
                yield Shim(int(entry), (_PROC / entry / "cwd").readlink())
