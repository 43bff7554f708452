"""Sources that are swapped for links out of the root all the time, while they are mounted."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from host.volumekit import Host
from longshore.errors import HostBusy, InvalidSpec, PolicyForbids
from longshore.host import mounts as kernel
from longshore.model.mounts import Bind

#: At least so many, of which so many are refused, and so many are not.
TRIES, MET = 10_000, 500
#: A process of its own: in ours the swaps would wait for the tries.
_SWAPPER = """
import ctypes, os, sys, time
libc, at = ctypes.CDLL(None), -100
root = os.fsencode(sys.argv[1])
x, out, up, deep, aside = (
    os.path.join(root, one) for one in (b"x", b"out", b"deep", b"deep/er", b"aside")
)
away = os.fsencode(sys.argv[2])
print("begun", flush=True)
# To a link out and back: the last part of the path, then a folder on the way; and a folder on the
# way is moved out of the root, and back.
moves = [(x, out, 2), (deep, aside, 2), (x, out, 2), (deep, aside, 2), (up, away, 1), (away, up, 1)]
while True:
    for one, other, how in moves:
        libc.renameat2(at, one, at, other, how)
        time.sleep(0.00001)  # The machine is not its own.
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as stack:
        host = Host(tmp_path, stack)
        yield host
        host.volumes.unmount(host.names)
        assert host.mounted() == []


@contextmanager
def swapping(host: Host, away: Path) -> Iterator[None]:
    for folder in ("x", "deep/er/x"):
        (host.root / folder).mkdir(parents=True)
    for link in ("out", "aside"):
        (host.root / link).symlink_to(host.secret)
    (host.secret / "x").mkdir()
    command: list[str | Path] = [sys.executable, "-c", _SWAPPER, host.root, away]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        try:
            yield
            assert process.poll() is None, "nothing was swapped any more"
        finally:
            process.kill()


def identity(path: Path) -> tuple[int, int]:
    entry = path.stat()
    return entry.st_dev, entry.st_ino


def mounted(host: Host, bind: Bind) -> tuple[int, int] | None:
    """What was mounted; None: it was refused. Nothing is mounted when it returns."""
    try:
        host.volumes.mount(host.names, [bind])
    except (PolicyForbids, HostBusy, InvalidSpec):
        return None
    try:
        return identity(host.at())
    finally:
        # By hand, which takes a tenth of the time.
        kernel.detach(host.at())
        host.at().rmdir()


def test_nothing_outside_is_ever_mounted(host: Host, tmp_path: Path) -> None:
    away = tmp_path / "away"
    outside = {identity(host.secret)}
    binds = [
        host.bind("x"),
        host.bind("deep/er/x"),
        host.bind("x/made", create={}),
        host.bind("x/two/made", create={"mode": 0o700}),
    ]
    seen: Counter[tuple[int, int] | None] = Counter()
    with swapping(host, away):
        outside.add(identity(host.secret / "x"))
        for number in itertools.count():
            seen[mounted(host, binds[number % len(binds)])] += 1
            assert outside.isdisjoint(seen)
            # The machine has more to do: as long as it takes until they have met often enough.
            if number >= TRIES and MET <= seen[None] <= number - MET:
                break
    print(f"{seen.total()} tries: {seen.pop(None)} refused, {seen.total()} mounted")
    # All of it is of the root, and nothing was made outside of it.
    inside = {identity(Path(folder)) for top in (host.root, away) for folder, *_ in os.walk(top)}
    assert set(seen) <= inside
    assert sorted(os.listdir(host.secret)) == ["file", "x"]
    assert os.listdir(host.secret / "x") == []
