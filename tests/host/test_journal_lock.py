"""Who may work with a journal: one, and not one that is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from longshore.errors import HostBusy
from longshore.host.journal_lock import hold

#: Holds the lock, and says so. With an argument its first thread ends, as that of a process does
#: which was killed while another thread hangs in the kernel: the lock goes on.
HOLDER = """
import ctypes, sys, threading, time
from pathlib import Path
from longshore.host.journal_lock import hold
held = hold(Path(sys.argv[1]))
threading.Thread(target=time.sleep, args=(60,)).start()
print("held", flush=True)
if len(sys.argv) > 2:
    ctypes.CDLL(None).syscall(60 if sys.maxsize and "x86" in sys.argv[2] else 93, 0)
time.sleep(60)
"""


def holder(lock: Path, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", HOLDER, str(lock), *more]
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def test_the_living_and_the_ended(tmp_path: Path) -> None:
    lock = tmp_path / "journal.lock"
    child = holder(lock)
    with pytest.raises(HostBusy, match="another agent"):
        hold(lock)
    child.kill()
    child.wait()
    held = hold(lock)
    with pytest.raises(HostBusy):
        hold(lock)
    os.close(held)
    os.close(hold(lock))


def test_one_that_is_dead_and_does_not_end(tmp_path: Path) -> None:
    lock = tmp_path / "journal.lock"
    child = holder(lock, os.uname().machine)
    stat = Path(f"/proc/{child.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert child.poll() is None
    inode = lock.stat().st_ino
    held = hold(lock)
    assert lock.stat().st_ino != inode
    with pytest.raises(HostBusy):
        hold(lock)
    os.close(held)
    child.kill()
    child.wait()
    os.close(hold(lock))
