"""Updates of a container that serves, on the real host: the agent is killed at every step, steps
fail, and what serves in the end is the old version or the new one, whole.

Its twin in memory, tests/lifecycle/test_update_crashes.py, also dies at every write, and on the
other side of each step."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bench.demo.reach import fetch
from bench.lab.containerd import PrivateContainerd
from e2e import faulty_agent
from e2e.faulty_agent import Fault, order
from e2e.lab import Lab, running_lab, until
from longshore.errors import UpdateTakenBack
from longshore.lifecycle.create import AROUND, RUN
from longshore.model.status import ContainerStatus

T = TypeVar("T")
STEPS = [step.name for step in (*AROUND, *RUN)]
TAIL = [step.name for step in RUN]
#: After one step is before the next.
DOING = [(STEPS[0], "before"), *((step, "after") for step in STEPS)]
#: Its layer, its volume and its page tell what has happened to it.
_SERVE = (
    "echo run >> /layer; echo run >> /www/runs; echo $VERSION > /www/version; "
    "exec httpd -f -p 80 -h /www"
)
OLD: dict[str, Any] = {
    "command": ["sh", "-c", _SERVE],
    "env": {"VERSION": "old"},
    "ports": [{"container_port": 80}],
    "limits": {"memory": 2**26, "pids": 32},
    "files": [{"target": "/etc/app.conf", "content": "old"}],
    "secrets": [{"name": "password", "value": "old"}],
    "mounts": [{"type": "volume", "name": "kept", "target": "/www"}],
    "security": {"user_namespace": True},
}
NEW: dict[str, Any] = {
    "env": {"VERSION": "new"},
    "ports": [{"container_port": 80}, {"container_port": 81}],
    "limits": {"memory": 2**27},
    "files": [{"target": "/etc/app.conf", "content": "new"}],
    "secrets": [{"name": "password", "value": "new"}],
    "hostname": "new",
}


@dataclass(frozen=True)
class Served:
    """A container, as its create was answered, on an agent whose faults are ordered in a file."""

    lab: Lab
    faults: Path
    made: ContainerStatus
    #: How many its layer knows nothing of.
    lost_runs: int = 0

    def update(self, request: str) -> ContainerStatus:
        return self.lab.client.update(self.made.id, NEW, request_id=request)

    def order(self, *faults: Fault) -> None:
        order(self.faults, faults)

    def page(self) -> str:
        (port,) = [one for one in self.show().ports if one.container_port == 80]
        return fetch("127.0.0.1", port.host_port, "/version").decode().strip()

    def show(self) -> ContainerStatus:
        return self.lab.client.show(self.made.id)

    def whole(self) -> str:
        """Which of the two it is, once it has been seen that it is all of that one."""
        status = self.show()
        assert (status.state, status.previous_version) == ("running", None), status.reason
        version = until(self.page)
        root = Path(f"/proc/{status.pid}/root")
        assert (root / "etc/app.conf").read_text() == version
        assert (root / "run/secrets/password").read_text() == version
        assert (root / "etc/hostname").read_text().strip() == (
            "new" if version == "new" else status.name
        )
        assert len(status.ports) == (2 if version == "new" else 1)
        assert status.limits is not None
        assert status.limits.memory == (2**27 if version == "new" else 2**26)
        # What is to stay: addresses, the port that nobody changed, its layer, its volume.
        assert (status.nics, status.ports[0]) == (self.made.nics, self.made.ports[0])
        runs = (root / "layer").read_text().count("run")
        assert (root / "www/runs").read_text().count("run") == runs + self.lost_runs
        tasks = self.lab.containerd.ctr("tasks", "ls", namespace=self.lab.namespace).splitlines()
        assert [line.split() for line in tasks[1:]] == [[status.id, str(status.pid), "RUNNING"]]
        held = [line for line in self.lab.left() if line.startswith("claim of")]
        assert len([one for one in held if ": port " in one]) == len(status.ports)
        return version

    def through_death(self, call: Callable[[], T]) -> T:
        """What the caller hears of it, when the agent dies meanwhile and is started again."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call)
            until(lambda: answer.done() or self.lab.agent.running() is None)
            assert self.lab.agent.running() is None, f"nobody died: {answer.result()}"
            self.lab.agent.start()
            return answer.result()


@pytest.fixture(scope="module")
def _lab(
    containerd: PrivateContainerd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lab, Path]]:
    file = tmp_path_factory.mktemp("updates") / "faults"
    with running_lab(
        containerd,
        "updates",
        options={"converge.interval": 0.3, "update.probation": 0.2},
        program=(Path(faulty_agent.__file__), file),
    ) as lab:
        yield lab, file


@pytest.fixture
def served(_lab: tuple[Lab, Path]) -> Iterator[Served]:
    lab, file = _lab
    one = Served(lab, file, lab.client.create(lab.spec(**OLD)))
    try:
        until(lambda: one.page() == "old")
        yield one
    finally:
        one.order()
        lab.agent.start()
        lab.delete_all()
        lab.client.remove_volume("kept")
    lab.wait_clean()


@pytest.mark.parametrize(("step", "when"), DOING)
def test_killed_at_a_step(served: Served, step: str, when: str) -> None:
    request = str(uuid.uuid4())
    served.order(Fault(step, "do", when, "kill", once=True))
    answer = served.through_death(lambda: served.update(request))
    assert (answer.version, served.whole()) == (2, "new")
    assert served.update(request).version == 2


@pytest.mark.parametrize("step", TAIL)
def test_killed_while_the_old_process_goes(served: Served, step: str) -> None:
    served.order(Fault(step, "undo", "before", "kill", once=True))
    answer = served.through_death(lambda: served.update(str(uuid.uuid4())))
    assert (answer.version, served.whole()) == (2, "new")


#: `network` is also done by each look at one that runs: which of them fails is chance.
@pytest.mark.parametrize("step", [one for one in STEPS if one != "network"])
def test_taken_back_when_a_step_fails(served: Served, step: str) -> None:
    served.order(Fault(step, "do", "after", "fail", once=True))
    with pytest.raises(UpdateTakenBack, match="the test says so"):
        served.update(str(uuid.uuid4()))
    assert served.whole() == "old"
    states = [one.state for one in served.lab.client.versions(served.made.id)]
    assert states == ["in use", "taken back"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_it_is_taken_back(served: Served, step: str) -> None:
    """The last step of the new one fails; then the agent dies on the way to the old one."""
    request = str(uuid.uuid4())
    served.order(
        Fault("limits", "do", "after", "fail", once=True),
        Fault(step, "do", "before", "kill", once=True),
    )

    def update() -> None:
        with pytest.raises(UpdateTakenBack, match="the test says so"):
            served.update(request)

    served.through_death(update)
    assert served.whole() == "old"
    update()


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"command": ["/no/such/file"]}, "is not in the image"),
        ({"command": ["false"]}, "its process ended at once, with exit code 1"),
        ({"workdir": "/etc/passwd"}, ""),
        (
            {"health": {"type": "http", "port": 9, "interval": 0.1, "retries": 2}},
            "it is unhealthy",
        ),
    ],
)
def test_taken_back_when_it_is_no_good(served: Served, patch: dict[str, Any], why: str) -> None:
    with pytest.raises(UpdateTakenBack, match=why):
        served.lab.client.update(served.made.id, {**NEW, **patch})
    assert served.whole() == "old"


@pytest.mark.parametrize(
    ("step", "which"),
    [
        *((step, "do") for step in ("image", "rootfs", "record", "files", "task", "start")),
        *((step, "undo") for step in ("rootfs", "record", "task")),
    ],
)
def test_killed_in_a_rebuild(served: Served, step: str, which: str) -> None:
    served.lab.client.tag_image("busybox:latest", "other:1")
    request = str(uuid.uuid4())
    served.order(Fault(step, which, "after", "kill", once=True))
    answer = served.through_death(
        lambda: served.lab.client.rebuild(served.made.id, "other:1", request_id=request)
    )
    assert (answer.state, answer.image) == ("running", "other:1")
    assert replace(served, lost_runs=1).whole() == "old"


def test_what_a_rebuild_keeps(served: Served) -> None:
    served.lab.client.tag_image("busybox:latest", "other:1")
    served.lab.client.restart(served.made.id, grace=0)
    done = served.lab.client.rebuild(served.made.id, "other:1")
    root = Path(f"/proc/{done.pid}/root")
    until(lambda: served.page() == "old")
    # Its layer is another one, its volume is not.
    assert (root / "layer").read_text() == "run\n"
    assert (root / "www/runs").read_text() == "run\nrun\nrun\n"
    assert (done.nics, done.ports) == (served.made.nics, served.made.ports)
