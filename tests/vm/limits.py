"""Limits under systemd and cgroup v2, with each runtime: set, read back, kept, put right when
somebody changed them; and who runs out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from longshore.model.drift import fitted_weight, linear_weight
from vm.node import SLICE, UNIT, agent_with, running, settle, sh, show, status, unit, until

_MIB = 2**20
_OPTIONS = (
    "--memory", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--cpu-shares", "512",
    "--cpuset-cpus", "0", "--pids-limit", "50", "--stop-timeout", "3",
    "--hugepages", "2MB=4m", "--memory-reservation", "32m", "--oom-policy", "kill",
    "--oom-score-adj", "-300", "--shm-size", "5m", "--ulimit", "nofile=100:200",
)  # fmt: skip
#: File → what binds the process. The weight is either of the two formulas that runtimes use.
_WANTED = {
    "memory.max": {str(64 * _MIB)},
    "memory.swap.max": {str(32 * _MIB)},
    "cpu.max": {"50000 100000"},
    "cpu.weight": {str(linear_weight(512)), str(fitted_weight(512))},
    "cpuset.cpus.effective": {"0"},
    "pids.max": {"50"},
    "hugetlb.2MB.max": {str(4 * _MIB)},
}
#: The same of what one level gives for all beneath it.
_GIVEN = {"memory.low": str(32 * _MIB), "memory.oom.group": "1"}
#: What somebody writes to each level of the container's cgroup (one level that still has the limit
#: binds the process, and nothing would be wrong), and what somebody tells systemd of its scope.
_DRIFT = {"memory.max": "max", "cpu.max": "max 100000", "hugetlb.2MB.max": "max"}
_PROPERTY = "TasksMax=20"
_POOL = Path("/proc/sys/vm/nr_hugepages")
_HOG = "x=0123456789abcdef; while :; do x=$x$x; done"
#: What tests/fields counts as proved here, and where it is read.
PROVES = {"limits.hugepages": "hugetlb.2MB.max of its cgroup, on a node with cgroup v2"}


def _levels(pid: int) -> list[Path]:
    """The process's own cgroup and those above it, up to its scope."""
    own = Path("/sys/fs/cgroup") / _cgroup(pid).lstrip("/")
    levels = [one for one in (own, *own.parents) if one.is_relative_to(SLICE) and one != SLICE]
    assert levels, own
    return levels


def _binding(pid: int) -> dict[str, str]:
    levels = _levels(pid)
    for file, wanted in _GIVEN.items():
        assert wanted in {(one / file).read_text().strip() for one in levels}, file
    return {file: _lowest([(one / file).read_text().strip() for one in levels]) for file in _WANTED}


def _cgroup(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition(":")[2]


def _lowest(values: list[str]) -> str:
    return min(values, key=lambda text: float("inf") if text == "max" else float(text.split()[0]))


def _with(runtime: str) -> Callable[[], str]:
    def check() -> str:
        with agent_with({"OS_CONTAINERD__RUNTIME": runtime}):
            sh("systemctl", "restart", UNIT)
            settle()
            assert status()["runtime"] == runtime
            limit = ("--device-write-bps", f"{_disk()}:2m")
            with _pages(), running("check-limits", *_OPTIONS, *limit) as found:
                pid, scope = found["pid"], f"longshore-{found['id']}.scope"
                for when in ("at first", "after daemon-reload"):
                    has = _binding(pid)
                    wrong = {file: text for file, text in has.items() if text not in _WANTED[file]}
                    assert not wrong, f"{when}: {wrong}"
                    sh("systemctl", "daemon-reload")
                assert found["limits"]["memory_swap"] == 96 * _MIB, found["limits"]
                assert found["limits"]["io"][0]["write_bps"] == 2 * _MIB, found["limits"]
                assert (found["limits"]["oom_score_adj"], found["limits"]["shm_size"]) == (
                    -300,
                    5 * _MIB,
                )
                for level in _levels(pid):
                    for file, text in _DRIFT.items():
                        (level / file).write_text(text)
                sh("systemctl", "set-property", "--runtime", scope, _PROPERTY)
                sh("systemctl", "kill", "--signal", "HUP", UNIT)
                until(lambda: "put right" in show(found["id"])["reason"], "limits are put right")
                for when in ("put right", "put right, after daemon-reload"):
                    has = _binding(pid)
                    wrong = {file: text for file, text in has.items() if text not in _WANTED[file]}
                    assert not wrong, f"{when}: {wrong}"
                    sh("systemctl", "daemon-reload")
                assert unit("TimeoutStopUSec", of=scope)["TimeoutStopUSec"] == "3s"
                below = _cgroup(pid).partition(scope)[2] or "the scope itself"
                weight = has["cpu.weight"]
            assert not list(SLICE.glob("*.scope"))
        return f"weight {weight}, process in {below}"

    return check


def _disk() -> str:
    return f"/dev/{min(one.parent.name for one in Path('/sys/block').glob('*/device'))}"


@contextmanager
def _pages() -> Iterator[None]:
    before = _POOL.read_text()
    _POOL.write_text("4")
    try:
        yield
    finally:
        _POOL.write_text(before)


def _was_killed(id: str) -> bool:
    return show(id)["out_of_memory"] is not None


def _out_of_memory() -> str:
    """systemd removes the cgroup of a container with its last process, but not while one is left:
    there the peak is known for sure."""
    limits = ("--memory", "32m", "--memory-swap", "32m")
    with (
        running("check-child", *limits, command=f"sh -c '{_HOG}'; sleep 1000") as child,
        running("check-hog", *limits, "--oom-policy", "kill", command=_HOG) as hog,
    ):
        for one in (child, hog):
            until(partial(_was_killed, one["id"]), "it is out of memory")
        told = show(child["id"])
        assert told["state"] == "running", told["state"]
        used = told["out_of_memory"]
        assert used["limit"] == 32 * _MIB, used
        assert 31 * _MIB <= used["peak"] <= 32 * _MIB, used
        assert child["id"] in used["cgroup"], used
        until(lambda: show(hog["id"])["state"] == "stopped", "it has ended")
        ended = show(hog["id"])
        assert ended["exit_code"] == 137, ended["exit_code"]
        assert "out of memory" in ended["reason"], ended["reason"]
    return f"peak of a child's end {used['peak']}; {ended['reason']}"


CHECKS = (
    ("limits by crun", _with("crun")),
    ("limits by runc", _with("runc")),
    ("limits: out of memory", _out_of_memory),
)
