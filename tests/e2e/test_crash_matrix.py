"""For every step of CREATE: do fails, undo fails, the agent is killed between any two of them.

The twin of test_crash_matrix_in_memory.py on the real host, with `kill -9` for death.
Parametrised over the real tuple: a new step is covered the day it is added.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bench.lab.bad_registry import BadRegistry
from bench.lab.containerd import PrivateContainerd
from e2e import faulty_agent
from e2e.faulty_agent import Fault, order
from e2e.lab import Lab, running_lab, until
from e2e.pulling import asked, image, layers, stored
from longshore.errors import HostFailed, HostUnavailable, LongshoreError, NameInUse
from longshore.lifecycle.create import CREATE, RUN
from longshore.local.client import LocalClient
from longshore.model.status import ContainerStatus

T = TypeVar("T")
STEPS = [step.name for step in CREATE]
TAIL = [step.name for step in RUN]
#: When a `do` of CREATE, or of RUN, fails or the agent dies at it; and the same for `undo`, which
#: goes the other way. After one step is before the next: nothing is done between the two
#: (test_nothing_is_done_between_two_steps), so each of these moments is here once.
DOING = [(STEPS[0], "before"), *((step, "after") for step in STEPS)]
STARTING = [(TAIL[0], "before"), *((step, "after") for step in TAIL)]
UNDOING = [(STEPS[-1], "before"), *((step, "after") for step in STEPS)]
STOPPING_AND_STARTING = [(TAIL[-1], "before"), *STARTING]
#: Steps whose undo has nothing to do: what they make goes with another's, this image declares no
#: volumes, and this node's disk has no quota (with one, test_disk_quota.py).
_NOTHING_TO_UNDO = {"image", "disk", "data", "process", "limits", "start"}
#: What is left of these containerd's own collector takes, sooner or later, once no record holds it.
_COLLECTED = {"rootfs"}
#: Of a create whose image is not here: nobody was asked yet; all has come; it is in use.
PULLS = [("image", "before"), ("image", "after"), ("rootfs", "after")]
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
#: What the container finds of its file, its secret and its key pair.
_GIVEN = {
    "etc/app.conf": "port=1",
    "run/secrets/password": "s3cret",
    "root/.ssh/authorized_keys": _KEY,
}
_PULLED = image("pulled:1", 2, 2**16)


@dataclass(frozen=True)
class Faulty:
    """An agent, the file that its faults are ordered in, a registry that has _PULLED, and what
    containerd stores before that is pulled."""

    lab: Lab
    faults: Path
    registry: BadRegistry
    before: Sequence[str]

    @property
    def pulled(self) -> str:
        return f"{self.registry.host}/pulled:1"

    def forget(self) -> None:
        """Removes the image that was pulled; nothing of it is left then."""
        self.lab.client.remove_image(self.pulled)
        self.lab.client.prune_images()
        assert stored(self.lab) == self.before

    def order(self, *faults: Fault) -> None:
        order(self.faults, faults)

    def spec(self, **changes: Any) -> dict[str, Any]:
        """With something for every step to do; each first instruction leaves a line in `starts`."""
        spec = self.lab.spec(**changes)
        source = self.lab.volume(spec["id"])
        return {
            "command": ["sh", "-c", "echo >> /data/starts; exec httpd -f -p 80 -h /www"],
            "mounts": [
                {"type": "bind", "source": str(source), "target": "/data"},
                {"type": "volume", "name": "kept", "target": "/www"},
            ],
            "ports": [{"container_port": 80}],
            "limits": {"memory": 2**26, "cpus": 0.5, "pids": 32},
            "security": {"user_namespace": True},
            "init": True,
            "files": [{"target": "/etc/app.conf", "content": "port=1"}],
            "secrets": [{"name": "password", "value": "s3cret"}],
            "key_pair": {"name": "laptop", "public_keys": [_KEY]},
            **spec,
        }

    def starts(self, id: str) -> int:
        file = self.lab.agent.volumes / id / "starts"
        return file.read_text().count("\n") if file.exists() else 0

    def through_death(self, call: Callable[[], T]) -> T:
        """What the caller hears of it, when the agent dies meanwhile and is started again."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call)
            until(lambda: answer.done() or self.lab.agent.running() is None)
            assert self.lab.agent.running() is None, f"nobody died: {answer.result()}"
            self.lab.agent.start()
            return answer.result()

    def runs_once(self, status: ContainerStatus) -> None:
        """It runs with all that it was given, nothing runs beside it, and it was started exactly
        once."""
        assert status.state == "running"
        tasks = self.lab.containerd.ctr("tasks", "ls", namespace=self.lab.namespace).splitlines()[
            1:
        ]
        assert [line.split() for line in tasks] == [[status.id, str(status.pid), "RUNNING"]]
        until(lambda: self.starts(status.id))
        assert self.starts(status.id) == 1
        root = Path(f"/proc/{status.pid}/root")
        assert {file: (root / file).read_text().strip() for file in _GIVEN} == _GIVEN


@pytest.fixture(scope="module")
def _faulty(
    containerd: PrivateContainerd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Faulty]:
    folder = tmp_path_factory.mktemp("faults")
    file, settings = folder / "faults", folder / "registries.toml"
    with BadRegistry() as registry:
        registry.serve(_PULLED, "1")
        settings.write_text(f'[registry."{registry.host}"]\nplain_http = true\n')
        with running_lab(
            containerd,
            "faulty",
            options={"converge.interval": 0.3, "images.registries": settings},
            program=(Path(faulty_agent.__file__), file),
        ) as lab:
            yield Faulty(lab, file, registry, stored(lab))


@pytest.fixture
def faulty(_faulty: Faulty) -> Iterator[Faulty]:
    lab = _faulty.lab
    lab.wait_clean()
    try:
        yield _faulty
        lab.wait_clean()
    finally:
        _faulty.order()
        lab.agent.start()
        lab.delete_all()


@pytest.mark.parametrize(("step", "when"), DOING)
def test_do_fails(faulty: Faulty, step: str, when: str) -> None:
    client, spec, request = faulty.lab.client, faulty.spec(), str(uuid.uuid4())
    faulty.order(Fault(step, "do", when, "fail", once=True))
    with pytest.raises(HostFailed) as caught:
        client.create(spec, request_id=request)
    (failed,) = client.list()
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error.message == str(caught.value)
    assert (failed.nics, failed.ports) == ((), ())
    # Nothing but the reason is left; the same request gets the same answer, and does nothing.
    with pytest.raises(HostFailed, match=str(caught.value)):
        client.create(spec, request_id=request)
    until(lambda: faulty.lab.left() == [f"record of {spec['id']}"])
    # What it had is free again.
    other = faulty.spec(name=spec["name"])
    faulty.runs_once(client.create(other))
    for id in (spec["id"], other["id"]):
        client.delete(id, force=True)


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_that_may_pass_can_be_asked_again(faulty: Faulty, step: str) -> None:
    client, spec, request = faulty.lab.client, faulty.spec(), str(uuid.uuid4())
    faulty.order(Fault(step, "do", "after", "fail-retry", once=True))
    with pytest.raises(HostUnavailable):
        client.create(spec, request_id=request)
    assert [one.state for one in client.list()] == ["failed"]
    faulty.lab.tick()
    answer = client.create(spec, request_id=request)
    assert answer.state == "running"
    assert len(faulty.lab.containerd.shims()) == 1
    client.delete(spec["id"], force=True)


@pytest.mark.parametrize("step", STEPS)
def test_undo_fails_too(faulty: Faulty, step: str) -> None:
    client, spec = faulty.lab.client, faulty.spec()
    faulty.order(
        Fault(STEPS[-1], "do", "after", "fail", once=True), Fault(step, "undo", "instead", "fail")
    )
    with pytest.raises(HostFailed) as caught:
        client.create(spec)
    if step in _NOTHING_TO_UNDO:
        until(lambda: not _on_host(faulty.lab))
    elif step not in _COLLECTED:
        assert _on_host(faulty.lab)
    until(lambda: any(f"left over: {step}: " in one for one in _findings(client)))
    # While something is left, its name is not given to others.
    with pytest.raises(NameInUse):
        client.create(faulty.spec(name=spec["name"]))
    faulty.order()
    # The tick goes on trying, and nobody has to ask for it.
    until(lambda: faulty.lab.left() == [f"record of {spec['id']}"])
    until(lambda: _findings(client) == ())
    error = client.show(spec["id"]).error
    assert error is not None
    assert error.message == str(caught.value)
    other = faulty.spec(name=spec["name"])
    faulty.runs_once(client.create(other))
    for id in (spec["id"], other["id"]):
        client.delete(id, force=True)


@pytest.mark.parametrize(("step", "when"), DOING)
def test_dies_in_create(faulty: Faulty, step: str, when: str) -> None:
    client, spec, request = faulty.lab.client, faulty.spec(), str(uuid.uuid4())
    faulty.order(Fault(step, "do", when, "kill", once=True))
    answer = faulty.through_death(lambda: client.create(spec, request_id=request))
    faulty.runs_once(answer)
    again = client.create(spec, request_id=request)
    assert (again.id, again.pid, again.nics) == (answer.id, answer.pid, answer.nics)
    faulty.runs_once(again)
    client.delete(spec["id"], force=True)


@pytest.mark.parametrize(("step", "when"), UNDOING)
def test_dies_in_delete(faulty: Faulty, step: str, when: str) -> None:
    client, spec, request = faulty.lab.client, faulty.spec(), str(uuid.uuid4())
    client.create(spec)
    faulty.order(Fault(step, "undo", when, "kill", once=True))

    def delete() -> ContainerStatus:
        return client.delete(spec["id"], force=True, request_id=request)

    assert faulty.through_death(delete).state == "absent"
    faulty.lab.wait_clean()
    assert delete().state == "absent"


@pytest.mark.parametrize(("step", "when"), UNDOING)
def test_dies_while_rolling_back(faulty: Faulty, step: str, when: str) -> None:
    """A create that failed, and an agent that died undoing it: it is begun anew."""
    client, spec = faulty.lab.client, faulty.spec()
    faulty.order(
        Fault("limits", "do", "after", "fail", once=True),
        Fault(step, "undo", when, "kill", once=True),
    )
    answer = faulty.through_death(lambda: client.create(spec))
    faulty.runs_once(answer)
    client.delete(spec["id"], force=True)


@pytest.mark.parametrize(("step", "when"), STOPPING_AND_STARTING)
def test_dies_in_stop_and_in_start(faulty: Faulty, step: str, when: str) -> None:
    client, spec = faulty.lab.client, faulty.spec()
    created = client.create(spec)
    until(lambda: faulty.starts(created.id))
    faulty.order(Fault(step, "undo", when, "kill", once=True))
    stopped = faulty.through_death(lambda: client.stop(created.id, grace=0))
    assert (stopped.state, stopped.ports, stopped.pid) == ("stopped", created.ports, None)
    assert faulty.lab.containerd.shims() == []
    faulty.order(Fault(step, "do", when, "kill", once=True))
    started = faulty.through_death(lambda: client.start(created.id))
    until(lambda: faulty.starts(created.id) == 2)
    assert (started.state, started.nics, started.ports) == ("running", created.nics, created.ports)
    assert len(faulty.lab.containerd.shims()) == 1
    client.delete(created.id, force=True)
    assert faulty.starts(created.id) == 2


@pytest.mark.parametrize(("step", "when"), STARTING)
def test_start_fails(faulty: Faulty, step: str, when: str) -> None:
    """A failed start gives back what lasts from start to end, and can be asked for again."""
    client, spec = faulty.lab.client, faulty.spec()
    created = client.create(spec, start=False)
    faulty.order(Fault(step, "do", when, "fail", once=True))
    with pytest.raises(LongshoreError, match="the test says so"):
        client.start(created.id)
    stopped = client.show(created.id)
    assert (stopped.state, stopped.ports) == ("error", created.ports)
    assert faulty.lab.containerd.shims() == []
    until(lambda: not any(one.startswith(("interface", "netns")) for one in faulty.lab.left()))
    started = client.start(created.id)
    assert (started.state, started.nics, started.ports) == ("running", created.nics, created.ports)
    client.delete(created.id, force=True)


@pytest.mark.parametrize(("step", "when"), PULLS)
def test_dies_in_a_create_that_pulls(faulty: Faulty, step: str, when: str) -> None:
    client, spec = faulty.lab.client, faulty.spec(image=faulty.pulled)
    seen = len(faulty.registry.seen)
    faulty.order(Fault(step, "do", when, "kill", once=True))
    faulty.runs_once(faulty.through_death(lambda: client.create(spec)))
    fetched = asked(faulty.registry, seen)
    assert {one: fetched[one] for one in layers(_PULLED)} == {one: [0] for one in layers(_PULLED)}
    client.delete(spec["id"], force=True)
    faulty.forget()


@pytest.mark.parametrize(("step", "when"), PULLS[1:])
def test_a_create_that_pulls_fails(faulty: Faulty, step: str, when: str) -> None:
    """And the agent dies undoing it: then it begins anew, with the image that it has."""
    client, spec = faulty.lab.client, faulty.spec(image=faulty.pulled)
    seen = len(faulty.registry.seen)
    faulty.order(
        Fault(step, "do", when, "fail", once=True),
        Fault("image", "undo", "before", "kill", once=True),
    )
    faulty.runs_once(faulty.through_death(lambda: client.create(spec)))
    assert all(begun == [0] for begun in asked(faulty.registry, seen).values())
    client.delete(spec["id"], force=True)
    faulty.forget()


def test_the_matrix_has_a_row_for_every_step(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(set(STEPS)) == len(CREATE)
    # What was collected: another worker may have run some of it.
    here = (item for item in request.session.items if item.path == request.path)
    sizes = Counter(item.name.partition("[")[0] for item in here)
    with capsys.disabled():
        print(f"\ncrash matrix on the real host: {sizes.total() - 1} cases: {dict(sizes)}")


def _on_host(lab: Lab) -> list[str]:
    """What is left but for the journal's, and for interfaces, which the kernel removes later."""
    journal = ("record of ", "claim of ", "promise to ")
    return [one for one in lab.left() if not one.startswith((*journal, "interface "))]


def _findings(client: LocalClient) -> tuple[str, ...]:
    return client.node_status().converge.findings
