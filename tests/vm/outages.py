"""Containers outlive the agent and containerd; a bad configuration is one clear line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from vm.node import (
    UNIT,
    CommandError,
    agent_with,
    journal,
    longshore,
    running,
    settle,
    sh,
    show,
    unit,
)
from vm.work import PAGE, fetch

_COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 1; done"
_PUBLISHED = ("-p", "8080:80")


def _survives(*commands: Sequence[str]) -> Callable[[], str]:
    """The same processes run on, the port answers, and the log has no gap."""

    def check() -> str:
        with (
            running("check-served", *_PUBLISHED) as server,
            running("check-counts", command=_COUNT) as counter,
        ):
            for command in commands:
                sh(*command)
                assert fetch("127.0.0.1", 8080) == PAGE, f"after {command}"
            settle()
            for before in (server, counter):
                now = show(before["id"])
                assert (now["state"], now["pid"]) == ("running", before["pid"]), now
                assert now["started_at"] == before["started_at"], "it was adopted, not restarted"
            seen = _counted()
            while (now_seen := _counted()) == seen:
                time.sleep(0.5)
            assert now_seen == list(range(1, len(now_seen) + 1)), now_seen
            longshore("stop", "-t", "0", "check-served")
            assert show("check-served")["exit_code"] == 137, "its end is seen"
        return f"{len(now_seen)} lines without a gap"

    return check


def _counted() -> list[int]:
    return [int(line) for line in longshore("logs", "check-counts").split()]


def bad_configuration() -> str:
    """The unit fails; what is wrong is one line of the journal, without a traceback."""
    with agent_with({"OS_NETWORK__SUBNET": "10.89.0.0/99"}):
        try:
            sh("systemctl", "restart", UNIT)
        except CommandError:
            found = unit("ActiveState", "ExecMainStatus", "NRestarts")
            told = [line for line in journal("-o", "cat") if "longshore-agent: " in line]
        else:
            raise AssertionError("it starts with a wrong subnet")
    assert found == {"ActiveState": "failed", "ExecMainStatus": str(os.EX_CONFIG), "NRestarts": "0"}
    assert len(told) == 1, told
    assert "Traceback" not in told[0]
    assert "10.89.0.0/99" in told[0], told
    return told[0]


def restarts_by_itself() -> str:
    before = unit("MainPID")["MainPID"]
    sh("kill", "-9", before)
    settle()
    after = unit("MainPID")["MainPID"]
    assert after not in ("0", before)
    return f"{before}, then {after}"


CHECKS = (
    ("systemctl restart longshore-agent", _survives(("systemctl", "restart", UNIT))),
    ("kill -9 of the agent", _survives(("systemctl", "kill", "-s", "KILL", UNIT))),
    ("systemctl stop, then start",
     _survives(("systemctl", "stop", UNIT), ("systemctl", "start", UNIT))),
    ("systemctl restart containerd", _survives(("systemctl", "restart", "containerd"))),
    ("kill -9 of containerd",
     _survives(("systemctl", "kill", "-s", "KILL", "--kill-whom=main", "containerd"))),
    ("systemd restarts it", restarts_by_itself),
    ("bad configuration", bad_configuration),
)  # fmt: skip
