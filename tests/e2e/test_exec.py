"""Commands, terminals and input on the whole thing: an agent, containerd, and its death."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from e2e.lab import Lab, until
from fields.proofs import proves
from longshore.bus.client import ComputeClient
from longshore.errors import Conflict, IllegalTransition, PolicyForbids
from longshore.local.client import Stream
from longshore.model.status import ContainerStatus

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


class Reader:
    """Reads a stream in a thread of its own, so that a test can wait for what it says."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.text = ""
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def until(self, text: str) -> None:
        until(lambda: text in self.text or not self.thread.is_alive())
        assert text in self.text, (self.text, self.error)

    def end(self) -> int | None:
        self.thread.join(20)
        assert not self.thread.is_alive(), self.text
        return self.stream.exit_code

    def _read(self) -> None:
        try:
            for output in self.stream:
                self.text += output.data.decode(errors="replace")
        except Exception as error:  # noqa: BLE001 - told by whoever waits
            self.error = error


def made(lab: Lab, **fields: object) -> ContainerStatus:
    return lab.client.create(lab.spec(**fields))


def left(lab: Lab) -> list[Path]:
    return list((lab.agent.run_dir / "stdio").glob("*/*"))


@pytest.fixture
def web(lab: Lab, clean: None) -> Iterator[ContainerStatus]:
    one = made(lab, command=SLEEP, nics=[])
    yield one
    lab.client.delete(one.id, force=True)


def test_over_both_doors(lab: Lab, nodes: ComputeClient, web: ContainerStatus) -> None:
    id = str(uuid4())
    script = "date +%N >> /ran; wc -l < /ran; echo err >&2; exit 4"
    for _ in range(2):
        came = nodes.execute(lab.agent.node, web.name, ["sh", "-c", script], request_id=id)
        assert (came.exit_code, came.stdout, came.stderr) == (4, "1\n", "err\n")
    lab.agent.kill()
    lab.agent.start()
    again = nodes.execute(lab.agent.node, web.name, ["sh", "-c", script], request_id=id)
    assert again == came, "also by the agent's next life"
    here = lab.client.execute(web.name, ["sh", "-c", script])
    assert (here.exit_code, here.stdout) == (4, "2\n")
    with pytest.raises(PolicyForbids):
        lab.client.execute(web.name, ["true"], privileged=True)
    lab.client.stop(web.id)
    with pytest.raises(IllegalTransition):
        lab.client.execute(web.name, ["true"])
    assert left(lab) == []


def test_the_agent_dies_under_a_command(lab: Lab, web: ContainerStatus) -> None:
    stream = lab.client.exec(web.name, ["sh", "-c", "yes & sleep 1000"], tty=True, stdin=True)
    pid = stream.pid
    lab.agent.kill()
    lab.agent.start()
    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: left(lab) == [])
    stream.close()
    assert lab.client.execute(web.name, ["echo", "on"]).stdout == "on\n"


@proves("tty", "stdin", back="what its process says of its terminal, and reads")
def test_a_terminal_and_its_input_outlive_the_agent(lab: Lab, clean: None) -> None:
    one = made(lab, command=["sh"], tty=True, stdin=True, nics=[], auto_remove=False)
    with lab.client.attach(one.name, stdin=True, from_start=True, size=(21, 83)) as stream:
        reader = Reader(stream)
        stream.write(b"tty; stty size; X=$((20 + 3))\n")
        reader.until("/dev/pts/0\r\n21 83\r\n")
    lab.agent.kill()
    lab.agent.start()
    assert lab.client.show(one.id).pid == one.pid
    with lab.client.attach(one.name, stdin=True) as stream:
        reader = Reader(stream)
        stream.write(b"echo still $X\n")
        reader.until("still 23\r\n")
        stream.resize(11, 22)
        stream.write(b"stty size\n")
        reader.until("11 22\r\n")
        stream.write(b"exit 5\n")
        assert reader.end() == 5
    log = b"".join(chunk.data for chunk in lab.client.logs(one.id))
    lab.client.start(one.id)
    with lab.client.attach(one.name, stdin=True) as stream:
        reader = Reader(stream)
        stream.write(b"echo second $((1 + 1))\n")
        reader.until("second 2\r\n")
    whole = b"".join(chunk.data for chunk in lab.client.logs(one.id))
    assert whole.startswith(log), "what an earlier run wrote stays"
    assert b"second 2" in whole[len(log) :]
    lab.client.delete(one.id, force=True)
    assert left(lab) == []


@proves("stdin", back="what its process reads, to the end")
def test_input_without_a_terminal(lab: Lab, clean: None) -> None:
    one = made(lab, command=["cat"], stdin=True, nics=[])
    with lab.client.attach(one.name, stdin=True) as stream:
        reader = Reader(stream)
        stream.write(b"one\n")
        reader.until("one\n")
    lab.agent.kill()
    lab.agent.start()
    with lab.client.attach(one.name, stdin=True, from_start=True) as stream:
        reader = Reader(stream)
        reader.until("one\n")
        stream.write(b"two\n")
        reader.until("two\n")
        stream.end_input()
        assert reader.end() == 0
    with pytest.raises(Conflict):
        lab.client.attach(made(lab, command=SLEEP, nics=[]).id, stdin=True)
    lab.delete_all()


def test_who_is_attached_leaves_and_it_goes_on(lab: Lab, web: ContainerStatus) -> None:
    with lab.client.attach(web.name):
        pass
    assert lab.client.show(web.id).state == "running"
    with lab.client.attach(web.name) as stream:
        lab.client.stop(web.id)
        assert list(stream) == []
        assert stream.exit_code == 0


def test_a_slow_reader_stops_the_command(lab: Lab, web: ContainerStatus) -> None:
    """It stands still, as at any full pipe; what it has written is bounded, and so is the agent."""
    script = "i=0; while :; do echo $i; i=$((i + 1)); echo $i > /count; done"
    with lab.client.exec(web.name, ["sh", "-c", script]):

        def count() -> str:
            return lab.client.execute(web.name, ["cat", "/count"]).stdout

        until(lambda: count() != "" and count() == count())


def test_a_burst_leaves_the_agent_as_it_was(lab: Lab, web: ContainerStatus) -> None:
    def held() -> int:
        return len(os.listdir(f"/proc/{lab.agent.pid}/fd"))

    for _ in range(5):
        lab.client.execute(web.name, ["true"])
    before = held()
    for _ in range(30):
        assert lab.client.execute(web.name, ["true"]).exit_code == 0
    until(lambda: held() <= before)
    assert left(lab) == []
