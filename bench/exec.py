"""How long a command in a running container takes, beside `ctr task exec` on the same containerd.

python -m bench.exec [--rounds 60]

Both run `true` in the same container, by turns, so that whatever else the machine does meets both.
Ours is a call over the local API from a program that is connected; `ctr` is a process each time,
as it is used. Exit code 1 if our median is above 1.3 times that of ctr.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from bench.lab.agent import PrivateAgent
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import busybox_archive
from longshore.cli.output import Column, print_table
from longshore.local.client import LocalClient

GOAL = 1.3
#: As the agent calls it in containerd.
_NAMESPACE = "longshore"
_WARM = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.exec")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lsh-exec-"))
    try:
        with PrivateContainerd(folder) as containerd:
            agent = PrivateAgent(
                folder, containerd.socket, options={"containerd.namespace": _NAMESPACE}
            )
            try:
                with agent, LocalClient(agent.socket, 120) as client:
                    return _measure(agent, client, containerd.socket, options.rounds)
            finally:
                agent.forget()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(agent: PrivateAgent, client: LocalClient, socket: Path, rounds: int) -> int:
    with busybox_archive(agent.archives / "busybox.tar").open("rb") as file:
        client.load_image(file)
    id = str(uuid.uuid4())
    client.create({"id": id, "name": "c", "image": "busybox:latest", "command": ["sleep", "86400"]})
    try:
        return _report(_by_turns(lambda: _ours(client, id), lambda: _ctr(socket, id), rounds))
    finally:
        client.delete(id, force=True)


def _ours(client: LocalClient, id: str) -> None:
    assert client.execute(id, ["true"]).exit_code == 0


def _ctr(socket: Path, id: str) -> None:
    command = ["ctr", "--address", str(socket), "--namespace", _NAMESPACE, "task", "exec"]
    subprocess.run(
        [*command, "--exec-id", f"x{uuid.uuid4().hex[:12]}", id, "true"],
        check=True,
        capture_output=True,
    )


def _by_turns(
    ours: Callable[[], None], theirs: Callable[[], None], rounds: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each."""
    taken: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds + _WARM):
        for times, run in zip(taken, (ours, theirs), strict=True):
            begun = time.perf_counter()
            run()
            if round_ >= _WARM:
                times.append((time.perf_counter() - begun) * 1000)
    return taken


def _report(taken: tuple[list[float], list[float]]) -> int:
    rows = [
        [
            name,
            f"{statistics.median(times):.1f} ms",
            f"{sorted(times)[len(times) * 9 // 10]:.1f} ms",
        ]
        for name, times in zip(("longshore, local API", "ctr task exec"), taken, strict=True)
    ]
    columns = [Column("EXEC OF true"), Column("MEDIAN", right=True), Column("P90", right=True)]
    print_table(columns, rows)
    ours, theirs = map(statistics.median, taken)
    print(
        f"{len(taken[0])} each, by turns: {ours / theirs:.2f} times; the goal is at most {GOAL:g}"
    )
    return 0 if ours <= GOAL * theirs else 1


if __name__ == "__main__":
    sys.exit(main())
