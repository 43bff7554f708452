"""The command as a process: terminals, pipes, signals, completion in a real bash."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

from cli.terminal import LONGSHORE, environment, on_a_terminal, plain
from fakes.node import FakeNode
from fakes.shell import Shell
from longshore.model.spec import parse
from longshore.model.status import LogChunk

WEB = parse(
    {
        "id": "1f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001",
        "name": "a-rather-long-name-for-a-container-of-the-billing-team",
        "image": "registry.example.org/billing/ledger-service:2026.11.24-r3",
        "command": ["java", "-jar", "ledger.jar"],
        "ports": [{"container_port": 80, "host_port": 8080}],
    }
)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_row_is_a_line_that_fits(shell: Shell, node: FakeNode, columns: int) -> None:
    node.add(WEB)
    with on_a_terminal(shell, "ps", columns=columns) as terminal:
        assert terminal.end() == 0
    assert "\x1b[" in terminal.shown
    lines = plain(terminal.shown)
    assert len(lines) == 2
    assert all(len(line) <= columns for line in lines)
    assert lines[1].startswith("1f1c7a54  a-rather-lo")
    assert "8080->80/tcp" in lines[1]
    assert ("COMMAND" in lines[0], "ADDRESS" in lines[0]) == (columns > 80, columns > 80)
    assert (WEB.name in lines[1]) is (columns > 80)


def test_in_a_pipe_nothing_is_cut_or_coloured(shell: Shell, node: FakeNode) -> None:
    node.add(WEB)
    done = subprocess.run(
        [LONGSHORE, "ps", "--no-trunc"],
        env=environment(shell, TERM="xterm", COLUMNS="40"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    _, row = done.stdout.splitlines()
    for whole in (WEB.id, WEB.name, WEB.image, "java -jar ledger.jar"):
        assert whole in row
    assert "\x1b" not in done.stdout


def test_exit_code_and_stderr_of_the_process(shell: Shell) -> None:
    done = subprocess.run(
        [LONGSHORE, "inspect", "nope"], env=environment(shell), capture_output=True, timeout=60
    )
    assert done.returncode == 3
    assert done.stdout == b""
    assert done.stderr.splitlines()[0] == (b"longshore: cannot find container nope: there is none")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_what_runs_in_the_foreground(
    shell: Shell, node: FakeNode, number: signal.Signals
) -> None:
    node.output[WEB.id] = [LogChunk("stdout", b"up\n")]
    with subprocess.Popen(
        [LONGSHORE, "run", "--id", WEB.id, "--name", "web", "busybox:1"],
        env=environment(shell),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.wait(20) == 143  # as the fake's stop says
    assert ("stop", WEB.id, None) in node.asked
    assert node.containers[WEB.id].state == "stopped"


def test_a_second_interrupt_kills(shell: Shell, node: FakeNode) -> None:
    node.output[WEB.id] = [LogChunk("stdout", b"up\n")]
    stopping = node.hold("stop")
    with subprocess.Popen(
        [LONGSHORE, "run", "--rm", "--id", WEB.id, "--name", "web", "busybox:1"],
        env=environment(shell),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        node.wait_for("stop", 1)
        process.send_signal(signal.SIGINT)
        node.wait_for("stop", 2)
        stopping.set()
        assert process.wait(20) == 143
    assert ("stop", WEB.id, 0.0) in node.asked
    assert node.containers == {}


def test_an_interrupt_while_it_is_made_is_not_lost(shell: Shell, node: FakeNode) -> None:
    creating = node.hold("create")
    with subprocess.Popen(
        [LONGSHORE, "run", "--rm", "--id", WEB.id, "--name", "web", "busybox:1"],
        env=environment(shell),
    ) as process:
        node.wait_for("create", 1)
        process.send_signal(signal.SIGINT)
        creating.set()
        assert process.wait(20) == 143
    assert node.containers == {}


def test_killed_it_leaves_nothing_behind(shell: Shell, node: FakeNode) -> None:
    node.output[WEB.id] = [LogChunk("stdout", b"up\n")]
    with subprocess.Popen(
        [LONGSHORE, "run", "--rm", "--id", WEB.id, "--name", "web", "busybox:1"],
        env=environment(shell),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    assert node.containers[WEB.id].state == "running"
    node.ended(WEB.id, 0)
    assert node.containers == {}


def test_two_while_it_is_made_give_up(shell: Shell, node: FakeNode) -> None:
    creating = node.hold("create")
    with subprocess.Popen(
        [LONGSHORE, "run", "--id", WEB.id, "--name", "web", "busybox:1"],
        env=environment(shell),
        stderr=subprocess.PIPE,
    ) as process:
        node.wait_for("create", 1)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
        creating.set()
        assert process.stderr is not None
        assert f"longshore rm -f {WEB.id}".encode() in process.stderr.read()


def test_events_until_interrupted(shell: Shell, node: FakeNode) -> None:
    shell.out("run", "-d", "--name", "web", "busybox:1")
    with subprocess.Popen(
        [LONGSHORE, "events", "--after", "0"], env=environment(shell), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        shell.out("stop", "web")
        second = process.stdout.readline().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+Z  web  absent -> running  \(.+\)\n", first)
    assert "  web  running -> stopped  (" in second


def test_a_reader_who_leaves_is_no_fault(shell: Shell, node: FakeNode) -> None:
    node.add(WEB)
    node.output[WEB.id] = [LogChunk("stdout", b"line\n" * 20_000)] * 20
    done = subprocess.run(
        f"{LONGSHORE} logs {WEB.id} | head -n 1",
        shell=True,
        env=environment(shell),
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"line\n", b"")


COMPLETE = """
source <(longshore completion bash)
COMP_LINE='{line}' COMP_POINT={point} COMP_WORDS=({words}) COMP_CWORD={index}
_longshore_completion longshore
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(env: dict[str, str], *words: str) -> list[str]:
    line = " ".join(words)
    split = [part for word in words for part in re.split("(:)", word) if part or not word]
    script = COMPLETE.format(
        line=line,
        point=len(line),
        words=" ".join(f"'{part}'" for part in split),
        index=len(split) - 1,
    )
    done = subprocess.run(
        ["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_in_bash(shell: Shell, node: FakeNode) -> None:
    node.add(WEB)
    node.add(WEB.model_copy(update={"id": WEB.id.replace("1f", "2f", 1), "name": "web"}))
    env = environment(shell)
    assert completed(env, "longshore", "st") == ["start", "stats", "status", "stop"]
    assert completed(env, "longshore", "stop", "") == [WEB.name, "web"]
    assert completed(env, "longshore", "rm", "-f", "we") == ["web"]
    assert completed(env, "longshore", "inspect", "2f1c") == [WEB.id.replace("1f", "2f", 1)]
    assert completed(env, "longshore", "run", "-p", ":80", "busybox:") == ["1"]
    assert completed(env, "longshore", "ps", "-o", "j") == ["json"]
    nobody = {**env, "LONGSHORE_SOCKET": "/nonexistent/agent.sock"}
    assert completed(nobody, "longshore", "stop", "") == []


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, name: str) -> None:
    text = shell.out("completion", name)
    assert "_LONGSHORE_COMPLETE" in text
    assert f"{name}_complete" in text
