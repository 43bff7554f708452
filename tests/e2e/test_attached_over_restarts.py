"""Who is attached when the agent dies: the process goes on, and so does what is seen of it."""

from __future__ import annotations

import os
import re
import subprocess
from functools import partial

import pytest

from cli.terminal import LONGSHORE
from e2e.lab import Lab, until
from e2e.screen import on

pytestmark = pytest.mark.usefixtures("clean")

#: Counts without a pause to speak of, until it is told something.
COUNTER = """
while ! read -t 0 x 2>/dev/null; do i=$((i + 1)); echo line $i.; sleep 0.01; done
read x; stty size; echo told $x; exit 5
"""


def numbers(shown: str) -> list[int]:
    return [int(one) for one in re.findall(r"line (\d+)\.\r\n", shown)]


def _has_come(wanted: int, shown: str) -> bool:
    return len(numbers(shown)) > wanted


def test_attach_on_a_terminal(lab: Lab) -> None:
    spec = lab.spec(command=["sh", "-c", COUNTER], tty=True, stdin=True, nics=[])
    made = lab.client.create(spec)
    with on(lab, "attach", made.name) as screen:
        screen.until_so(partial(_has_come, 20))
        for _ in range(2):
            wanted = len(numbers(screen.shown)) + 20
            lab.agent.kill()
            screen.size(17, 61)
            lab.agent.start()
            screen.until_so(partial(_has_come, wanted))
        lab.agent.kill()
        screen.type("while it is away\r")
        lab.agent.start()
        screen.until("told while it is away")
        assert screen.end() == 5
    seen = numbers(screen.shown)
    assert seen == list(range(seen[0], seen[-1] + 1))
    assert "17 61\r\n" in screen.shown
    lab.client.delete(made.id)


def test_run_it(lab: Lab) -> None:
    with on(
        lab, "run", "-it", "--rm", "--name", "shell", "--network", "none", "busybox", "sh"
    ) as screen:
        screen.until("/ # ")
        lab.ids.append(lab.client.show("shell").id)
        screen.type("X=6\r")
        screen.until("X=6\r\n/ # ")
        lab.agent.kill()
        screen.type("echo $((X * 7)) is kept\r")
        lab.agent.start()
        screen.until("42 is kept\r\n/ # ")
        screen.type("exit 9\r")
        assert screen.end() == 9
    until(lambda: not lab.client.list())


def test_it_ends_and_is_removed_while_the_agent_is_away(lab: Lab) -> None:
    program = ["sh", "-c", "echo ready; read x; exit 4"]
    with on(
        lab, "run", "-it", "--rm", "--name", "shell", "--network", "none", "busybox", *program
    ) as screen:
        screen.until("ready")
        made = lab.client.show("shell")
        lab.ids.append(made.id)
        lab.agent.kill()
        assert made.pid is not None
        os.kill(made.pid, 9)
        lab.agent.start()
        # It may be attached to once more before it goes; else the story of it says the code.
        assert screen.end() == 137
    until(lambda: not lab.client.list())


def test_exec_on_a_terminal(lab: Lab) -> None:
    """The command is ended with the agent, and that is said."""
    made = lab.client.create(lab.spec(command=["sleep", "600"], nics=[]))
    with on(lab, "exec", "-it", made.name, "sh") as screen:
        screen.until("/ # ")
        lab.agent.kill()
        assert screen.end() == 125
        assert (
            f"cannot run a command in {made.name} to its end: the agent went away" in screen.shown
        )
    lab.agent.start()
    until(lambda: len(lab.client.top(made.name)) == 1)
    lab.client.delete(made.id, force=True)


def test_pipes(lab: Lab) -> None:
    """What was read is not sent again, and what was not is."""
    env = {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket)}
    script = "while read x; do echo $x; done; echo end; exit 6"
    words = [
        "run",
        "-i",
        "--rm",
        "--name",
        "cat",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ]
    with subprocess.Popen(
        [LONGSHORE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"one\n", b"two\n"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.readline() == word
            lab.ids.append(lab.client.show("cat").id)
            lab.agent.kill()
            lab.agent.start()
        process.stdin.close()
        assert process.stdout.read() == b"end\n"
        assert process.wait(30) == 6
    until(lambda: not lab.client.list())


def test_input_that_nobody_knows_of(lab: Lab) -> None:
    """More than the pipe holds is on its way to one that does not read."""
    env = {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket)}
    made = lab.client.create(lab.spec(command=["sleep", "600"], stdin=True, nics=[]))
    with subprocess.Popen(
        [LONGSHORE, "attach", made.name], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        assert process.stdin is not None
        process.stdin.write(bytes(3_000_000))
        lab.agent.kill()
        lab.agent.start()
        process.stdin.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(30) == 125
    assert "it is not known whether" in said
    assert lab.client.show(made.id).state == "running"
    lab.client.delete(made.id, force=True)
