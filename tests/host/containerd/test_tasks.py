"""The life of a task on a real containerd, with crun and with runc."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from host.containerd.stepwise import SNAPSHOTTER, Node, traces, until
from longshore.errors import CommandNotFound, Conflict, DeadlineExceeded, NotFound, StartFailed
from longshore.host.cgroup import Cgroups
from longshore.host.containerd.client import Client
from longshore.host.containerd.tasks import Tasks
from longshore.model.host import Task, TaskStatus
from longshore.model.names import Names
from longshore.model.spec import ContainerSpec


def test_a_task_lives_and_ends(node: Node) -> None:
    spec = node.make()
    names = Names(spec.id)
    assert node.tasks.get(names) == Task()

    pid = node.create(spec)
    assert node.tasks.get(names) == Task(TaskStatus.CREATED, pid)
    assert node.create(spec) == pid, "making what is there succeeds"

    node.tasks.start(names)
    assert node.tasks.list() == {spec.id: Task(TaskStatus.RUNNING, pid)}
    node.tasks.start(names)

    node.tasks.kill(names, 9)
    until(lambda: node.tasks.get(names).status is TaskStatus.STOPPED)
    assert node.tasks.get(names).exit_code == 137
    node.tasks.kill(names, 9)

    ended = node.remove(spec)
    assert ended is not None
    assert ended.code == 137
    assert node.tasks.get(names) == Task()
    assert node.remove(spec) is None


def test_delete_ends_what_runs(node: Node) -> None:
    spec = node.run(command=["sh", "-c", "trap '' TERM; sleep 1000 & wait; sleep 1000"])
    pid = node.tasks.get(Names(spec.id)).pid
    ended = node.remove(spec)
    assert ended is not None
    assert ended.code == 137
    assert not Path(f"/proc/{pid}").exists()


def test_delete_ends_what_was_never_started(node: Node) -> None:
    spec = node.make()
    pid = node.create(spec)
    assert node.remove(spec) is not None
    assert not Path(f"/proc/{pid}").exists()


def test_delete_ends_what_is_frozen(node: Node) -> None:
    spec = node.run()
    node.containerd.ctr("tasks", "pause", spec.id)
    assert node.tasks.get(Names(spec.id)).status is TaskStatus.PAUSED
    ended = node.remove(spec)
    assert ended is not None
    assert ended.code == 137


def test_frozen_and_let_go(node: Node) -> None:
    spec = node.make(command=["sh", "-c", "while :; do echo x; sleep 0.01; done"])
    names = Names(spec.id)
    node.tasks.resume(names)
    with pytest.raises(NotFound):
        node.tasks.pause(names)
    node.create(spec)
    node.tasks.start(names)
    node.tasks.resume(names)
    for _ in range(2):
        node.tasks.pause(names)
        assert node.tasks.get(names).status is TaskStatus.PAUSED
    said = node.output(spec)
    for _ in range(2):
        node.tasks.resume(names)
        assert node.tasks.get(names).status is TaskStatus.RUNNING
    until(lambda: node.output(spec) != said)
    node.tasks.kill(names, 9)
    until(lambda: node.tasks.get(names).status is TaskStatus.STOPPED)
    node.tasks.resume(names)
    with pytest.raises(Conflict, match="it is stopped"):
        node.tasks.pause(names)
    node.remove(spec)


def test_a_wait_tells_of_the_end(node: Node) -> None:
    spec = node.make(command=["true"])
    names = Names(spec.id)
    node.create(spec)
    ended = threading.Event()
    node.tasks.wait(names, ended.set)
    assert not ended.is_set()
    node.tasks.start(names)
    assert ended.wait(10)
    assert node.tasks.get(names).exit_code == 0
    gone = threading.Event()
    node.remove(spec)
    node.tasks.wait(names, gone.set)
    assert gone.wait(10), "a wait for nothing is over at once"


def test_output_is_kept_apart_and_appended(node: Node) -> None:
    spec = node.make(command=["sh", "-c", "echo out; echo err >&2; exit 3"])
    names = Names(spec.id)
    for path in (node.layout.stdout(names), node.layout.stderr(names)):
        path.write_text("before\n")
    node.create(spec)
    node.tasks.start(names)
    until(lambda: node.tasks.get(names).status is TaskStatus.STOPPED)
    assert node.tasks.get(names).exit_code == 3
    node.remove(spec)
    assert node.layout.stdout(names).read_text() == "before\nout\n"
    assert node.layout.stderr(names).read_text() == "before\nerr\n"


@pytest.mark.parametrize("command", ["nonesuch", "/bin/nonesuch"])
def test_a_missing_command_is_named(node: Node, command: str) -> None:
    with pytest.raises(CommandNotFound, match="is not in the image") as caught:
        node.run(command=[command, "x"])
    assert caught.value.field == "command"
    assert caught.value.details == {"command": command}


@pytest.mark.parametrize("command", ["/etc/passwd", "/etc"])
def test_a_command_that_is_no_program_is_refused(node: Node, command: str) -> None:
    with pytest.raises(StartFailed) as caught:
        node.run(command=[command])
    assert "\n" not in caught.value.message


def test_a_runtime_that_refuses_says_why_in_one_line(node: Node) -> None:
    def spoil(oci: dict[str, Any]) -> None:
        oci["mounts"].append({"destination": "/x", "type": "bind", "source": "/nonesuch"})

    with pytest.raises(StartFailed, match="nonesuch") as caught:
        node.run(spoil)
    assert type(caught.value) is StartFailed
    assert "\n" not in caught.value.message
    assert caught.value.message.count("create container") == 1


def test_a_create_that_takes_too_long_goes_on_and_is_waited_for(node: Node, client: Client) -> None:
    hasty = Tasks(
        client,
        SNAPSHOTTER,
        node.containerd.bundles,
        Cgroups().processes,
        node.layout,
        timeout=20,
        create_timeout=0.001,
    )

    spec = node.make()
    names = Names(spec.id)
    out, err = node.layout.stdout(names), node.layout.stderr(names)
    with pytest.raises(DeadlineExceeded):
        hasty.create(names, out, err)
    until(lambda: node.tasks.get(names).status is TaskStatus.CREATED)

    def is_answered() -> bool:
        # That answer may be on its way for longer than the hasty one waits.
        try:
            return hasty.create(names, out, err) == node.tasks.get(names).pid
        except DeadlineExceeded:
            return False

    until(is_answered)
    node.remove(spec)

    spec = node.make()
    names = Names(spec.id)
    with pytest.raises(DeadlineExceeded):
        hasty.create(names, node.layout.stdout(names), node.layout.stderr(names))
    assert hasty.delete(names) is not None, "it waited for the create, and removed what it made"
    node.remove(spec)


#: An agent that asks for a task and does nothing else.
ASKING = """
import sys
from longshore.host.containerd.client import Client
from longshore.pb.containerd import tasks_pb2
from longshore.host.containerd.snapshots import mounts
from longshore.model.names import Names
from pathlib import Path
client = Client(Path(sys.argv[1]), "longshore")
request = tasks_pb2.CreateTaskRequest(
    container_id=sys.argv[2], rootfs=mounts(client, "overlayfs", Names(sys.argv[2]))
)
print("go", flush=True)
client.call(client.tasks.Create, request, "create")
"""


def ask_and_die(node: Node, spec: ContainerSpec, milliseconds: int) -> None:
    command = [sys.executable, "-c", ASKING, str(node.containerd.socket), spec.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        time.sleep(milliseconds / 1000)
        agent.kill()


MOMENTS = (1, 5, 10, 20, 25, 30, 40, 60)


def test_what_an_agent_that_died_in_a_create_leaves_goes_with_delete(node: Node) -> None:
    """At whatever moment it dies; the fixture looks for shims, bundles and cgroups."""
    for milliseconds in MOMENTS:
        spec = node.make()
        ask_and_die(node, spec, milliseconds)
        # As converge does it: again, as long as something is there.
        node.remove(spec)
        until(partial(gone, node, spec))


def test_the_next_agent_creates_it_at_once(node: Node, client: Client) -> None:
    """Though containerd is still breaking off what the one before it had asked for."""
    for milliseconds in MOMENTS:
        spec = node.make()
        names = Names(spec.id)
        ask_and_die(node, spec, milliseconds)
        # It takes an agent longer than that to start.
        time.sleep(0.05)
        bundles = node.containerd.bundles
        tasks = Tasks(client, SNAPSHOTTER, bundles, Cgroups().processes, node.layout)
        tasks.delete(names)
        pid = tasks.create(names, node.layout.stdout(names), node.layout.stderr(names))
        tasks.start(names)
        assert tasks.get(names) == Task(TaskStatus.RUNNING, pid)
        node.remove(spec)
        until(partial(gone, node, spec))


def gone(node: Node, spec: ContainerSpec) -> bool:
    """Removes what is there, and says whether nothing was."""
    found = traces(node, Names(spec.id))
    return node.remove(spec) is None and not found


def test_a_killed_shim_leaves_nothing(node: Node) -> None:
    spec = node.run()
    os.kill(node.containerd.shims()[0].pid, 9)
    until(lambda: node.tasks.get(Names(spec.id)).status is not TaskStatus.RUNNING)
    node.remove(spec)


def test_without_a_record_there_is_no_task(node: Node) -> None:
    names = Names("00000000-0000-4000-8000-000000000000")
    with pytest.raises(NotFound):
        node.tasks.create(names, Path("/dev/null"), Path("/dev/null"))
    assert node.tasks.delete(names) is None
    node.tasks.kill(names, 15)
