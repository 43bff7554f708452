"""How long a create takes, beside the same containerd calls made bare: A B A B."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from uuid import uuid4

from bench.demo import bare
from bench.demo.screen import Screen
from longshore.bus.client import ComputeClient
from longshore.cli import units
from longshore.cli.output import Column, print_table
from longshore.model import spec as specs

#: The most that a create over the bus, with all that bare calls lack, may take beside them.
GOAL = 1.5


@dataclass(frozen=True)
class Comparison:
    """Seconds of each container's start, and of its steps."""

    agent: Sequence[float]
    bare: Sequence[float]
    agent_steps: Sequence[Mapping[str, float]]
    bare_steps: Sequence[Mapping[str, float]]
    ids: Sequence[str]

    @property
    def ratio(self) -> float:
        return median(self.agent) / median(self.bare)


def compare(
    nodes: ComputeClient,
    node: str,
    place: bare.Place,
    spec: Callable[[str, str], dict[str, Any]],
    count: int,
) -> Comparison:
    """Starts `count` containers each way, one after the other, and deletes each at once.

    The first of either way warms up and does not count; neither do the deletions.

    Args:
        spec: makes the spec of an id and a name.
    """
    agent, agent_steps, bare_all, bare_steps, ids = [], [], [], [], []
    for number in range(count + 1):
        id = str(uuid4())
        ids.append(id)
        began = time.perf_counter()
        status = nodes.create(node, spec(id, f"a{number}"))
        agent.append(time.perf_counter() - began)
        agent_steps.append({step.name: step.seconds for step in status.steps})
        nodes.delete(node, id, force=True)

        id = str(uuid4())
        ids.append(id)
        made = bare.ready(place, specs.parse(spec(id, f"b{number}")))
        began = time.perf_counter()
        bare_steps.append(bare.start(place, made))
        bare_all.append(time.perf_counter() - began)
        bare.remove(place, id)
    return Comparison(agent[1:], bare_all[1:], agent_steps[1:], bare_steps[1:], ids)


def judge(screen: Screen, measure: Callable[[], Comparison]) -> Sequence[Comparison]:
    """Measures, and if that misses the goal, once more; shows both.

    A busy machine may spoil one measurement; two in a row are what a create takes.

    Raises:
        Broken: both miss the goal.
    """
    found = [measure()]
    show(found[0])
    if found[0].ratio > GOAL:
        screen.say("\nthe goal is missed: measured once more\n")
        found.append(measure())
        show(found[1])
    ratios = " and ".join(f"{one.ratio:.2f}" for one in found)
    screen.say("")
    screen.holds(
        f"a create takes at most {GOAL} times the bare calls", found[-1].ratio <= GOAL, ratios
    )
    return found


def show(found: Comparison) -> None:
    numbers = [Column(title, right=True) for title in ("MEDIAN", "MIN", "MAX")]
    print_table(
        (Column("CREATE AND START"), *numbers),
        [
            (name, *(units.brief(of(values)) for of in (median, min, max)))
            for name, values in (
                ("over the bus, with network, limits, port, mount", found.agent),
                ("bare containerd calls from Python, no network", found.bare),
            )
        ],
    )
    print(f"ratio {found.ratio:.2f}; the goal is at most {GOAL}\n")
    theirs = medians(found.bare_steps)
    rest = [
        whole - sum(steps.values())
        for whole, steps in zip(found.agent, found.agent_steps, strict=True)
    ]
    print_table(
        (Column("STEP OF IT, median"), Column("AGENT", right=True), Column("BARE", right=True)),
        [
            *(
                (name, units.brief(took), units.brief(theirs[name]) if name in theirs else "")
                for name, took in medians(found.agent_steps).items()
            ),
            ("message, journal, reply", units.brief(median(rest)), ""),
        ],
    )


def medians(steps: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Of each step over all containers, in the order of the steps."""
    return {name: median(one[name] for one in steps) for name in steps[0]}
