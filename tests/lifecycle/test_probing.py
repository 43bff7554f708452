"""Health on a fake host and a real journal: what is probed when, what follows, what is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.execs import FakeExecs
from fakes.images import an_image
from fakes.lifecycle import Lifecycle, a_spec, ask, until
from fakes.probes import FakeProbes
from longshore.errors import CommandNotFound, HostUnavailable, NotFound
from longshore.lifecycle.asking import Asking
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.health import Health, Rates
from longshore.model.record import Record
from longshore.model.request import Request
from longshore.model.spec import ContainerSpec
from longshore.model.status import ContainerStatus, ExecStatus

#: Later than anything that the lifecycle's own clock says: past every first interval.
LATER = 1e6
TCP = {"type": "tcp", "port": 80, "interval": 10.0, "retries": 2}


class Time:
    def __init__(self) -> None:
        self.at = LATER

    def __call__(self) -> float:
        return self.at


class Node:
    """A lifecycle with its health; `turn` has probed who is due, and waits for what comes of it."""

    def __init__(self, life: Lifecycle, time: Time, rates: Rates | None = None) -> None:
        self.life, self.time, self.rates = life, time, rates or Rates()
        self.probes = FakeProbes(life.fake.network)
        self.runs = FakeExecs()
        self.come_to(ExecStatus(exit_code=0))
        self.health = self._made()

    def _made(self) -> Health:
        life = self.life
        health = Health(
            life.journal,
            life.changes,
            life.host.tasks,
            Asking(self.probes, self.runs, self.time).ask,
            {"restart": life.containers.restart, "stop": life.containers.stop},
            Clock(self.time, self.time),
            self.rates,
            lambda: 0.5,
        )
        health.start()
        return health

    def come_to(self, outcome: ExecStatus | BaseException) -> None:
        """What comes of `up` from now on."""
        self.runs.outcomes["up"] = deque([outcome] * 100)

    def next_life(self) -> None:
        self.health.stop(10.0)
        self.life = self.life.next_life()
        self.health = self._made()

    def running(self, **changes: Any) -> ContainerSpec:
        spec = a_spec(**changes)
        self.life.containers.create(ask(), spec)
        return spec

    def serves(self, spec: ContainerSpec, *, well: bool = True) -> None:
        said = "connected" if well else "nobody listens"
        self.probes.listening[spec.id] = {80: (well, said)}

    @property
    def count(self) -> int:
        return len(self.probes.asked) + len(self.runs.ran)

    def turn(self, seconds: float = 10.0, probed: int = 1) -> None:
        """Time passes; so many probes come of it, and are through."""
        wanted = self.count + probed
        self.time.at += seconds
        self.health.step()
        until(lambda: self.count >= wanted and self.health.idle())
        assert self.count == wanted
        self.life.settle_hints()

    def record(self, spec: ContainerSpec) -> Record:
        found = self.life.journal.get(spec.id)
        assert found is not None
        return found

    def told(self) -> list[str]:
        return [one.reason for one in self.life.changes.after(0, 0) if one.kind == "health"]

    def state(self, spec: ContainerSpec) -> str:
        health = self.record(spec).health
        return health.state if health else ""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(Lifecycle(tmp_path), Time())
    yield node
    node.probes.free.set()
    assert node.health.stop(10.0)
    node.life.journal.close()


def test_what_is_news_is_written_once_and_the_rest_kept_in_mind(node: Node) -> None:
    spec = node.running(health=TCP)
    assert node.state(spec) == "starting"
    node.serves(spec)
    for _ in range(5):
        node.turn()
    assert node.told() == ["it runs; healthy"]
    written = node.record(spec).health
    assert written is not None
    assert (written.state, written.at) == ("healthy", LATER + 10.0)
    newest = node.health.newest(node.life.containers.show(spec.id)).health
    assert newest is not None
    assert (newest.state, newest.at, newest.output) == ("healthy", LATER + 50.0, "connected")


def test_who_has_no_check_is_not_probed_and_costs_nothing(node: Node) -> None:
    for changes in ({}, {"health": {"type": "none"}}):
        spec = node.running(**changes)
        assert node.record(spec).health is None
    assert node.health.step() is None


def test_unhealthy_and_healthy_again(node: Node) -> None:
    spec = node.running(health=TCP)
    node.turn()
    assert node.state(spec) == "starting"
    node.turn()
    assert node.state(spec) == "unhealthy"
    node.turn()
    node.serves(spec)
    node.turn()
    assert node.told() == [
        "it runs; unhealthy: 2 failures in a row, the last: nobody listens",
        "it runs; healthy",
    ]
    assert node.record(spec).state == "running"


def test_it_is_restarted_until_the_budget_is_used_up_then_left(node: Node) -> None:
    spec = node.running(health={**TCP, "retries": 1, "on_unhealthy": "restart", "budget": 2})
    for runs in (2, 3):
        node.turn()
        record = node.record(spec)
        assert (record.state, record.desired_by) == ("running", "health")
        assert node.life.fake.tasks.created == [spec.id] * runs
        assert node.state(spec) == "starting"
    node.turn()
    node.turn()
    assert node.life.fake.tasks.created == [spec.id] * 3
    assert node.told()[-1].endswith("it is left so: restart came 2 times within an hour")
    assert len(node.told()) == 3
    node.turn(3600.0)
    assert node.life.fake.tasks.created == [spec.id] * 4


def test_it_is_stopped_and_the_reason_says_why(node: Node) -> None:
    spec = node.running(
        health={**TCP, "retries": 1, "on_unhealthy": "stop"}, restart={"policy": "always"}
    )
    node.turn()
    record = node.record(spec)
    assert (record.state, record.desired, record.desired_by) == ("stopped", "stopped", "health")
    assert "it was unhealthy (nobody listens), and on_unhealthy is stop" in record.reason
    assert node.health.step() is None


def test_its_process_is_killed_and_the_rest_is_its_policys(node: Node) -> None:
    spec = node.running(health={**TCP, "retries": 1, "on_unhealthy": "kill"})
    node.turn()
    node.life.sweep_and_settle()
    record = node.record(spec)
    assert (record.state, record.desired, record.exit_code) == ("stopped", "running", 137)
    assert "on_unhealthy is kill" in record.reason


@pytest.mark.parametrize("act", ["restart", "stop", "kill"])
def test_what_a_user_asked_for_meanwhile_wins(node: Node, act: str) -> None:
    spec = node.running(health={**TCP, "retries": 1, "on_unhealthy": act})
    node.probes.meanwhile = lambda: void(node.life.containers.stop(ask(origin="user"), spec.id))
    node.turn()
    record = node.record(spec)
    assert (record.state, record.desired_by) == ("stopped", "user")
    assert node.told() == []


def void(_: object) -> None: ...


def test_also_between_the_verdict_and_the_act(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = node.running(health={**TCP, "retries": 1, "on_unhealthy": "restart"})
    containers = node.life.containers

    def late(request: Request, ref: str) -> ContainerStatus:
        containers.stop(ask(origin="user"), spec.id)
        return containers.restart(request, ref)

    monkeypatch.setattr(node.health, "_verbs", {"restart": late})
    node.turn()
    record = node.record(spec)
    assert (record.state, record.desired_by) == ("stopped", "user")


def meanwhile_ended(node: Node, spec: ContainerSpec) -> None:
    node.life.fake.tasks.end(spec.id, 1)


def meanwhile_frozen(node: Node, spec: ContainerSpec) -> None:
    with node.life.journal.transaction(durable=True) as tx:
        tx.put(node.record(spec).but(paused=True))


def meanwhile_of_another_run(node: Node, spec: ContainerSpec) -> None:
    with node.life.journal.transaction(durable=True) as tx:
        tx.put(node.record(spec).but(started_at=5.0))


def containerd_away(node: Node, spec: ContainerSpec) -> None:
    node.probes.error = HostUnavailable("cannot probe: away")


def network_gone(node: Node, spec: ContainerSpec) -> None:
    node.life.fake.network.attached.clear()


@pytest.mark.parametrize(
    "meanwhile",
    [
        meanwhile_ended,
        meanwhile_frozen,
        meanwhile_of_another_run,
        containerd_away,
        network_gone,
    ],
)
def test_what_is_no_finding(node: Node, meanwhile: Callable[[Node, ContainerSpec], None]) -> None:
    spec = node.running(health={**TCP, "retries": 1, "on_unhealthy": "kill"})
    node.probes.meanwhile = lambda: meanwhile(node, spec)
    node.turn()
    assert node.state(spec) == "starting"
    assert node.told() == []


def test_a_paused_one_is_not_probed_and_goes_on_as_it_was(node: Node) -> None:
    spec = node.running(health=TCP)
    node.serves(spec)
    node.turn()
    node.life.containers.pause(ask(), spec.id)
    node.turn(100.0, probed=0)
    assert node.state(spec) == "healthy"
    node.life.containers.unpause(ask(), spec.id)
    node.turn(10.0)
    assert node.state(spec) == "healthy"


def test_each_run_begins_anew(node: Node) -> None:
    spec = node.running(health=TCP)
    node.serves(spec)
    node.turn()
    node.life.containers.restart(ask(), spec.id)
    assert node.state(spec) == "starting"
    node.turn()
    assert node.state(spec) == "healthy"


def test_the_next_life_of_the_agent_goes_on(node: Node) -> None:
    spec = node.running(health=TCP)
    node.serves(spec)
    node.turn()
    node.next_life()
    assert node.state(spec) == "healthy"
    node.serves(spec, well=False)
    node.turn(5.0)  # chance says: in half an interval
    node.turn()
    assert node.state(spec) == "unhealthy"


def test_what_the_image_says_is_the_default(node: Node) -> None:
    check = {"Test": ["CMD", "up"], "Interval": 10 * 10**9, "Retries": 1}
    for name, written in (("good", check), ("bad", {"Test": ["HTTP", "80"]})):
        image = an_image(f"{name}:latest", name, healthcheck=written)
        node.life.fake.images.there[image.name] = image
        node.life.fake.rootfs.unpacked.add(image.chain_id)
    good = node.running(image="good:latest")
    bad = node.running(image="bad:latest", name="bad")
    none = node.running(image="good:latest", health={"type": "none"})
    node.turn()
    assert [(id, one.arguments) for id, one in node.runs.ran] == [(good.id, ("up",))]
    assert [node.state(one) for one in (good, bad, none)] == ["healthy", "", ""]
    assert node.health.findings() == [
        "container bad: the Healthcheck of its image cannot be used: Test begins with 'HTTP', "
        "not with CMD, CMD-SHELL or NONE"
    ]
    node.life.containers.delete(ask(), bad.id, force=True)
    assert node.health.findings() == []


EXEC = {"type": "exec", "command": ["up"], "interval": 10.0, "retries": 1}


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        (ExecStatus(exit_code=0, stdout="fine\n"), "healthy", "fine"),
        (ExecStatus(exit_code=0, stdout="ü" * 300), "healthy", "ü" * 256),
        (ExecStatus(exit_code=1), "unhealthy", "exit code 1"),
        (ExecStatus(exit_code=1, stderr="no"), "unhealthy", "exit code 1: no"),
        (ExecStatus(exit_code=137, timed_out=True), "unhealthy", "up: not done in 30 s"),
        (CommandNotFound("cannot run up: no such file"), "unhealthy",
         "cannot run up: no such file"),
        (NotFound("cannot run up: it does not run"), "starting", ""),
        (HostUnavailable("cannot run up: away"), "starting", ""),
    ],
)  # fmt: skip
def test_what_commands_come_to(
    node: Node, outcome: ExecStatus | BaseException, state: str, said: str
) -> None:
    node.come_to(outcome)
    spec = node.running(health=EXEC)
    node.turn()
    health = node.record(spec).health
    assert health is not None
    assert (health.state, health.output) == (state, said)


def test_commands_begin_at_most_so_many_a_second(tmp_path: Path) -> None:
    node = Node(Lifecycle(tmp_path), Time(), Rates(execs=2.0))
    specs = [node.running(health=EXEC) for _ in range(4)]
    node.turn(10.0, probed=1)
    node.turn(0.4, probed=0)
    for _ in range(3):
        node.turn(0.5, probed=1)
    assert sorted(id for id, _ in node.runs.ran) == sorted(spec.id for spec in specs)
    assert node.health.findings() == []
    node.health.stop(10.0)


def test_more_commands_than_are_allowed_are_a_finding(tmp_path: Path) -> None:
    node = Node(Lifecycle(tmp_path), Time(), Rates(execs=0.1))
    for _ in range(4):
        node.running(health=EXEC)
    node.turn(10.0, probed=1)
    (finding,) = node.health.findings()
    assert "more than [health] exec_rate, 0.1 a second, allows" in finding
    node.health.stop(10.0)


def test_those_that_hang_hold_up_only_others_such(tmp_path: Path) -> None:
    node = Node(Lifecycle(tmp_path), Time(), Rates(workers=1))
    bad = node.running(health=TCP)
    good = node.running(health=TCP)
    node.serves(good)
    node.turn(10.0, probed=2)
    node.probes.hangs.add(bad.id)
    for count in range(2, 6):
        node.time.at += 10.0
        node.health.step()
        until(lambda count=count: node.probes.asked.count(good.id) == count)  # type: ignore[misc]
    assert node.probes.asked.count(bad.id) == 2
    node.probes.free.set()
    assert node.health.stop(10.0)


def test_a_change_that_is_told_late_changes_nothing(node: Node) -> None:
    spec = node.running(health=TCP)
    before = node.record(spec)
    node.life.containers.restart(ask(), spec.id)
    node.health.heard(before.but(state="stopping"))
    node.serves(spec)
    node.turn()
    assert node.state(spec) == "healthy"


def test_another_check_counts_from_now_on(node: Node) -> None:
    spec = node.running(health=TCP)
    node.serves(spec)
    node.turn()
    record = node.record(spec)
    other = spec.but(health=spec.health.model_copy(update={"port": 81}))  # type: ignore[union-attr]
    with node.life.journal.transaction(durable=True) as tx:
        tx.put(record.but(spec=other))
    node.health.heard(record.but(spec=other))
    node.turn()
    node.turn()
    assert node.state(spec) == "unhealthy"
