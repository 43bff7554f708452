"""Pause, restart, kill, rename and the restart policy on a real containerd and kernel."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from e2e.lab import Lab, until
from fields.proofs import proves
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.status import ContainerStatus

pytestmark = pytest.mark.usefixtures("clean")

#: Tells what it hears, and goes on.
LISTENER = "trap 'echo heard' HUP; echo ready; while true; do sleep 0.05; done"


def _lines(lab: Lab, name: str) -> list[str]:
    return b"".join(one.data for one in lab.client.logs(name)).decode().split()


def _has(lab: Lab, name: str, condition: Callable[[ContainerStatus], bool]) -> ContainerStatus:
    found: list[ContainerStatus] = []

    def holds() -> bool:
        found[:] = [lab.client.show(name)]
        return condition(found[0])

    until(holds)
    return found[0]


def _frozen(pid: int) -> str:
    """What the freezer says of a process."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "freezer":
            return Path(f"/sys/fs/cgroup/freezer{path}/freezer.state").read_text().strip()
        if controllers == "" and Path(f"/sys/fs/cgroup{path}/cgroup.freeze").exists():
            frozen = Path(f"/sys/fs/cgroup{path}/cgroup.freeze").read_text().strip()
            return "FROZEN" if frozen == "1" else "THAWED"
    raise AssertionError("it is in no freezer")


def test_pause_is_in_the_freezer(lab: Lab) -> None:
    made = lab.client.create(lab.spec(name="web", command=["sleep", "600"]))
    assert made.pid is not None
    assert lab.client.pause("web").state == "paused"
    assert _frozen(made.pid) == "FROZEN"
    lab.agent.kill()
    lab.agent.start()
    assert lab.client.show("web").state == "paused"
    assert _frozen(made.pid) == "FROZEN"
    assert lab.client.unpause("web").state == "running"
    assert _frozen(made.pid) == "THAWED"
    lab.client.pause("web")
    assert lab.client.stop("web", grace=5).exit_code in (137, 143)
    lab.client.delete("web")


def test_restart_is_another_process(lab: Lab) -> None:
    made = lab.client.create(lab.spec(name="web", command=["sleep", "600"]))
    again = lab.client.restart("web", grace=0)
    assert again.state == "running"
    assert again.pid != made.pid
    assert again.nics == made.nics
    lab.client.delete("web", force=True)


def test_a_signal_is_heard(lab: Lab) -> None:
    lab.client.create(lab.spec(name="web", command=["sh", "-c", LISTENER]))
    until(lambda: "ready" in _lines(lab, "web"))
    lab.client.kill("web", signal="HUP")
    until(lambda: _lines(lab, "web") == ["ready", "heard"])
    status = lab.client.show("web")
    assert status.pid is not None
    lab.client.kill("web", signal="19")
    until(lambda: _process_state(status.pid) == "T")
    lab.client.kill("web", signal="SIGCONT")
    until(lambda: _process_state(status.pid) in "SR")
    killed = lab.client.kill("web")
    assert (killed.state, killed.exit_code) == ("stopped", 137)
    lab.client.delete("web")


def _process_state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_rename_while_it_runs(lab: Lab) -> None:
    made = lab.client.create(lab.spec(name="web", command=["sleep", "600"]))
    lab.client.rename("web", "other")
    assert lab.client.show("other").pid == made.pid
    lab.client.create(lab.spec(name="web", command=["sleep", "600"]))
    for name in ("other", "web"):
        lab.client.delete(name, force=True)


@proves("restart.policy", back="the record, after its process has ended by itself")
def test_always(lab: Lab) -> None:
    spec: dict[str, Any] = {"command": ["false"], "restart": {"policy": "always"}}
    lab.client.create(lab.spec(name="web", **spec))
    pauses = []
    for count in range(3):
        waiting = _has(
            lab,
            "web",
            lambda one, n=count: one.state == "restarting" and one.restarts == n,  # type: ignore[misc]  # the loop's own
        )
        assert waiting.exit_code == 1
        assert waiting.restart_at is not None
        assert waiting.finished_at is not None
        pauses.append(waiting.restart_at - waiting.finished_at)
        if count == 1:
            lab.agent.kill()
            lab.agent.start()
    assert pauses[0] < pauses[1] < pauses[2]
    assert lab.client.stop("web").state == "stopped"
    lab.agent.kill()
    lab.agent.start()
    stopped = lab.client.show("web")
    assert (stopped.state, stopped.desired, stopped.restart_at) == ("stopped", "stopped", None)
    lab.client.delete("web")


@proves("restart.retries", back="the record, once they are used up")
def test_on_failure(lab: Lab) -> None:
    policy = {"policy": "on-failure", "retries": 1}
    lab.client.create(lab.spec(name="web", command=["sh", "-c", "exit 7"], restart=policy))
    done = _has(lab, "web", lambda one: one.state == "stopped")
    assert (done.exit_code, done.restarts) == (7, 1)
    assert "once in a row" in done.reason
    lab.client.delete("web")


def test_a_shim_that_is_killed_takes_it_along_and_the_policy_brings_it_back(lab: Lab) -> None:
    made = lab.client.create(
        lab.spec(name="web", command=["sleep", "600"], restart={"policy": "unless-stopped"})
    )
    assert made.pid is not None
    lab.client.kill("web", signal="SEGV")  # its first process has no handler, and hears nothing
    assert lab.client.show("web").pid == made.pid
    parent = Path(f"/proc/{made.pid}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(parent), signal.SIGKILL)
    again = _has(lab, "web", lambda one: one.state == "running" and one.restarts == 1)
    assert again.pid != made.pid
    lab.client.delete("web", force=True)


def test_who_ends_as_the_agent_leaves_is_the_next_ones_to_see(lab: Lab) -> None:
    """At the node's shutdown all end as the agent does: it must not start one again then, nor take
    an obedient end for one of the container's own."""
    begins = ["sh", "-c", "trap 'exit 0' TERM; echo begun; while true; do sleep 0.05; done"]
    again = lab.spec(name="again", command=begins, restart={"policy": "always"})
    pid = lab.client.create(again).pid
    assert pid is not None
    # What the agent waits for before it leaves.
    lab.client.create(lab.spec(name="deaf", command=["sleep", "600"]))
    until(lambda: _lines(lab, "again") == ["begun"])
    with ThreadPoolExecutor() as pool:
        pool.submit(lab.client.stop, "deaf", grace=4)
        until(lambda: lab.client.show("deaf").state == "stopping")
        said = lab.agent.log.stat().st_size
        leaving = pool.submit(lab.agent.stop)
        until(lambda: b"agent leaves" in lab.agent.log.read_bytes()[said:])
        os.kill(pid, signal.SIGTERM)
        leaving.result()
    log = Layout(lab.agent.state_dir, lab.agent.run_dir).stdout(Names(again["id"]))
    assert log.read_text().split() == ["begun"]
    assert again["id"].encode() not in lab.agent.log.read_bytes()[said:]
    lab.agent.start()
    until(lambda: _lines(lab, "again") == ["begun", "begun"])
    told = [one.what for one in lab.client.explain("again").entries]
    assert [one for one in told if "with exit code 0; always starts it again" in one], told
    lab.delete_all()
