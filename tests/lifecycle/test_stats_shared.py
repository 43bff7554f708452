"""What is remembered between readings, and for how long; the meters are made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from fakes.usage import PROCESSES, FakeProcesses, FakeUsage, FakeUsers
from longshore.errors import ContainerNotFound, IllegalTransition, NotFound
from longshore.host.journal import Journal
from longshore.lifecycle.clock import Clock
from longshore.lifecycle.ports.stats import Meters
from longshore.lifecycle.stats import FRESH, Stats
from longshore.model.host import AppliedLimits, Ids, Nic
from longshore.model.record import Facts, Record
from longshore.model.spec import parse
from longshore.model.state import Desired, State


@dataclass
class Ward:
    """A journal with containers in it, and a clock that stands until it is turned."""

    journal: Journal
    usage: FakeUsage = field(default_factory=FakeUsage)
    processes: FakeProcesses = field(default_factory=lambda: FakeProcesses(PROCESSES))
    users: FakeUsers = field(default_factory=FakeUsers)
    time: float = 1000.0

    def __post_init__(self) -> None:
        clock = Clock(lambda: self.time, lambda: self.time)
        self.stats = Stats(self.journal, Meters(self.usage, self.processes, self.users), clock)

    def put(
        self,
        name: str,
        state: State = State.RUNNING,
        pid: int | None = 7,
        id: str = "",
        **facts: object,
    ) -> str:
        spec = parse({"id": id or str(uuid4()), "name": name, "image": "busybox"})
        record = Record(
            spec=spec,
            generation=1,
            desired=Desired.RUNNING,
            desired_by="test",
            desired_at=1.0,
            state=state,
            reason="asked",
            facts=Facts.model_validate({"pid": pid, **facts}),
            created_at=1.0,
        )
        with self.journal.transaction(durable=False) as tx:
            tx.put(record)
            tx.claim("name", name, spec.id)
        self.usage.seconds[spec.id] = 1.0
        return spec.id


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(Journal(tmp_path / "journal.sqlite"))


def test_who_is_read(ward: Ward) -> None:
    ids: dict[State, str] = {}
    for state in State:
        ids[state] = ward.put(str(state), state)
    running = [State.PAUSED, State.RUNNING, State.STOPPING]
    assert [one.id for one in ward.stats.stats([])] == [ids[state] for state in running]
    ward.time += 1
    both = ward.stats.stats(["stopping", ids[State.RUNNING], "stopping", "stopped"])
    assert [one.name for one in both] == ["stopping", "running"]
    assert set(ward.usage.read_ids[-1]) == {ids[State.STOPPING], ids[State.RUNNING]}


def test_what_the_journal_knows_of_them(ward: Ward) -> None:
    nic = Nic("default", "eth0", "02:00:00:00:00:09", "10.0.0.2", 24, "10.0.0.1")
    limits = AppliedLimits(cpus=0.5, memory=2**26, pids=32)
    limited = ward.put("limited", nics=(nic,), limits=limits)
    free = ward.put("free")
    ward.put("beginning", pid=None)
    found = {one.id: one for one in ward.journal.running()}
    assert found.keys() == {limited, free}
    assert (found[limited].interfaces, found[limited].cpus) == (("eth0",), 0.5)
    assert (found[limited].memory, found[limited].pids_limit) == (2**26, 32)
    assert (found[free].interfaces, found[free].cpus, found[free].memory) == ((), None, None)
    assert (found[free].pid, found[free].name, found[free].pids_limit) == (7, "free", None)


def test_cores_are_since_the_reading_before(ward: Ward) -> None:
    id = ward.put("web")
    assert ward.stats.stats(["web"])[0].cpu.cores is None
    ward.time += 2
    ward.usage.seconds[id] += 3
    assert ward.stats.stats([])[0].cpu.cores == 1.5
    # Started again: what it used before is another run's.
    ward.time += 2
    ward.put("web", id=id, pid=8)
    assert ward.stats.stats([])[0].cpu.cores is None
    ward.time += 1
    ward.usage.seconds[id] = 0.5
    # Less than before, or a clock that was set back, tell nothing.
    assert ward.stats.stats([])[0].cpu.cores is None


def test_who_asks_a_moment_later_shares_a_reading(ward: Ward) -> None:
    id = ward.put("web")
    first = ward.stats.stats([])
    ward.usage.seconds[id] += 1
    ward.time += FRESH / 2
    assert ward.stats.stats(["web"]) == first
    assert ward.usage.read_ids == [[id], []]
    ward.time += FRESH
    assert ward.stats.stats(["web"])[0].cpu.seconds == 2.0


def test_one_that_ends_while_it_is_read_is_left_out(ward: Ward) -> None:
    ids = [ward.put("a"), ward.put("b")]
    del ward.usage.seconds[ids[0]]
    assert [one.id for one in ward.stats.stats([])] == ids[1:]
    assert ward.stats.stats(["a"]) == []


def test_nothing_is_kept_of_who_has_ended(ward: Ward) -> None:
    ids = [ward.put(name) for name in "abc"]
    ward.stats.stats([])
    assert ward.usage.kept == set(ids)
    with ward.journal.transaction(durable=False) as tx:
        tx.forget(ids[0])
    ward.put("b", State.STOPPED, id=ids[1])
    # Also when others alone are asked for.
    ward.stats.stats(["c"])
    assert ward.usage.kept == {ids[2]}
    assert ward.stats._last.keys() == {ids[2]}
    ward.time += 59
    ward.stats.rest()
    assert ward.usage.kept == {ids[2]}
    ward.time += 1
    ward.stats.rest()
    assert ward.usage.kept == set()
    ward.usage.seconds[ids[2]] += 120
    assert ward.stats.stats([])[0].cpu.cores == 2.0


def test_one_alone_that_does_not_run_is_refused(ward: Ward) -> None:
    id = ward.put("web", State.STOPPED)
    ward.put("db")
    what = "cannot read the stats of container web: it is stopped"
    with pytest.raises(IllegalTransition, match=what) as refused:
        ward.stats.stats(["web"])
    assert (refused.value.object, refused.value.details) == (
        "web",
        {"state": "stopped", "verb": "stats"},
    )
    with pytest.raises(IllegalTransition, match=what):
        ward.stats.stats([id])
    with pytest.raises(ContainerNotFound):
        ward.stats.stats(["db", "nobody"])
    assert ward.usage.read_ids == []
    # One who follows them has seen them run.
    assert ward.stats.stats(["web"], again=True) == []
    assert [one.name for one in ward.stats.stats(["nobody", "db"], again=True)] == ["db"]


def test_users_of_processes_by_name(ward: Ward) -> None:
    ward.put("web")
    ward.users.names = {0: "root", 1000: "app"}
    ward.processes.found = [
        PROCESSES[0].model_copy(update={"user": number}) for number in ("0", "1000", "7")
    ]
    assert [one.user for one in ward.stats.top("web")] == ["root", "app", "7"]
    ward.put("mapped", ids=Ids(100_000, 65536))
    ward.processes.found = [
        PROCESSES[0].model_copy(update={"user": number})
        for number in ("100000", "101000", "100007", "165536", "0")
    ]
    # The last two are no users of the container's.
    assert [one.user for one in ward.stats.top("mapped")] == ["root", "app", "7", "165536", "0"]
    ward.users.error = NotFound("cannot mount the snapshot: there is none")
    assert ward.stats.top("mapped")[0].user == "0"


@pytest.mark.parametrize("state", [State.STOPPED, State.CREATED, State.RESTARTING])
def test_processes_of_one_that_does_not_run(ward: Ward, state: State) -> None:
    ward.put("web", state)
    what = f"cannot list the processes of container web: it is {state}"
    with pytest.raises(IllegalTransition, match=what):
        ward.stats.top("web")
    with pytest.raises(ContainerNotFound):
        ward.stats.top("nobody")


@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED, State.STOPPING])
def test_one_whose_process_has_just_ended(ward: Ward, state: State) -> None:
    ward.put("web", state, pid=None)
    for ask in (ward.stats.top, lambda ref: ward.stats.stats([ref])):
        with pytest.raises(IllegalTransition, match="container web: it has no process just now"):
            ask("web")
