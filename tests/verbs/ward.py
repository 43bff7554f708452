"""A real node with a container in each state, for the verbs that leave it there.

containerd, RabbitMQ, the kernel and the agent are the real ones. What passes by in a moment
(creating, starting, deleting) is held there: the agent has promised it, and its work waits.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.lab.containerd import PrivateContainerd
from bench.lab.rabbitmq import PrivateRabbit
from e2e.lab import Lab, running_lab, states, until
from longshore.bus.client import ComputeClient
from longshore.errors import ContainerNotFound, StartFailed
from longshore.local.client import LocalClient
from longshore.model.state import State
from verbs import held_agent

#: Says one line, makes one file, and then is deaf to SIGTERM and answers on port 80.
_SERVER = ["sh", "-c", "trap '' TERM; touch /made; echo hello; exec httpd -f -p 80"]
_PROBED = {"type": "tcp", "port": 80, "interval": 600.0}
#: Seconds of a pause or a grace that is not over before the tests are.
_LONG = 600.0
NAME = "web"


def name(state: State) -> str:
    """Of the container that is in it."""
    return f"{NAME}-{state}"


@dataclass(frozen=True)
class Ward:
    """`ids`: of the container in each state; the one that is absent was never there."""

    local: LocalClient
    bus: ComputeClient
    node: str
    socket: Path
    ids: Mapping[State, str] = field(default_factory=lambda: {one: str(uuid4()) for one in State})

    def state(self, state: State) -> State:
        """As it is now of the one that was brought into that state."""
        try:
            return State(self.local.show(self.ids[state]).state)
        except ContainerNotFound:
            return State.ABSENT


@contextmanager
def ward() -> Iterator[Ward]:
    """All of it is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lsv-"))
    holds = folder / "holds"
    holds.mkdir()
    with (
        PrivateContainerd(folder) as containerd,
        PrivateRabbit(folder) as rabbit,
        running_lab(
            containerd,
            "verbs",
            rabbit.url,
            options={"restart.first": _LONG, "restart.max": _LONG, "converge.workers": 16},
            program=(Path(held_agent.__file__), holds),
        ) as lab,
        ComputeClient(rabbit.url, origin="verbs") as bus,
    ):
        until(lambda: ("rabbitmq", "up") in states(lab))
        one = Ward(lab.client, bus, lab.agent.node, lab.agent.socket)
        try:
            with ThreadPoolExecutor(len(State)) as pool:
                list(pool.map(partial(_bring, one, lab, holds), State))
            yield one
        finally:
            for hold in holds.iterdir():
                hold.unlink()
            for id in one.ids.values():
                with suppress(ContainerNotFound):
                    lab.client.delete(id, force=True)
            lab.wait_clean()
    shutil.rmtree(folder)


def _bring(one: Ward, lab: Lab, holds: Path, state: State) -> None:
    if state in _BRING:
        _BRING[state](_Bringing(lab, holds, one.ids[state], name(state)))
    assert one.state(state) is state


@dataclass(frozen=True)
class _Bringing:
    """`ref`: of the container that is brought somewhere."""

    lab: Lab
    holds: Path
    ref: str
    name: str

    def create(self, **more: Any) -> None:
        spec = {"command": _SERVER, "health": _PROBED, "stdin": True, "stop_grace": _LONG}
        start = more.pop("start", True)
        wait = more.pop("wait", None)
        self.lab.client.create(
            self.lab.spec(id=self.ref, name=self.name, **spec | more), start=start, wait=wait
        )

    def hold(self) -> None:
        (self.holds / self.ref).touch()

    def run(self, **more: Any) -> None:
        """Until all that it does by itself is done."""
        self.create(**more)
        until(
            lambda: (health := self.lab.client.show(self.ref).health) and health.state == "healthy"
        )


def _creating(one: _Bringing) -> None:
    one.hold()
    one.create(wait="accepted")


def _created(one: _Bringing) -> None:
    one.create(start=False)


def _starting(one: _Bringing) -> None:
    one.create(start=False)
    one.hold()
    one.lab.client.start(one.ref, wait="accepted")


def _running(one: _Bringing) -> None:
    one.run()


def _paused(one: _Bringing) -> None:
    one.run()
    one.lab.client.pause(one.ref)


def _restarting(one: _Bringing) -> None:
    one.create(
        command=["sh", "-c", "touch /made; echo hello; exit 7"], restart={"policy": "always"}
    )
    until(lambda: one.lab.client.show(one.ref).state == State.RESTARTING)


def _stopping(one: _Bringing) -> None:
    one.run()
    one.lab.client.stop(one.ref, wait="accepted")


def _stopped(one: _Bringing) -> None:
    one.run()
    one.lab.client.kill(one.ref)


def _error(one: _Bringing) -> None:
    one.create(command=["nowhere"], start=False)
    with suppress(StartFailed):
        one.lab.client.start(one.ref)


def _deleting(one: _Bringing) -> None:
    one.run()
    one.hold()
    one.lab.client.delete(one.ref, force=True, wait="accepted")


def _failed(one: _Bringing) -> None:
    with suppress(StartFailed):
        one.create(command=["nowhere"])


#: One that is not here is in none.
_BRING: Mapping[State, Callable[[_Bringing], None]] = {
    State.CREATING: _creating,
    State.CREATED: _created,
    State.STARTING: _starting,
    State.RUNNING: _running,
    State.PAUSED: _paused,
    State.RESTARTING: _restarting,
    State.STOPPING: _stopping,
    State.STOPPED: _stopped,
    State.ERROR: _error,
    State.DELETING: _deleting,
    State.FAILED: _failed,
}
