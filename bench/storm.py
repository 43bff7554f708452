"""How an agent fares while many containers exit at once and are started again, on and on.

python -m bench.storm [--containers 100] [--seconds 60] [--rounds 30]

All have restart=always and a process that ends at once. For a while nobody asks anything, which
tells what the storm alone costs; then verbs are asked over both doors, by turns, as they were
before the storm on the idle node. How long a create takes is the runtime's time above all: it is
to be compared with the idle node's. When the containers ended and were started again is read from
their stories afterwards. Exit code 1 if a pause was shorter than the back-off promises, if starts
came faster than `[restart] rate`, if the storm took half a core of the agent's, or if a verb that
runs nothing took more than 100 ms, at the 99th percentile.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.lab.agent import PrivateAgent
from bench.lab.containerd import PrivateContainerd
from bench.lab.image import busybox_archive
from bench.lab.rabbitmq import PrivateRabbit
from bench.lab.restarts import Start, most_at_once, starts, too_fast
from longshore.bus.client import ComputeClient
from longshore.cli.output import Column, print_table
from longshore.local.client import LocalClient
from longshore.model.restarts import Backoff

#: Of a core, and milliseconds.
HALF, ANSWER = 0.5, 100.0
RATE = 5.0
_AT_ONCE = 4
#: Seconds in which starts are counted.
_WINDOW = 10.0
#: Seconds between a decision and when the story has it.
_CLOSE = 0.05
#: Seconds between two questions: who asks without a pause measures the asking.
_PAUSE = 0.1
#: The time of these is containerd's and the runtime's.
_RUNTIME = ("create", "stop", "delete")
_DOORS = ("local", "bus")

#: Verb and door → milliseconds of each call.
Taken = Mapping[tuple[str, str], list[float]]


@dataclass(frozen=True)
class Scene:
    agent: PrivateAgent
    containerd: PrivateContainerd
    local: LocalClient
    bus: ComputeClient

    def calls(self, ref: str) -> Mapping[tuple[str, str], Callable[[], object]]:
        """What tells of the node and of that container."""
        node = self.agent.node
        return {
            ("show", "local"): lambda: self.local.show(ref),
            ("show", "bus"): lambda: self.bus.show(node, ref),
            ("list", "local"): self.local.list,
            ("list", "bus"): lambda: self.bus.list(node),
            ("node_status", "local"): self.local.node_status,
            ("node_status", "bus"): lambda: self.bus.node_status(node),
        }

    def changes(self, door: str) -> Mapping[tuple[str, str], Callable[[], object]]:
        """The life of another container, in its order."""
        spec = _spec(["sleep", "86400"])
        id, node = spec["id"], self.agent.node
        if door == "local":
            return {
                ("create", door): lambda: self.local.create(spec),
                ("stop", door): lambda: self.local.stop(id, grace=0),
                ("delete", door): lambda: self.local.delete(id),
            }
        return {
            ("create", door): lambda: self.bus.create(node, spec),
            ("stop", door): lambda: self.bus.stop(node, id, grace=0),
            ("delete", door): lambda: self.bus.delete(node, id),
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.storm")
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part of the storm")
    parser.add_argument("--rounds", type=int, default=30, help="of questions on the idle node")
    options = parser.parse_args()
    with _scene() as scene:
        return _measure(scene, options.containers, options.seconds, options.rounds)


@contextmanager
def _scene() -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="lsh-storm-"))
    try:
        with PrivateContainerd(folder) as containerd, PrivateRabbit(folder) as rabbit:
            agent = PrivateAgent(folder, containerd.socket, rabbit.url)
            try:
                with (
                    agent,
                    LocalClient(agent.socket, 120) as local,
                    ComputeClient(rabbit.url, origin="bench", timeout=120.0) as bus,
                ):
                    with busybox_archive(agent.archives / "busybox.tar").open("rb") as file:
                        local.load_image(file)
                    yield Scene(agent, containerd, local, bus)
            finally:
                agent.forget()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(scene: Scene, containers: int, seconds: float, rounds: int) -> int:
    ids: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            # As many there as later, so that a list is as long.
            quiet = [_spec(["sleep", "86400"]) for _ in range(containers)]
            ids += [one["id"] for one in quiet]
            list(pool.map(scene.local.create, quiet))
            idle = _ask(scene, ids[0], lambda round_: round_ < rounds)
            list(pool.map(lambda id: scene.local.delete(id, force=True), ids))
            ids.clear()

            restless = [
                {**_spec(["false"]), "restart": {"policy": "always"}} for _ in range(containers)
            ]
            ids += [one["id"] for one in restless]
            list(pool.map(scene.local.create, restless))
            alone = _Cpu.of(scene, lambda: time.sleep(seconds))
            until = time.monotonic() + seconds
            stormy: Taken = {}

            def asked() -> None:
                nonlocal stormy
                stormy = _ask(scene, ids[0], lambda _: time.monotonic() < until)

            while_asked = _Cpu.of(scene, asked)
            found = {id: starts(scene.local.explain(id)) for id in ids}
        finally:
            list(pool.map(lambda id: scene.local.delete(id, force=True), ids))
    return _report(idle, stormy, {"alone": alone, "asked": while_asked}, found)


def _spec(command: Sequence[str]) -> dict[str, Any]:
    id = str(uuid.uuid4())
    return {"id": id, "name": f"c{id[:8]}", "image": "busybox:latest", "command": list(command)}


def _ask(scene: Scene, ref: str, goes_on: Callable[[int], bool]) -> Taken:
    """Everything once a round, until it does not go on."""
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for round_ in range(sys.maxsize):
        if not goes_on(round_):
            break
        calls = {**scene.calls(ref), **scene.changes(_DOORS[round_ % 2])}
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - begun) * 1000)
            time.sleep(_PAUSE)
    return taken


@dataclass(frozen=True)
class _Cpu:
    """Shares of a core meanwhile. `threads`: the agent's, by thread, the busiest first."""

    agent: float
    containerd: float
    threads: Sequence[float]
    began: float
    ended: float

    @classmethod
    def of(cls, scene: Scene, work: Callable[[], None]) -> _Cpu:
        agent, containerd = (psutil.Process(one.pid) for one in (scene.agent, scene.containerd))
        began, before = time.time(), (_used(agent), _used(containerd), _by_thread(agent))
        work()
        ended, after = time.time(), (_used(agent), _used(containerd), _by_thread(agent))
        long = ended - began
        threads = [used - before[2].get(id, 0.0) for id, used in after[2].items()]
        return cls(
            (after[0] - before[0]) / long,
            (after[1] - before[1]) / long,
            [used / long for used in sorted(threads, reverse=True)],
            began,
            ended,
        )


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _by_thread(process: psutil.Process) -> dict[int, float]:
    return {one.id: one.user_time + one.system_time for one in process.threads()}


def _report(
    idle: Taken, stormy: Taken, cpu: Mapping[str, _Cpu], found: Mapping[str, Sequence[Start]]
) -> int:
    rows, slow = [], []
    for name in idle:
        verb, door = name
        rows.append(
            [verb, door, _told(idle[name]), str(len(stormy[name])), *_figures(stormy[name])]
        )
        if verb not in _RUNTIME and _percentile(stormy[name], 99) > ANSWER:
            slow.append(f"{verb} ({door})")
    columns = [
        Column("VERB"),
        Column("DOOR"),
        Column("IDLE P50", right=True),
        Column("CALLS", right=True),
        Column("P50", right=True),
        Column("P99", right=True),
        Column("MAX", right=True),
    ]
    print_table(columns, rows)
    shown = [
        [
            what,
            f"{one.agent * 100:.0f} %",
            ", ".join(f"{share * 100:.0f}" for share in one.threads[:4]),
            f"{one.containerd * 100:.0f} %",
            f"{len(times := _between(found, one)) / (one.ended - one.began):.1f}",
            f"{one.agent * (one.ended - one.began) / max(1, len(times)) * 1000:.0f} ms",
        ]
        for what, one in cpu.items()
    ]
    print_table(
        [
            Column("STORM"),
            Column("AGENT", right=True),
            Column("ITS BUSIEST THREADS", right=True),
            Column("CONTAINERD", right=True),
            Column("STARTS/S", right=True),
            Column("AGENT, A START", right=True),
        ],
        shown,
    )
    return _verdict(slow, cpu["alone"].agent, found)


def _between(found: Mapping[str, Sequence[Start]], part: _Cpu) -> list[float]:
    return [one.at for told in found.values() for one in told if part.began <= one.at <= part.ended]


def _verdict(slow: Sequence[str], share: float, found: Mapping[str, Sequence[Start]]) -> int:
    backoff = Backoff()
    every = [one for told in found.values() for one in told]
    short = [one for one in every if one.pause < backoff.pause(one.number, 1.0) - _CLOSE]
    late = [one.pause - backoff.pause(one.number, 0.0) for one in every]
    most = most_at_once(every, _WINDOW)
    print(
        f"{len(every)} automatic starts, at most {max(one.number for one in every) + 1} of one; "
        f"{len(short)} before their pause was over, the median {statistics.median(late):.1f} s "
        f"after the longest that it may be; at most {most} within {_WINDOW:g} s"
    )
    faults = [
        *(f"{one}: above {ANSWER:g} ms" for one in slow),
        *([f"the agent took {share:.2f} of a core"] if share > HALF else []),
        *(["pauses were too short"] if short else []),
        *(["starts came too fast"] if too_fast(every, RATE) else []),
    ]
    print("; ".join(faults) or "all is as promised")
    return 1 if faults else 0


def _told(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.1f} ms" if times else "-"


def _figures(times: Sequence[float]) -> list[str]:
    if not times:
        return ["-"] * 3
    return [f"{one:.1f} ms" for one in (_percentile(times, 50), _percentile(times, 99), max(times))]


def _percentile(times: Sequence[float], percent: int) -> float:
    """The smallest that so many percent are not above."""
    return sorted(times)[max(0, -(-len(times) * percent // 100) - 1)]


if __name__ == "__main__":
    sys.exit(main())
