"""The command line on a real pty, at the other end of a terminal in a container."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from cli.terminal import LONGSHORE
from e2e.lab import Lab, until
from e2e.screen import on, piped
from longshore.model.status import ContainerStatus

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


@pytest.fixture
def web(lab: Lab, clean: None) -> Iterator[ContainerStatus]:
    one = lab.client.create(lab.spec(command=SLEEP, nics=[]))
    yield one
    lab.client.delete(one.id, force=True)


def test_a_shell(lab: Lab, web: ContainerStatus) -> None:
    """Size and its change, Ctrl-C, Ctrl-D, and its exit code."""
    with on(lab, "exec", "-it", "-e", "A=b", web.name, "sh") as screen:
        screen.until("/ # ")
        screen.type("stty size; echo $A$TERM\r")
        screen.until("30 90\r\n")
        screen.until("bxterm\r\n")
        screen.size(17, 61)
        screen.type("while [ \"$(stty size)\" != '17 61' ]; do :; done; echo seen $((1 + 1))\r")
        screen.until("seen 2\r\n")
        screen.type("sh -c 'echo $((2 + 2)) asleep; exec sleep 1000'\r")
        screen.until("4 asleep\r\n")
        screen.type("\x03")
        screen.type("echo code $?\r")
        screen.until("code 130\r\n/ # ")
        screen.type("(exit 3)\r")
        screen.until("(exit 3)\r\n/ # ")
        screen.type("\x04")
        assert screen.end() == 3


def test_a_program_that_draws(lab: Lab, web: ContainerStatus) -> None:
    with on(lab, "exec", "-it", web.name, "vi", "/tmp/file") as screen:
        screen.until("/tmp/file")
        screen.type("ihello, harbour\x1b")
        screen.until("harbour")
        assert "\x1b[" in screen.shown
        screen.type(":wq\r")
        assert screen.end() == 0
    assert lab.client.execute(web.name, ["cat", "/tmp/file"]).stdout == "hello, harbour\n"


def test_run_it_detach_and_attach(lab: Lab, clean: None) -> None:
    with on(lab, "run", "-it", "--name", "shell", "--network", "none", "busybox", "sh") as screen:
        screen.until("/ # ")
        screen.type("stty size; X=5\r")
        screen.until("30 90\r\n/ # ")
        screen.type("\x10\x11")
        assert screen.end() == 0
        assert "it goes on" in screen.shown
    lab.ids.append(lab.client.show("shell").id)
    with on(lab, "attach", "shell") as screen:
        screen.until("/ # ")
        screen.type("echo $((X + 1)) is kept\r")
        screen.until("6 is kept\r\n/ # ")
        screen.type("exit 7\r")
        assert screen.end() == 7
    lab.client.delete("shell")


def test_run_it_rm(lab: Lab, clean: None) -> None:
    with on(lab, "run", "--rm", "-it", "--network", "none", "busybox", "sh") as screen:
        screen.until("/ # ")
        screen.type("exit 9\r")
        assert screen.end() == 9
    until(lambda: not lab.client.list())


def test_pipes_and_exit_codes(lab: Lab, web: ContainerStatus) -> None:
    big = os.urandom(300_000)
    came = piped(lab, "exec", "-i", web.name, "cat", given=big)
    assert (came.returncode, came.stdout) == (0, big)
    came = piped(lab, "exec", web.name, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (came.returncode, came.stdout, came.stderr) == (5, b"out\n", b"err\n")
    assert piped(lab, "exec", web.name, "no-such").returncode == 127
    assert piped(lab, "exec", web.name, "/etc/passwd").returncode == 126
    assert piped(lab, "exec", "nobody", "true").returncode == 125
    assert piped(lab, "exec", "-it", web.name, "sh").returncode == 2
    came = piped(
        lab, "run", "-i", "--rm", "--network", "none", "busybox", "sh", "-c", "wc -c; exit 6",
        given=big,
    )  # fmt: skip
    assert (came.returncode, came.stdout.strip()) == (6, b"300000")
    until(lambda: [one.id for one in lab.client.list()] == [web.id])


def test_a_signal_goes_to_the_command(lab: Lab, web: ContainerStatus) -> None:
    env = {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket)}
    script = "trap 'echo told; exit 8' INT; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [LONGSHORE, "exec", web.name, "sh", "-c", script], stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"told\n"
        assert process.wait(20) == 8
