"""`stats` and `top`: what they ask, print, and end with."""

from __future__ import annotations

import json
import signal
import subprocess

from cli.terminal import LONGSHORE, environment, on_a_terminal, plain
from fakes.node import FakeNode
from fakes.shell import Shell
from fakes.usage import BUSY, IDLE, PROCESSES
from longshore.errors import Conflict

ONCE = "stats --no-stream --interval 0.25"


def test_stats_once(shell: Shell, node: FakeNode) -> None:
    """The second reading: the first knows of no cores."""
    heading, busy, idle = (line.split() for line in shell.out(ONCE).splitlines())
    assert heading[:4] == ["ID", "NAME", "CPU", "%"]
    assert busy == ("0d2c1f4e busy 125.0 32 MiB 64 MiB 50.0 1 TiB / 2 B 1 TiB / 2 B 3/32".split())
    assert idle == "1e2c1f4e idle - 0 B - - - 0 B / 0 B 0".split()
    assert [again for _, _, again in node.given] == [False, True]
    assert json.loads(shell.out(f"{ONCE} -o json busy")) == [BUSY.to_dict()]
    assert BUSY.id in shell.out(f"{ONCE} --no-trunc busy")


def test_stats_of_those_that_do_not_run_too(shell: Shell, node: FakeNode) -> None:
    node.state_on_create = "created"
    assert shell.run("create --name lazy web:1").exit_code == 0
    assert "lazy" not in shell.out(ONCE)
    last = shell.out(f"{ONCE} -a").splitlines()[-1].split()
    assert last[1:] == ["lazy", *["-"] * 7]


def test_stats_of_one_that_does_not_run(shell: Shell, node: FakeNode) -> None:
    node.fail("stats", Conflict("cannot read the stats of web: it is stopped", object="web"))
    result = shell.run("stats web")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "it is stopped" in result.stderr
    assert shell.run("stats --interval 0.1").exit_code == 2


def test_stats_in_a_pipe(shell: Shell) -> None:
    with subprocess.Popen(
        [LONGSHORE, "stats", "--interval", "0.25", "-o", "json"],
        stdout=subprocess.PIPE,
        env=environment(shell),
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            line = json.loads(process.stdout.readline())
            assert line == [BUSY.to_dict(), IDLE.to_dict()]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_stats_are_drawn_in_their_place(shell: Shell, node: FakeNode) -> None:
    with on_a_terminal(shell, "stats", "--interval", "0.25", columns=120) as terminal:
        node.wait_for("stats", 3)
        terminal.until("idle")
        # The cursor goes up again over heading and rows.
        terminal.until("\x1b[1A\x1b[2K\x1b[1A")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    lines = plain(terminal.shown)
    assert any(line.split()[:3] == ["0d2c1f4e", "busy", "125.0"] for line in lines)
    # What a terminal hides it shows again.
    assert terminal.shown.count("\x1b[?25l") == terminal.shown.count("\x1b[?25h") == 1


def test_top(shell: Shell, node: FakeNode) -> None:
    heading, first, second = (line.split() for line in shell.out("top web").splitlines())
    assert heading[:4] == ["PID", "PARENT", "USER", "STATE"]
    assert first[:4] == ["1", "0", "root", "S"]
    assert first[-7:] == ["1", "MiB", "4001", "sh", "-c", "sleep", "9"]
    assert second[:4] == ["7", "1", "1000", "R"]
    found = json.loads(shell.out("top -o json web"))
    assert found == [one.to_dict() for one in PROCESSES]
    node.fail("top", Conflict("cannot list the processes of web: it is stopped", object="web"))
    assert shell.run("top web").exit_code == 5


def test_top_again_and_again(shell: Shell, node: FakeNode) -> None:
    with on_a_terminal(shell, "top", "-w", "--interval", "0.05", "web") as terminal:
        node.wait_for("top", 3)
        terminal.until("sleep 9")
        node.fail("top", Conflict("cannot list the processes of web: it is stopped", object="web"))
        assert terminal.end() == 5
    assert "it is stopped" in terminal.shown
