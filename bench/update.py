"""How long a container does not serve while it gets another configuration, and how soon the former
one serves again when that is no good.

python -m bench.update [--rounds 20]

A page is asked for all the time, at the published port. `failed` is when the agent noted that the
new version is no good, as the container's story has it; `outage` from the last answer to the first
one after it. Exit code 1 if a former version took more than 2 s to serve again.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.lab.agent import PrivateAgent
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import busybox_archive
from longshore.cli.output import Column, print_table
from longshore.errors import UpdateTakenBack
from longshore.local.client import LocalClient

#: Seconds that may pass between the failure and the first page of the former version.
GOAL = 2.0
_PAUSE = 0.002
_SPEC: Mapping[str, Any] = {
    "image": "busybox:latest",
    "command": ["sh", "-c", "mkdir -p /www; echo $V > /www/v; exec httpd -f -p 80 -h /www"],
    "env": {"V": "0"},
    "ports": [{"container_port": 80}],
    "limits": {"memory": 2**26, "cpus": 1.0, "pids": 64},
    "mounts": [{"type": "volume", "name": "kept", "target": "/kept"}],
}
_HEALTH = {"type": "http", "port": 9, "interval": 0.2, "timeout": 1.0, "retries": 2}
#: What is wrong with a new version → what makes it so.
_BAD: Mapping[str, Mapping[str, Any]] = {
    "no such command": {"command": ["/no/such/command"]},
    "ends at once": {"command": ["false"]},
    "not healthy": {"health": _HEALTH},
    "no such command, its files made anew": {"command": ["/no/such/command"], "hostname": "other"},
}
_GOOD: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "memory limit": lambda n: {"limits": {"memory": 2**26 + n * 2**20}},
    "environment": lambda n: {"env": {"V": str(n)}},
    "host name": lambda n: {"hostname": f"host{n}"},
}


@dataclass
class _Visitor:
    """Asks for the page over and over. `answers`: when it came, Unix seconds."""

    port: int
    answers: list[float] = field(default_factory=list)
    _ending: bool = False

    def run(self) -> None:
        while not self._ending:
            wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=0.5)
            try:
                wire.request("GET", "/v")
                if wire.getresponse().status == 200:
                    self.answers.append(time.time())
            except (OSError, http.client.HTTPException):
                pass  # nobody serves: that is what is measured
            finally:
                wire.close()
            time.sleep(_PAUSE)

    def end(self) -> None:
        self._ending = True

    def first_after(self, at: float) -> float:
        until = time.monotonic() + 30
        while not self.answers or self.answers[-1] <= at:
            if time.monotonic() > until:
                raise TimeoutError("the page never came back")
            time.sleep(_PAUSE)
        return next(one for one in self.answers if one > at)

    def outage(self, begun: float, ended: float) -> float:
        """The longest time without an answer."""
        inside = [one for one in self.answers if begun - 1 <= one <= ended]
        gaps = [after - before for before, after in itertools.pairwise(inside)]
        return max(gaps, default=ended - begun)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.update")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lsh-update-"))
    try:
        with PrivateContainerd(folder) as containerd:
            agent = PrivateAgent(folder, containerd.socket)
            try:
                with agent, LocalClient(agent.socket, 120) as client:
                    return _measure(agent, client, options.rounds)
            finally:
                agent.forget()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(agent: PrivateAgent, client: LocalClient, rounds: int) -> int:
    with busybox_archive(agent.archives / "busybox.tar").open("rb") as file:
        client.load_image(file)
    id = str(uuid.uuid4())
    made = client.create({"id": id, "name": "web", **_SPEC})
    visitor = _Visitor(made.ports[0].host_port)
    thread = threading.Thread(target=visitor.run, name="visitor")
    thread.start()
    try:
        visitor.first_after(0.0)
        good = {name: _good(client, id, visitor, patch, rounds) for name, patch in _GOOD.items()}
        bad = {name: _bad(client, id, visitor, patch, rounds) for name, patch in _BAD.items()}
    finally:
        visitor.end()
        thread.join()
        client.delete(id, force=True)
        client.remove_volume("kept")
    _show("NEW CONFIGURATION", "OUTAGE", good)
    _show("TAKEN BACK", "FAILED TO SERVING", bad)
    worst = max(max(taken) for taken in bad.values())
    print(
        f"{rounds} each; at most {worst:.2f} s from a failure to the former page; goal {GOAL:g} s"
    )
    return 0 if worst <= GOAL else 1


def _good(
    client: LocalClient,
    id: str,
    visitor: _Visitor,
    patch: Callable[[int], Mapping[str, Any]],
    rounds: int,
) -> list[float]:
    taken = []
    for number in range(1, rounds + 1):
        begun = time.time()
        client.update(id, patch(number))
        taken.append(visitor.outage(begun, visitor.first_after(time.time())))
    return taken


def _bad(
    client: LocalClient, id: str, visitor: _Visitor, patch: Mapping[str, Any], rounds: int
) -> list[float]:
    taken = []
    for _ in range(rounds):
        begun = time.time()
        try:
            client.update(id, patch)
        except UpdateTakenBack:
            pass
        else:
            raise AssertionError(f"{patch} was not taken back")
        failed = [
            one.at
            for one in client.explain(id).entries
            if one.at >= begun and "was taken back" in one.what
        ]
        taken.append(visitor.first_after(failed[0]) - failed[0])
    return taken


def _show(title: str, what: str, found: Mapping[str, Sequence[float]]) -> None:
    columns = [Column(title), *(Column(f"{what} {one}", right=True) for one in ("MEDIAN", "MAX"))]
    print_table(
        columns,
        [
            [name, f"{sorted(taken)[len(taken) // 2]:.2f} s", f"{max(taken):.2f} s"]
            for name, taken in found.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
