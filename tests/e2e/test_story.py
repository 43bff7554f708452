"""`explain` and `events` of real containers, over both doors, and over kill -9 of the agent."""

from __future__ import annotations

from contextlib import closing
from itertools import takewhile

import pytest

from e2e.lab import Lab, until
from longshore.bus.client import ComputeClient
from longshore.errors import ContainerNotFound, LongshoreError

pytestmark = pytest.mark.usefixtures("clean")


def told(lab: Lab, ref: str) -> list[str]:
    """The entries without who asked, under which number, and why."""
    entries = lab.client.explain(ref).entries
    return [one.what.split(" by ")[0].split(": ")[0] for one in entries]


def test_a_life_over_both_doors(lab: Lab, nodes: ComputeClient) -> None:
    node = lab.agent.node
    start = nodes.events(node).last
    spec = lab.spec()
    with closing(lab.client.watch(refs=[spec["name"]])) as changes:
        lab.client.create(spec)
        lab.client.stop(spec["id"], grace=0)
        lab.client.delete(spec["id"])
        seen = [one.state for one in takewhile(lambda one: one.state != "absent", changes)]
    assert seen == ["creating", "running", "stopping", "stopped", "deleting"]
    found = nodes.events(node, start, refs=[spec["id"]])
    assert [one.state for one in found.changes] == [*seen, "absent"]
    assert nodes.events(node, found.last, timeout=0).changes == ()

    story = lab.client.explain(spec["name"])
    assert nodes.explain(node, spec["id"]) == story
    assert story.container.state == "absent"
    assert told(lab, spec["id"]) == [
        "create",
        "creating → running",
        "stop",
        "stopping → stopped",
        "delete",
        "deleting → absent",
    ]
    assert "exit code 137" in story.entries[3].what
    assert story.entries[1].seconds == pytest.approx(
        sum(step.seconds for step in story.container.steps)
    )


def test_a_failed_start_is_told_with_its_hint(lab: Lab) -> None:
    spec = lab.spec(command=["/no/such/program"])
    with pytest.raises(LongshoreError) as failed:
        lab.client.create(spec)
    last = lab.client.explain(spec["id"]).entries[-1]
    assert last.error is not None
    assert (last.error.code, last.error.message) == (failed.value.code, failed.value.message)
    lab.client.delete(spec["id"])


def test_a_killed_agent_tells_what_it_recorded(lab: Lab, nodes: ComputeClient) -> None:
    """What it says of the states is, at every moment, the way to the one that it is in."""
    spec = lab.spec()
    lab.client.create(spec)
    last = lab.client.watch(0)
    seq = next(last).seq
    last.close()
    lab.agent.kill()
    lab.agent.start()
    assert told(lab, spec["id"]) == ["create", "creating → running"]
    lab.client.stop(spec["id"], grace=0, wait="accepted")
    lab.agent.kill()
    lab.agent.start()
    until(lambda: lab.client.show(spec["id"]).state == "stopped")
    states = [
        what.rpartition(" → ")[2].partition(":")[0]
        for what in (one.what for one in lab.client.explain(spec["id"]).entries)
    ]
    assert states == ["creating", "running", "stopping", "stopped"]
    # Who watched the agent before is told that it was another one.
    (gap, *_) = until(lambda: nodes.events(lab.agent.node, seq).changes)
    assert gap.kind == "gap"
    lab.client.delete(spec["id"])
    with pytest.raises(ContainerNotFound):
        lab.client.explain("0" * 36)
