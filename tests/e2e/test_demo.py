"""`make demo` as a user runs it, whether to its end or not; then the host is looked at."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import kombu
import pytest

from bench.demo.screen import Broken, Screen
from bench.demo.speed import Comparison, judge
from bench.demo.stage import CHECKOUT, Stage
from bench.lab import process
from bench.lab.host import Scope, audit
from bench.lab.rabbitmq import PrivateRabbit
from bench.readme import README
from longshore.bus.transport import EXCHANGE, queue
from longshore.lifecycle.create import CREATE
from longshore.local.client import LocalClient

_DEMO = (sys.executable, "-m", "bench.demo")
_RUNS = "the answer after"


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    assert Stage({}).left() == []
    assert not Stage({}).pointer.exists()


def test_the_demo_shows_the_main_job_and_leaves_nothing() -> None:
    done = _run("--no-goal", "--creates", "20")
    assert (done.returncode, done.stderr) == (0, "")
    for promised in (
        r"docker\.io/library/busybox:latest \(1\.\d+ MiB, sha256:",
        r"Runtime +crun|Runtime +runc",
        r"rabbitmq +up +\d",
        r"web +\S*busybox:latest .* Up ",
        r"ok: http://127\.0\.0\.1:\d+/ answers 'Longshore: hello",
        r"serving /www",
        r"ok: the kernel has each limit as asked",
        r"ok: agent \d+ finds it running: process \d+, as before",
        r"ok: stopped by its SIGTERM, exit code 0",
        r"over the bus, with network, limits, port, mount +\d",
        r"bare containerd calls from Python, no network +\d",
        r"ratio \d+\.\d\d; the goal is at most 1\.5\n",
        r"\nnot judged here: --no-goal\n",
        r"ok: nothing is left of 43 containers",
        r"ok: no process, mount, interface, nft table, cgroup or file of the demo is on the host",
        r"\ntogether +\d",
    ):
        assert re.search(promised, done.stdout), promised
    for kind in ("process", "mount", "network namespace", "veth", "nft element", "cgroup",
                 "snapshot", "lease"):  # fmt: skip
        assert re.search(rf"^{kind} +0$", done.stdout, re.MULTILINE), kind
    assert done.stdout.count("finds it running") == 2
    for heading in re.findall(r"^== .*$", README.read_text(), re.MULTILINE):
        assert heading in done.stdout  # else the README's transcript is of another demo
    for step in CREATE:
        assert re.search(rf"^    {step.name} +\d+\.\d ms$", done.stdout, re.MULTILINE), step.name


def _compared(ratio: float) -> Comparison:
    return Comparison([ratio], [1.0], [{"process": ratio}], [{"process": 1.0}], [])


@pytest.mark.parametrize("ratios", [(1.5,), (1.6, 1.5)])
def test_the_goal_is_met_at_the_second_measurement_at_the_latest(ratios: tuple[float, ...]) -> None:
    measured = iter(map(_compared, ratios))
    assert [one.ratio for one in judge(Screen(), lambda: next(measured))] == [*ratios]
    assert next(measured, None) is None


def test_a_goal_that_is_missed_twice_is_said() -> None:
    measured = iter(map(_compared, (1.7, 1.51)))
    with pytest.raises(
        Broken, match=r"at most 1\.5 times the bare calls; instead: 1\.70 and 1\.51"
    ):
        judge(Screen(), lambda: next(measured))


def test_a_demo_that_misses_its_goal_fails_and_leaves_nothing() -> None:
    # No create takes a hundredth of what its own containerd calls take.
    program = """\
import sys
from bench.demo import __main__, speed
speed.GOAL = 0.01
sys.exit(__main__.main(["--creates", "1"]))"""
    done = _ran(sys.executable, "-c", program)
    assert done.returncode == 1
    assert done.stdout.count("the goal is at most 0.01") == 2
    assert re.search(
        r"the demo has failed: not so: a create takes at most 0\.01 times the bare calls; "
        r"instead: \d+\.\d\d and \d+\.\d\d\n",
        done.stderr,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing(number: int, code: int) -> None:
    with _started() as demo:
        demo.send_signal(number)
        assert demo.wait(60) == code
    assert _run("--stop").stdout.startswith("there is no demo to end\n")


def test_a_killed_demo_is_cleared_by_the_next_command() -> None:
    with _started() as demo:
        demo.kill()
        demo.wait(60)
    assert len(Stage({}).left()) > 5
    ended = _run("--stop")
    assert ended.stdout.startswith("the demo is ended and removed\n")
    assert ended.returncode == 0


def test_two_demos_at_once_do_not_end_each_other() -> None:
    with Stage({}).alone():
        second = _run("--stop")
    assert second.returncode == 1
    assert "another one runs in this checkout" in second.stderr


def test_a_neighbour_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = _run(env={"LONGSHORE_CONTAINERD": str(tmp_path / "no.sock")})
    assert done.returncode == 1
    assert f"LONGSHORE_CONTAINERD={tmp_path}/no.sock: it is no socket" in done.stderr
    assert "Traceback" not in done.stderr


def test_neighbours_in_use_are_given_back_as_they_were(neighbours: Mapping[str, str]) -> None:
    stage = Stage(neighbours)
    kept = _run("--keep", "--no-goal", "--creates", "1", env=neighbours)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert "make demo-stop" in kept.stdout
    assert stage.pointer.read_text().strip() == str(stage.folder)
    with LocalClient(stage.agent.socket) as client:
        assert [(one.name, one.state) for one in client.list()] == [("web", "running")]
    assert set(_namespaces(neighbours)) == {"mine", stage.namespace, stage.bare_namespace}
    assert _queue_exists(neighbours, queue(stage.node))

    # As another shell would, which does not know of them.
    assert _run("--stop").returncode == 0
    assert _namespaces(neighbours) == ["mine"]
    assert not _queue_exists(neighbours, queue(stage.node))
    assert not _queue_exists(neighbours, EXCHANGE)


@pytest.fixture
def neighbours() -> Iterator[Mapping[str, str]]:
    """A containerd and a broker that are somebody's."""
    with tempfile.TemporaryDirectory(prefix="lsh-") as name:
        folder = Path(name)
        address, log, pid_file = folder / "c.sock", folder / "c.log", folder / "c.pid"
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{name}/root"\nstate = "{name}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{address}"\n'
        )
        # Not the lab's: that one sees no mounts but those in its own folder.
        child = process.start(["containerd", "-c", config], log=log, pid_file=pid_file)
        try:
            process.wait_until(address.exists, child, deadline=30.0, log=log)
            found = {"LONGSHORE_CONTAINERD": str(address)}
            _ctr(found, "namespaces", "create", "mine")
            with PrivateRabbit(folder) as rabbit:
                yield {**found, "LONGSHORE_TRANSPORT_URL": rabbit.url}
        finally:
            process.end(process.recorded(pid_file))
        assert audit(Scope(folders=[folder], ids=[])) == []


def _run(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return _ran(*_DEMO, *words, env=env)


def _ran(*command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def _started() -> subprocess.Popen[str]:
    """A demo whose container runs just now."""
    demo = subprocess.Popen(
        _DEMO, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if _RUNS in line:
            return demo
    raise AssertionError(f"the demo ended with {demo.wait()} before its container ran")


def _ctr(neighbours: Mapping[str, str], *words: str) -> str:
    command = ["ctr", "--address", neighbours["LONGSHORE_CONTAINERD"], *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def _namespaces(neighbours: Mapping[str, str]) -> list[str]:
    return _ctr(neighbours, "namespaces", "ls", "-q").split()


def _queue_exists(neighbours: Mapping[str, str], name: str) -> bool:
    url = neighbours["LONGSHORE_TRANSPORT_URL"].replace("rabbit://", "amqp://")
    with kombu.Connection(url) as connection:
        try:
            connection.channel().queue_declare(name, passive=True)
        except connection.channel_errors:
            return False
    return True
