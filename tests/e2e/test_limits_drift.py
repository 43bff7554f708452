"""Limits that somebody changed under a running container: noticed, put right, told."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.lab import Lab, until
from host.blockkit import loop_disk
from longshore.errors import InvalidSpec
from longshore.host.block_devices import disk_number, text
from longshore.host.cgroup import Cgroups
from longshore.model.values import MIB

pytestmark = pytest.mark.usefixtures("clean")
V2 = Cgroups().mode() == "v2"


def test_what_somebody_changed_is_found_put_right_and_told(lab: Lab, tmp_path: Path) -> None:
    root = Path("/sys/fs/cgroup") / ("" if V2 else "pids")
    with loop_disk(tmp_path / "image", MIB) as disk:
        limits = {"pids": 33, "io": [{"device": disk, "write_bps": 4 * MIB}]}
        one = lab.client.create(lab.spec(command=["sleep", "1000"], nics=[], limits=limits))
        file = root / lab.agent.cgroup / one.id / "pids.max"
        assert file.read_text() == "33\n"
        file.write_text("44")
        findings = lab.tick()
        assert f"container {one.name}: limits.pids: asked 33, the kernel has 44" in findings
        shown = until(
            lambda: now if "put right" in (now := lab.client.show(one.id)).reason else None
        )
        assert "limits.pids: asked 33, the kernel has 44" in shown.reason
        assert (shown.state, shown.error) == ("running", None)
        assert shown.limits is not None
        assert (shown.limits.pids, shown.limits.io[0].write_bps) == (33, 4 * MIB)
        assert file.read_text() == "33\n"
        assert not any(one.name in finding for finding in lab.tick())
        lab.client.delete(one.id, force=True)


def test_a_disk_that_is_another_one_at_the_next_start(lab: Lab, tmp_path: Path) -> None:
    """Its path is what was asked for; its number may change with a boot, or a plug."""
    link = Path(f"/dev/longshore-{uuid.uuid4().hex[:8]}")
    with (
        loop_disk(tmp_path / "one", MIB) as first,
        loop_disk(tmp_path / "two", MIB) as second,
        ExitStack() as stack,
    ):
        link.symlink_to(first)
        stack.callback(link.unlink)
        limits = {"io": [{"device": str(link), "write_bps": 4 * MIB}]}
        one = lab.client.create(
            lab.spec(command=["sleep", "1000"], nics=[], limits=limits), start=False
        )
        link.unlink()
        link.symlink_to(second)
        lab.client.start(one.id)
        folder, file = ("", "io.max") if V2 else ("blkio", "blkio.throttle.write_bps_device")
        limited = (Path("/sys/fs/cgroup") / folder / lab.agent.cgroup / one.id / file).read_text()
        assert [line.split()[0] for line in limited.splitlines()] == [text(disk_number(second))]
        lab.client.delete(one.id, force=True)


def test_what_a_node_cannot_limit_is_refused_and_in_its_status(lab: Lab) -> None:
    cannot = {one.feature: one.why for one in lab.client.node_status().cannot}
    for limits, field in (
        ({"io": [{"device": "/dev/null", "read_bps": 1}]}, "limits.io[0].device"),
        ({"io": [{"device": "/etc/hostname", "read_bps": 1}]}, "limits.io[0].device"),
        ({"hugepages": {"3MB": 0}}, "limits.hugepages.3MB"),
        ({"io_weight": 100} if "limits.io_weight" in cannot else {"cpus": 9999.0}, None),
    ):
        with pytest.raises(InvalidSpec) as caught:
            lab.client.create(lab.spec(command=["true"], nics=[], limits=limits))
        if field is None:
            (field,) = (f"limits.{name}" for name in limits)
        faults = {one["field"]: one["why"] for one in caught.value.faults}
        assert field in faults
        if field in cannot:
            assert faults[field] == cannot[field]
    policy = "limits.oom_policy pause" if V2 else "limits.oom_policy kill"
    assert policy in cannot
