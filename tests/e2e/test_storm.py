"""Many containers that exit at once, each of which is to be started again: the back-off holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import pytest

from bench.lab.containerd import PrivateContainerd
from bench.lab.rabbitmq import PrivateRabbit
from bench.lab.restarts import Start, starts, too_fast
from e2e.lab import Lab, running_lab, states, until
from longshore.bus.client import ComputeClient

MANY = 20
#: Slower than they would be without it.
RATE = 4.0
#: As `[restart]` has them.
FIRST, FACTOR, MOST = 0.5, 3.0, 4.0


@pytest.fixture(scope="module")
def stormy(containerd: PrivateContainerd, rabbit: PrivateRabbit) -> Iterator[Lab]:
    options = {
        "restart.rate": RATE,
        "restart.first": FIRST,
        "restart.factor": FACTOR,
        "restart.max": MOST,
        # However slow the machine is, no run is long.
        "restart.reset": 600,
    }
    with running_lab(containerd, "storm", rabbit.url, options=options) as one:
        until(lambda: ("rabbitmq", "up") in states(one))
        yield one


def test_the_back_off_holds(stormy: Lab, rabbit: PrivateRabbit) -> None:
    asked: dict[str, float] = {}
    for _ in range(MANY):
        spec = stormy.spec(nics=[], command=["false"], restart={"policy": "always"})
        asked[spec["id"]] = time.time()
        stormy.client.create(spec)
    quiet = stormy.spec(nics=[], command=["sleep", "600"])
    with ComputeClient(rabbit.url, origin="storm") as nodes:
        # Verbs are answered, and carried out, meanwhile.
        node, answers = stormy.agent.node, 0

        def enough() -> bool:
            nonlocal answers
            answers += nodes.show(node, next(iter(asked))).id in asked
            return all(one.restarts >= 3 for one in stormy.client.list() if one.id in asked)

        assert nodes.create(node, quiet).state == "running"
        until(enough, 60.0)
        assert answers > 3
        assert nodes.show(node, quiet["id"]).restarts == 0
    found = {id: starts(stormy.client.explain(id)) for id in asked}
    assert {id: _too_early(told, asked[id]) for id, told in found.items()} == dict.fromkeys(
        asked, 0
    )
    assert too_fast([one for told in found.values() for one in told], RATE) == []
    _end(stormy, found)


def _too_early(told: Sequence[Start], asked: float) -> int:
    """How many came before all pauses up to them can have been over. The sum tells: the story has
    a run's end a moment after it was decided when the next one begins."""
    shortest = accumulate(0.75 * min(FIRST * FACTOR**one.number, MOST) for one in told)
    return sum(one.at < asked + all_pauses for one, all_pauses in zip(told, shortest, strict=True))


def _end(lab: Lab, found: Mapping[str, Sequence[Start]]) -> None:
    """What is stopped stays so, however many are still to be started; nothing is left of any."""
    first, *others = found
    stopped = lab.client.stop(first)
    for id in others:
        lab.client.delete(id, force=True)
    now = lab.client.show(first)
    assert (now.state, now.restarts) == ("stopped", stopped.restarts)
    lab.delete_all()
    lab.wait_clean()
