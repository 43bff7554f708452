"""All of it at once, as the agent is restarted and killed: commands on terminals, health checks,
restart policies. And what the agents have written to the journal by then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from longshore.bus.client import ComputeClient
from vm.node import IMAGE, UNIT, bus, remove_all, sh, until
from vm.operating import CRASH, RESTART, is_frozen, is_healthy, settled_after, sitting


def amid(command: Sequence[str]) -> str:
    """Somebody has a command on a terminal, somebody else is attached, one container is paused, one
    was stopped by a user, one ends again and again, and others are probed, as the agent goes."""
    serves = ["sh", "-c", "httpd -p 80 -h /www; exec sleep 1000"]
    often = {"interval": 10.0, "timeout": 60.0}
    probes: dict[str, dict[str, Any]] = {
        "http": {"port": 80}, "tcp": {"port": 80}, "exec": {"command": ["true"]},
    }  # fmt: skip
    asked: dict[str, dict[str, Any]] = {
        "tty": {"command": ["sh"], "tty": True, "stdin": True},
        "paused": {}, "user": {"restart": {"policy": "unless-stopped"}},
        "ends": {"command": ["false"], "restart": {"policy": "always"}},
        **{one: {"command": serves, "health": {"type": one, **probe, **often}}
           for one, probe in probes.items()},
    }  # fmt: skip
    with bus() as (nodes, node):
        try:
            ids = {name: _create(nodes, node, name, **spec) for name, spec in asked.items()}
            nodes.pause(node, "check-paused")
            nodes.stop(node, "check-user", grace=0)
            for name in probes:
                until(partial(is_healthy, nodes, node, name), f"{name} is healthy")
            before = {name: nodes.show(node, id) for name, id in ids.items()}
            with (
                sitting("exec", "-it", "check-tty", "sleep", "3000") as command_of_his,
                sitting("attach", "check-tty") as attached,
            ):
                until(lambda: "sleep 3000" in _commands(nodes, node), "the command runs")
                attached.type("echo $((41 + 500))\r")
                attached.until("541\n")
                settled_after(command)
                since = time.time()
                assert command_of_his.end() == 125, command_of_his.shown
            until(lambda: "sleep 3000" not in _commands(nodes, node), "the command is killed")
            for name in probes:
                until(partial(is_healthy, nodes, node, name, since), f"{name} is probed again")
            for name in ("tty", "paused", "user", *probes):
                now, then = nodes.show(node, ids[name]), before[name]
                assert (now.state, now.pid) == (then.state, then.pid), now
                assert now.started_at == then.started_at, "it was adopted, not started again"
            assert is_frozen(before["paused"].pid)
            assert nodes.unpause(node, "check-paused").state == "running"
            until(lambda: nodes.show(node, "check-ends").restarts > before["ends"].restarts, "more")
            with sitting("attach", "check-tty") as attached:
                attached.type("echo $((42 + 500)); exit 6\r")
                attached.until("542\n")
                assert attached.end() == 6, attached.shown
        finally:
            remove_all()
    return " ".join(command_of_his.shown.split())


def _create(nodes: ComputeClient, node: str, name: str, **spec: Any) -> str:
    id = str(uuid4())
    asked = {"id": id, "name": f"check-{name}", "image": IMAGE, "stop_grace": 0.0}
    nodes.create(node, {"command": ["sleep", "1000"], **asked, **spec})
    return id


def _commands(nodes: ComputeClient, node: str) -> list[str]:
    return [one.command for one in nodes.top(node, "check-tty")]


def no_traceback() -> str:
    """Nothing that nobody expected, in all that agents wrote since the node's boot."""
    lines = sh("journalctl", "-b", "-u", UNIT, "-o", "cat", "--no-pager").splitlines()
    assert not [line for line in lines if "Traceback" in line or "is given up" in line]
    return f"{len(lines)} lines"


CHECKS = (
    ("amid all: systemctl restart", partial(amid, RESTART)),
    ("amid all: kill -9", partial(amid, CRASH)),
    ("journal has no traceback", no_traceback),
)
