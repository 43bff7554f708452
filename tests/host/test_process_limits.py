"""Limits of a process, against what other means say of a real one."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.errors import HostFailed
from longshore.host.process_limits import (
    oom_score_adj,
    set_oom_score_adj,
    set_ulimits,
    shm_size,
    ulimits,
)
from longshore.model.limits import Ulimit
from longshore.model.linux import RLIMITS

MOST = 2**63 - 1


@pytest.fixture
def child() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def test_every_ulimit_is_what_the_kernel_says(child: int) -> None:
    found = {one.name: one for one in ulimits(Path(f"/proc/{child}"), RLIMITS)}
    assert set(found) == set(RLIMITS)
    for name, one in found.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}", 10)
        soft, hard = (
            MOST if value == resource.RLIM_INFINITY else value
            for value in resource.prlimit(child, number)
        )
        assert (one.soft, one.hard) == (soft, hard), name


def test_what_was_changed_is_set_back(child: int) -> None:
    folder = Path(f"/proc/{child}")
    wanted = (Ulimit(name="core", soft=1, hard=2), Ulimit(name="locks", soft=3, hard=4))
    set_ulimits(child, wanted, {})
    assert ulimits(folder, ["core", "locks"]) == wanted
    set_oom_score_adj(folder, 17)
    assert oom_score_adj(folder) == 17


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    set_ulimits(ended.pid, [Ulimit(name="core", soft=0, hard=0)], {})
    set_oom_score_adj(Path(f"/proc/{ended.pid}"), 1)
    with pytest.raises(FileNotFoundError):
        ulimits(Path(f"/proc/{ended.pid}"), ["core"])


def test_what_the_kernel_does_not_let_us(child: int) -> None:
    above = int(Path("/proc/sys/fs/nr_open").read_text()) + 1
    with pytest.raises(HostFailed, match="cannot set ulimit nofile"):
        set_ulimits(child, [Ulimit(name="nofile", soft=1, hard=above)], {})
    with pytest.raises(HostFailed, match=r"cannot set oom_score_adj .* Invalid argument"):
        set_oom_score_adj(Path(f"/proc/{child}"), 1001)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("30 1 0:31 / /dev/shm rw - tmpfs shm rw,size=65536k,mode=1777", 65536 * 1024),
        ("30 1 0:31 / /dev/shm rw - tmpfs shm rw", 500 * 1024),
        ("30 1 0:31 / /dev/shm rw - fuse.x x rw,size=65536k", None),
        ("30 1 0:31 / /dev rw - tmpfs shm rw,size=65536k", None),
    ],
)
def test_the_size_of_shared_memory(tmp_path: Path, line: str, size: int | None) -> None:
    (tmp_path / "mountinfo").write_text(line + "\n")
    (tmp_path / "meminfo").write_text("MemTotal:     1000 kB\nMemFree: 1 kB\n")
    assert shm_size(tmp_path, tmp_path / "meminfo") == size
