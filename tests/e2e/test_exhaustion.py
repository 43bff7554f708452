"""Containers that use up what they may, on the real kernel: each hurts itself alone.

Amounts are compared, not times: processor time used against quota x time gone, bytes against rate x
time gone. On a machine with much else to do a container has less, so only the upper bound is always
looked at.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.lab import Lab, until
from host.blockkit import loop_disk
from longshore.errors import InvalidSpec
from longshore.host.cgroup import Cgroups
from longshore.model.status import ContainerStatus
from longshore.model.values import MIB

pytestmark = pytest.mark.usefixtures("clean")
ROOT = Path("/sys/fs/cgroup")
V2 = Cgroups().mode() == "v2"
#: Asks for memory until there is none. The shell's own variable: no other process is needed.
HOG = "x=0123456789abcdef; while :; do x=$x$x; done"


def run(lab: Lab, script: str, **changes: Any) -> ContainerStatus:
    return lab.client.create(lab.spec(command=["sh", "-c", script], nics=[], **changes))


def cgroup(lab: Lab, one: ContainerStatus, controller: str) -> Path:
    return (ROOT if V2 else ROOT / controller) / lab.agent.cgroup / one.id


def ended(lab: Lab, one: ContainerStatus) -> ContainerStatus:
    def stopped() -> ContainerStatus | None:
        shown = lab.client.show(one.id)
        return shown if shown.state == "stopped" else None

    return until(stopped)


def delete(lab: Lab, *containers: ContainerStatus) -> None:
    for one in containers:
        lab.client.delete(one.id, force=True)


def test_a_fork_bomb_hits_its_pids(lab: Lab) -> None:
    neighbour = run(lab, "sleep 1000")
    script = "(b() { b & b & sleep 1000; }; b) & exec sleep 1000"
    bomb = run(lab, script, limits={"pids": 24})
    folder = cgroup(lab, bomb, "pids")
    until(lambda: int((folder / "pids.events").read_text().removeprefix("max ")) > 0)
    # Neither the node nor a neighbour notices: both still get processes.
    for _ in range(20):
        assert subprocess.run(["true"], check=False).returncode == 0
    twin = run(lab, "exit 0", limits={"pids": 24})
    assert ended(lab, twin).exit_code == 0
    assert lab.client.show(neighbour.id).state == "running"
    assert 2 <= int((folder / "pids.current").read_text()) <= 24
    delete(lab, bomb, neighbour, twin)


def test_a_memory_hog_is_killed_and_told_of(lab: Lab) -> None:
    limit = 16 * MIB
    asked = {"memory": limit, "memory_swap": limit}
    # The kernel's killer takes the child: the container goes on, and its status says so.
    script = f"[ -e /fed ] && exec sleep 1000; touch /fed; sh -c '{HOG}'; sleep 1000"
    parent = run(lab, script, limits=asked)
    hog = run(lab, HOG, limits=asked)
    dead = ended(lab, hog)
    assert dead.exit_code == 137
    assert "out of memory" in dead.reason
    told = dead.out_of_memory
    assert told is not None
    assert (told.cgroup, told.limit) == (f"/{lab.agent.cgroup}/{hog.id}", limit)
    assert told.peak is not None
    assert limit - MIB <= told.peak <= limit
    assert f"{told.peak} of {limit} bytes in cgroup {told.cgroup}" in dead.reason
    alive = until(
        lambda: one if (one := lab.client.show(parent.id)).out_of_memory is not None else None
    )
    assert alive.state == "running"
    assert alive.out_of_memory is not None
    assert alive.out_of_memory.limit == limit
    lab.client.stop(parent.id, grace=0)
    assert "out of memory" in lab.client.show(parent.id).reason
    # It is still the last time; of the next run, in which it is no hog, it is not told.
    assert "out of memory" not in lab.client.start(parent.id).reason
    lab.client.stop(parent.id, grace=0)
    again = lab.client.show(parent.id)
    assert again.out_of_memory == alive.out_of_memory
    assert "out of memory" not in again.reason
    delete(lab, hog, parent)


def test_what_happens_at_the_memory_limit_is_the_specs_to_say(lab: Lab) -> None:
    limits = {"memory": 16 * MIB, "memory_swap": 16 * MIB}
    script = f"sh -c '{HOG}' & wait; sleep 1000"
    if V2:
        together = run(lab, script, limits={**limits, "oom_policy": "kill"})
        assert ended(lab, together).exit_code == 137
        refused = "pause"
    else:
        together = run(lab, script, limits={**limits, "oom_policy": "pause"})
        control = cgroup(lab, together, "memory") / "memory.oom_control"
        until(lambda: "under_oom 1" in control.read_text())
        assert "oom_kill 0" in control.read_text()
        until(lambda: "wait" in lab.client.show(together.id).reason)
        refused = "kill"
    with pytest.raises(InvalidSpec, match="only cgroup") as caught:
        run(lab, script, limits={**limits, "oom_policy": refused})
    assert caught.value.field == "limits.oom_policy"
    delete(lab, together)


def _usage(folder: Path) -> tuple[float, int, int]:
    """Seconds of processor time; periods, and those of them in which it was held back."""
    stat = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
    if V2:
        used = int(stat["usage_usec"]) / 1e6
    else:
        usage = ROOT / "cpuacct" / folder.relative_to(ROOT / "cpu") / "cpuacct.usage"
        used = int(usage.read_text()) / 1e9
    return used, int(stat["nr_periods"]), int(stat["nr_throttled"])


def test_a_cpu_hog_is_held_to_its_quota(lab: Lab) -> None:
    quota, period = 0.2, 0.1
    wanted = 80
    hog = run(lab, "while :; do :; done", limits={"cpus": quota})
    folder = cgroup(lab, hog, "cpu")
    until(lambda: _usage(folder)[2] > 0)
    # So many that one quota more, at one of the two ends, is well within the 3 %.
    began = time.monotonic()
    before = _usage(folder)
    until(lambda: _usage(folder)[1] >= before[1] + wanted, 60)
    after = _usage(folder)
    gone = time.monotonic() - began
    used, periods, held = (now - then for now, then in zip(after, before, strict=True))
    assert held > 0
    assert used <= 1.03 * quota * gone
    if held == periods:
        # In each of them it was held back, so it had all the time that it may have.
        assert used >= 0.97 * quota * period * (periods - 1)
    delete(lab, hog)


@pytest.fixture
def slow_disk(lab: Lab, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A disk with a file system on it, beneath the agent's volume root."""
    with loop_disk(tmp_path / "image", 16 * MIB) as device:
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", device], check=True)
        folder = lab.volume("disk")
        subprocess.run(["mount", device, folder], check=True)
        try:
            yield device, folder
        finally:
            subprocess.run(["umount", folder], check=True)


def test_io_is_held_to_its_rate(lab: Lab, slow_disk: tuple[str, Path]) -> None:
    device, folder = slow_disk
    rate, size = 2 * MIB, 2 * MIB
    script = (
        "cat /proc/uptime; dd if=/dev/zero of=/d/x bs=64k count=32 oflag=direct 2>/dev/null;"
        "cat /proc/uptime"
    )
    one = run(
        lab,
        script,
        mounts=[{"type": "bind", "source": str(folder), "target": "/d"}],
        limits={"io": [{"device": device, "write_bps": rate}]},
    )
    assert one.limits is not None
    assert [limit.write_bps for limit in one.limits.io] == [rate]
    assert ended(lab, one).exit_code == 0
    (log,) = lab.client.logs(one.id)
    began, done = (float(line.split()[0]) for line in log.data.decode().splitlines())
    assert os.path.getsize(folder / "x") == size
    # The kernel may let one slice of 100 ms pass at first.
    assert done - began >= 0.97 * (size / rate - 0.1)
    delete(lab, one)
