"""Restart policies across a reboot of the node, in two parts: who comes back by himself, and who
stays as a user, or his own end, has left him."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from longshore.bus.client import ComputeClient
from longshore.model.status import ContainerStatus
from vm.node import IMAGE, bus, longshore, until
from vm.work import PAGE, fetch

#: Survives the reboot: the ids and addresses of the first part.
_NOTES = Path("/var/lib/longshore-check-policies.json")
_OBEYS = ["sh", "-c", "trap 'exit 0' TERM; echo begun; while :; do sleep 1; done"]
_DEAF = ["sh", "-c", "echo begun; exec sleep 1000"]
_BACK = {"restart": {"policy": "always"}}
#: Name → what is asked for beside it; what is done with it before the reboot; its state after.
_ALL: dict[str, tuple[dict[str, Any], str, str]] = {
    "no": ({}, "", "stopped"),
    "on-failure": ({"restart": {"policy": "on-failure"}}, "", "running"),
    "on-failure-obeys": (
        {"restart": {"policy": "on-failure"}, "command": _OBEYS}, "", "running"),
    "on-failure-done": (
        {"restart": {"policy": "on-failure"}, "command": ["true"]}, "", "stopped"),
    "always": ({**_BACK, "command": _OBEYS}, "", "running"),
    "unless-stopped": ({"restart": {"policy": "unless-stopped"}}, "", "running"),
    "always-user": (_BACK, "stop", "stopped"),
    "unless-stopped-user": ({"restart": {"policy": "unless-stopped"}}, "stop", "stopped"),
    "killed-user": (_BACK, "kill", "stopped"),
    "paused": (_BACK, "pause", "running"),
    "ends": ({**_BACK, "command": ["false"]}, "", "restarting"),
    "serves": (
        {**_BACK, "command": None, "ports": [{"container_port": 80, "host_port": 8090}],
         "health": {"type": "http", "port": 80, "interval": 10.0, "timeout": 60.0}}, "", "running"),
}  # fmt: skip


def prepare() -> str:
    with bus() as (nodes, node):
        verbs: dict[str, Callable[..., Any]] = {
            "stop": nodes.stop, "kill": nodes.kill, "pause": nodes.pause,
        }  # fmt: skip
        for name, (asked, verb, _) in _ALL.items():
            spec = {"id": str(uuid4()), "name": f"check-{name}", "image": IMAGE, "command": _DEAF,
                    "stop_grace": 2.0, **asked}  # fmt: skip
            made = nodes.create(node, spec)
            if verb:
                verbs[verb](node, made.id)
        for name, wanted in (
            ("serves", _is_healthy),
            ("on-failure-done", partial(_is_in, {"stopped"})),
        ):
            until(partial(_is, nodes, node, name, wanted), f"check-{name} is so far")
        seen = {name: nodes.show(node, f"check-{name}").model_dump() for name in _ALL}
    _NOTES.write_text(json.dumps(seen))
    return f"{len(seen)} containers"


def came_back() -> str:
    """With their addresses, ports and logs; and then they are removed."""
    seen = json.loads(_NOTES.read_text())
    with bus() as (nodes, node):
        for name, (_, verb, state) in _ALL.items():
            # One that ends at once is mostly, and not always, found waiting.
            wanted = partial(_is_in, {state, "running"} if name == "ends" else {state})
            until(partial(_is, nodes, node, name, wanted), f"check-{name} is {state}")
            now, before = nodes.show(node, f"check-{name}"), seen[name]
            assert now.id == before["id"]
            assert [one.address for one in now.nics] == [one["address"] for one in before["nics"]]
            if verb in ("stop", "kill"):
                assert (now.desired, now.restart_at) == ("stopped", None), now
                assert now.exit_code == before["exit_code"], now
            elif state == "running":
                assert now.restarts >= 1, now
                assert (now.started_at or 0) > before["started_at"], now
        until(partial(_is, nodes, node, "serves", _is_healthy), "it is healthy")
        until(lambda: fetch("127.0.0.1", 8090) == PAGE, "the port answers")
        log = [line.text for line in nodes.logs(node, "check-always").lines]
        assert log == ["begun", "begun"], log
        told = longshore("explain", "check-always")
        reason = re.search(r"running → .*", told)
        assert reason is not None, told
        for name in _ALL:
            nodes.delete(node, f"check-{name}", force=True)
    _NOTES.unlink()
    return reason[0]


def _is(nodes: ComputeClient, node: str, name: str, wanted: Any) -> bool:
    return bool(wanted(nodes.show(node, f"check-{name}")))


def _is_healthy(one: ContainerStatus) -> bool:
    return one.health is not None and one.health.state == "healthy"


def _is_in(states: set[str], one: ContainerStatus) -> bool:
    return one.state in states


BEFORE = (("restart policies, before", prepare),)
AFTER = (("restart policies, after", came_back),)
