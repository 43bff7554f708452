"""`longshore run --rm`: all that the container wrote, its exit code, and nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from cli.terminal import LONGSHORE
from e2e.lab import Lab, until


def command(lab: Lab, *words: str) -> tuple[list[str], dict[str, str]]:
    spec = lab.spec()
    asked = ["run", "--rm", "--id", spec["id"], "--name", spec["name"], "busybox:latest", *words]
    return [LONGSHORE, *asked], {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket)}


def test_it_is_gone_when_the_command_returns(lab: Lab, clean: None) -> None:
    """However short it was: what is removed at once takes its log along."""
    script = "i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done; echo last >&2; exit 7"
    for words, code, out, err in (
        (["echo", "hello"], 0, "hello\n", ""),
        (["sh", "-c", script], 7, "".join(f"{i}\n" for i in range(5000)), "last\n"),
    ):
        run, env = command(lab, *words)
        done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (code, err)
        assert done.stdout == out
        assert lab.client.list() == []
    run, env = command(lab, "/no-such")
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 127, done.stderr
    assert "no-such" in done.stderr
    assert lab.client.list() == []


def test_it_outlives_the_agent_and_goes_on_to_be_shown(lab: Lab, clean: None) -> None:
    """Also one that is killed. What it wrote meanwhile is shown, and nothing twice."""
    script = (
        "for step in 0 1 2; do echo $step; until [ -e /$step ]; do sleep 0.05; done; done; exit 7"
    )
    run, env = command(lab, "sh", "-c", script)
    with subprocess.Popen(run, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        (one,) = lab.client.list()
        for step, end in enumerate((lab.agent.stop, lab.agent.kill)):
            end()
            Path(f"/proc/{one.pid}/root/{step}").touch()
            lab.agent.start()
            assert process.stdout.readline() == b"%d\n" % (step + 1)
            (now,) = lab.client.list()
            assert (now.state, now.pid) == ("running", one.pid)
        Path(f"/proc/{one.pid}/root/2").touch()
        assert process.stdout.read() == b""
        assert process.wait(60) == 7
    assert lab.client.list() == []


def test_killed_it_leaves_nothing(lab: Lab, clean: None) -> None:
    run, env = command(lab, "sh", "-c", "echo up; exec sleep 1000")
    with subprocess.Popen(run, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    (one,) = lab.client.list()
    assert one.state == "running"
    assert one.pid is not None
    os.kill(one.pid, signal.SIGKILL)
    until(lambda: not lab.client.list())
