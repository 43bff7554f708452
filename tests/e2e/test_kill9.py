"""Agent and containerd die at any moment; containers and logs go on, and all is settled."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.lab.image import PAGE
from e2e.lab import Lab, states, until
from e2e.probes import alive, page_if_served
from longshore.errors import HostFailed, LongshoreError
from longshore.local.client import LocalClient
from longshore.model.status import ContainerStatus

pytestmark = pytest.mark.usefixtures("clean")

ROUNDS = 15
AT_ONCE = 4
#: A creation takes about 0.1 s, four at once about 0.3 s: the moments lie all over it.
LATEST = 0.4


@pytest.fixture
def chance() -> random.Random:
    """Printed when the test fails, so that the round can be had again."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_killed_in_create(lab: Lab, chance: random.Random) -> None:
    """Whoever asked hears that it runs, and it does, exactly once."""
    for _ in range(ROUNDS):
        specs = [_counted(lab) for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = [pool.submit(lab.client.create, spec) for spec in specs]
            _die_and_come_back(lab, chance.uniform(0, LATEST))
            assert [answer.result().state for answer in answers] == ["running"] * AT_ONCE
        settled = [lab.client.show(spec["id"]) for spec in specs]
        assert sorted(one.id for one in lab.client.list()) == sorted(spec["id"] for spec in specs)
        assert _running(lab) == {one.id: one.pid for one in settled}
        assert len(lab.containerd.shims()) == AT_ONCE
        assert len({one.nics[0].address for one in settled}) == AT_ONCE
        assert len({one.ports[0].host_port for one in settled}) == AT_ONCE
        for one in settled:
            assert until(partial(_page, one)) == PAGE
        assert [_starts(lab, spec) for spec in specs] == [1] * AT_ONCE
        for spec in specs:
            lab.client.delete(spec["id"], force=True)
        lab.wait_clean()


def test_killed_in_delete(lab: Lab, chance: random.Random) -> None:
    for _ in range(ROUNDS // 3):
        specs = [_counted(lab) for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lab.client.create, specs))
            answers = [pool.submit(lab.client.delete, spec["id"], force=True) for spec in specs]
            _die_and_come_back(lab, chance.uniform(0, LATEST / 2))
            assert [answer.result().state for answer in answers] == ["absent"] * AT_ONCE
        lab.wait_clean()


def test_killed_while_an_image_arrives(lab: Lab) -> None:
    """What had arrived is gone with the agent; an older agent's file goes at the start."""
    spool = lab.agent.state_dir / "spool"
    reading, more = os.pipe()
    os.write(more, b"x" * 4096)
    with ThreadPoolExecutor(1) as pool, os.fdopen(reading, "rb", buffering=0) as archive:
        loading = pool.submit(lab.client.load_image, archive)
        try:
            until(lambda: _has_open(lab, spool))
            lab.agent.kill()
            assert list(spool.iterdir()) == []
            (spool / "image-old.tar").write_bytes(b"x")
            lab.agent.start()
            assert list(spool.iterdir()) == []
        finally:
            os.close(more)
        with pytest.raises(LongshoreError):
            loading.result(30)


def test_the_log_goes_on(lab: Lab) -> None:
    """A container that writes numbers as fast as it can: not one is missing or out of order."""
    count = "i=0; while true; do echo $i; i=$((i+1)); done"
    id = lab.client.create(lab.spec(command=["sh", "-c", count], limits={"cpus": 0.5})).id
    log = lab.agent.state_dir / "containers" / id / "stdout.log"
    for _ in range(3):
        size = log.stat().st_size
        lab.agent.kill()
        # Nobody but the shim is there to write it now.
        until(partial(_is_larger, log, size + 10_000))
        lab.agent.start()
    assert lab.client.show(id).state == "running"
    lab.client.stop(id, grace=0)
    written = b"".join(chunk.data for chunk in lab.client.logs(id)).decode()
    assert written == log.read_text()
    numbers = written.splitlines()
    # Killed in the midst of a line, it may have left half of it.
    whole = numbers if written.endswith("\n") else numbers[:-1]
    assert whole == [str(n) for n in range(len(whole))]
    assert len(whole) > 1000
    lab.client.delete(id)


def test_a_follower_of_the_log_is_told_that_the_agent_died(lab: Lab) -> None:
    id = lab.client.create(lab.spec(command=["sh", "-c", "echo first; sleep 1000"])).id
    following = lab.client.logs(id, follow=True)
    assert next(chunk.data for chunk in following if chunk.data) == b"first\n"
    lab.agent.kill()
    with pytest.raises(LongshoreError):
        for _ in following:
            pass
    lab.agent.start()
    assert [chunk.data for chunk in lab.client.logs(id)] == [b"first\n"]
    lab.client.delete(id, force=True)


@pytest.mark.parametrize(
    ("ending", "code"), [("exit 3", 3), ("kill -9 $$; sleep 1000", 137), ("true", 0)]
)
def test_ends_while_the_agent_is_down(lab: Lab, ending: str, code: int) -> None:
    gate = lab.volume("gate")
    # A child of PID 1, so that a signal it sends itself does end it.
    script = f"until [ -e /gate/open ]; do sleep 0.02; done; sh -c '{ending}'; exit $?"
    spec = lab.spec(
        command=["sh", "-c", script],
        mounts=[{"type": "bind", "source": str(gate), "target": "/gate"}],
        ports=[{"container_port": 80}],
    )
    pid = lab.client.create(spec).pid
    assert pid is not None
    lab.agent.kill()
    (gate / "open").touch()
    until(lambda: not alive(pid) or _is_zombie(pid))
    lab.agent.start()
    ended = until(lambda: _in_state(lab, spec["id"], "stopped"))
    assert (ended.exit_code, ended.pid) == (code, None)
    assert ended.finished_at is not None
    assert ended.finished_at < time.time()
    assert str(code) in ended.reason
    assert lab.containerd.shims() == []
    lab.client.delete(spec["id"])


def test_containerd_dies_and_comes_back(lab: Lab) -> None:
    """Containers go on; the agent says so, takes nothing amiss, and works again."""
    running = lab.client.create(lab.spec(ports=[{"container_port": 80}]))
    assert until(lambda: _page(running)) == PAGE
    lab.containerd.kill()
    until(lambda: ("containerd", "down") in states(lab))
    assert _page(running) == PAGE
    now = lab.client.show(running.id)
    assert (now.state, now.pid) == ("running", running.pid)
    refused = lab.spec()
    with pytest.raises(HostFailed) as caught:
        lab.client.create(refused)
    assert caught.value.retry
    lab.containerd.start()
    until(lambda: ("containerd", "up") in states(lab))
    now = lab.client.show(running.id)
    assert (now.state, now.pid) == ("running", running.pid)
    assert _page(running) == PAGE
    other = lab.client.create(lab.spec())
    assert _running(lab) == {running.id: running.pid, other.id: other.pid}
    # An end is noticed as before.
    assert now.pid is not None
    os.kill(now.pid, signal.SIGKILL)
    until(lambda: lab.client.show(running.id).state == "stopped")
    assert lab.client.show(running.id).exit_code == 137
    for id in (running.id, other.id):
        lab.client.delete(id, force=True)
    for one in lab.client.list():  # the refused one, if it got as far as the journal
        assert one.id == refused["id"]
        lab.client.delete(one.id, force=True)


def test_a_container_ends_while_containerd_is_down(lab: Lab) -> None:
    running = lab.client.create(lab.spec())
    lab.containerd.kill()
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not alive(running.pid or 0) or _is_zombie(running.pid or 0))
    lab.containerd.start()
    ended = until(lambda: _in_state(lab, running.id, "stopped"))
    assert ended.exit_code == 137
    lab.client.delete(running.id)


def test_a_containerd_that_hangs_holds_up_no_reading(lab: Lab) -> None:
    running = lab.client.create(lab.spec())
    with (
        _stopped(lab.containerd.pid),
        ThreadPoolExecutor(1) as pool,
        # Far below the deadline of a call to containerd: one that waited for it would fail here.
        LocalClient(lab.agent.socket, timeout=5.0) as reader,
    ):
        stuck = pool.submit(lab.client.create, lab.spec())
        for _ in range(20):
            reader.node_status()
            assert running.id in [one.id for one in reader.list()]
            assert reader.show(running.id).state == "running"
        assert not stuck.done()
        os.kill(lab.containerd.pid, signal.SIGCONT)
        made = stuck.result()
    assert made.state == "running"
    for id in (running.id, made.id):
        lab.client.delete(id, force=True)


def _counted(lab: Lab) -> dict[str, Any]:
    """Each first instruction leaves a line in `starts`."""
    spec = lab.spec()
    source = lab.volume(spec["id"])
    return {
        "command": ["sh", "-c", "echo >> /data/starts; exec httpd -f -p 80 -h /www"],
        "mounts": [{"type": "bind", "source": str(source), "target": "/data"}],
        "ports": [{"container_port": 80}],
        **spec,
    }


def _starts(lab: Lab, spec: dict[str, Any]) -> int:
    file = lab.agent.volumes / spec["id"] / "starts"
    return file.read_text().count("\n") if file.exists() else 0


def _is_larger(file: Path, size: int) -> bool:
    return file.stat().st_size > size


def _die_and_come_back(lab: Lab, after: float) -> None:
    time.sleep(after)
    lab.agent.kill()
    lab.agent.start()


def _has_open(lab: Lab, folder: Path) -> bool:
    """Whether the agent has a file there open."""
    files = Path(f"/proc/{lab.agent.pid}/fd")
    with suppress(FileNotFoundError):
        return any(os.readlink(file).startswith(f"{folder}/") for file in files.iterdir())
    return False


def _running(lab: Lab) -> dict[str, int | None]:
    lines = lab.containerd.ctr("tasks", "ls", namespace=lab.namespace).splitlines()[1:]
    fields = [line.split() for line in lines]
    return {id: int(pid) for id, pid, state in fields if state == "RUNNING"}


def _in_state(lab: Lab, id: str, state: str) -> ContainerStatus | None:
    status = lab.client.show(id)
    return status if status.state == state else None


def _page(status: ContainerStatus) -> bytes:
    return page_if_served("127.0.0.1", status.ports[0].host_port)


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # before, or after it was opened
        return True


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
