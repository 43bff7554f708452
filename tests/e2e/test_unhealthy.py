"""Health on real containers: what the probes of each kind see, and what follows from it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.lab.certificates import Authority
from bench.lab.image import Config, busybox_archive
from cli.terminal import LONGSHORE
from e2e.counting import strace, traced
from e2e.lab import Lab, until
from fields.proofs import proves
from longshore.model.status import ContainerStatus, HealthStatus

#: Often enough for tests.
FAST = {"interval": 0.2, "retries": 2}
_PROCESSES = ("clone", "clone3", "fork", "vfork", "execve", "execveat")


@pytest.fixture(autouse=True)
def _none_left(lab: Lab, clean: None) -> Iterator[None]:
    yield
    lab.agent.start()
    lab.delete_all()


def running(lab: Lab, health: Mapping[str, Any], **changes: Any) -> ContainerStatus:
    return lab.client.create(lab.spec(health=dict(health), **changes))


def inside(one: ContainerStatus, path: str) -> Path:
    """A file of a container that runs."""
    return Path(f"/proc/{one.pid}/root{path}")


def health(lab: Lab, one: ContainerStatus) -> HealthStatus:
    found = lab.client.show(one.id).health
    assert found is not None
    return found


def comes(lab: Lab, one: ContainerStatus, state: str) -> HealthStatus:
    def come() -> HealthStatus | None:
        found = health(lab, one)
        return found if found.state == state else None

    return until(come)


@proves("health.type", "health.port", "health.path", "health.interval", "health.retries",
        back="what its server is asked for, and what becomes of its health")  # fmt: skip
def test_http(lab: Lab) -> None:
    # What the server writes to its log for each page that it is asked for.
    one = running(
        lab,
        {"type": "http", "port": 8081, "path": "/cgi-bin/up?deep=1", **FAST},
        command=["sh", "-c", "mkdir -p /www/cgi-bin; cp /up /www/cgi-bin/up; "
                 "chmod +x /www/cgi-bin/up; exec httpd -f -p 8081 -h /www"],
        files=[{"target": "/up", "mode": 0o755,
                "content": "#!/bin/sh\necho $REQUEST_URI >> /tmp/log\ncat /tmp/answer\n"}],
        mounts=[{"type": "tmpfs", "target": "/tmp", "size": 1048576}],
    )  # fmt: skip
    unhealthy = comes(lab, one, "unhealthy")
    assert unhealthy.failures >= 2
    inside(one, "/tmp/answer").write_text("Status: 200 OK\r\n\r\nhello")
    comes(lab, one, "healthy")
    inside(one, "/tmp/answer").write_text("Status: 503 Away\r\n\r\nhello")
    assert comes(lab, one, "unhealthy").output.startswith("503")
    asked = inside(one, "/tmp/log").read_text().splitlines()
    assert set(asked) == {"/cgi-bin/up?deep=1"}


@proves("health.tls", back="what its server of TLS is asked for")
def test_https(lab: Lab, tmp_path: Path) -> None:
    archive = busybox_archive(
        tmp_path / "tls.tar", "tls:latest", programs=[Path("/usr/bin/openssl")]
    )
    with archive.open("rb") as file:
        lab.client.load_image(file)
    pem = Authority(tmp_path).issue("probed")
    one = running(
        lab,
        {"type": "http", "port": 8443, "tls": True, **FAST},
        image="tls:latest",
        command=["/usr/bin/openssl", "s_server", "-accept", "8443", "-www",
                 "-cert", "/pem", "-key", "/key"],
        files=[{"target": "/pem", "content": pem.pem.read_text()},
               {"target": "/key", "content": pem.key.read_text()}],
    )  # fmt: skip
    assert comes(lab, one, "healthy").output.startswith("200")
    lab.client.delete(one.id, force=True)
    lab.client.remove_image("tls:latest")


def test_tcp_and_what_people_are_shown(lab: Lab) -> None:
    one = running(
        lab,
        {"type": "tcp", "port": 9999, **FAST},
        command=["sh", "-c", "until [ -e /go ]; do sleep 0.1; done; exec httpd -f -p 9999"],
    )
    assert comes(lab, one, "unhealthy").output == "127.0.0.1:9999: nobody listens"
    assert "(unhealthy)" in shown(lab, "ps")
    inside(one, "/go").touch()
    assert comes(lab, one, "healthy").output.endswith(":9999")
    assert "(healthy)" in shown(lab, "ps")
    facts = shown(lab, "inspect", "-o", "table", one.name)
    assert "tcp 9999 every 0.2 s" in facts
    assert "healthy, probed" in facts
    (told,) = json.loads(shown(lab, "ps", "-o", "json"))
    assert told["health"]["state"] == "healthy"


def shown(lab: Lab, *words: str) -> str:
    env = {**os.environ, "LONGSHORE_SOCKET": str(lab.agent.socket), "COLUMNS": "200"}
    return subprocess.run(
        [LONGSHORE, *words], env=env, capture_output=True, text=True, timeout=60, check=True
    ).stdout


@proves("health.command", "health.timeout", "health.start_period",
        back="what its command writes, and what becomes of its health")  # fmt: skip
def test_commands(lab: Lab) -> None:
    script = "echo $$ $(id -u) >> /tmp/log; [ -e /tmp/hang ] && sleep 60; test -e /tmp/ok"
    one = running(
        lab,
        {"type": "exec", "command": ["sh", "-c", script], "timeout": 1.0, "start_period": 86400.0,
         "interval": 0.2, "retries": 1},
        user="1000",
        mounts=[{"type": "tmpfs", "target": "/tmp", "size": 1048576, "mode": 0o1777}],
    )  # fmt: skip
    log = inside(one, "/tmp/log")
    # Many have failed by then, and none of them counts.
    until(lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
    now = health(lab, one)
    assert (now.state, now.failures) == ("starting", 0)
    inside(one, "/tmp/ok").touch()
    comes(lab, one, "healthy")
    inside(one, "/tmp/hang").touch()
    late = comes(lab, one, "unhealthy")
    assert "not done in 1 s" in late.output
    inside(one, "/tmp/hang").unlink()
    comes(lab, one, "healthy")
    assert {line.split()[1] for line in log.read_text().splitlines()} == {"1000"}


@pytest.fixture
def checked(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """An image that has a Healthcheck of its own."""
    written = {"Test": ["CMD-SHELL", "test -e /ok || exit 3"], "Interval": 200_000_000,
               "Retries": 2}  # fmt: skip
    config = Config(healthcheck=written)
    with busybox_archive(tmp_path / "one.tar", "checked:latest", config=config).open("rb") as file:
        lab.client.load_image(file)
    yield "checked:latest"
    lab.delete_all()
    lab.client.remove_image("checked:latest")


def test_what_the_image_says_is_the_default(lab: Lab, checked: str) -> None:
    one = lab.client.create(lab.spec(image=checked))
    assert comes(lab, one, "unhealthy").output == "exit code 3"
    inside(one, "/ok").touch()
    comes(lab, one, "healthy")
    off = lab.client.create(lab.spec(image=checked, health={"type": "none"}))
    assert lab.client.show(off.id).health is None


@proves("health.on_unhealthy", "health.budget",
        back="how often its process was started again")  # fmt: skip
def test_it_is_restarted_until_the_budget_is_used_up_over_the_agents_deaths(lab: Lab) -> None:
    volume = lab.volume("runs")
    one = running(
        lab,
        {"type": "tcp", "port": 9, **FAST, "on_unhealthy": "restart", "budget": 3},
        command=["sh", "-c", "echo run >> /runs/log; exec sleep 1000"],
        mounts=[{"type": "bind", "source": str(volume), "target": "/runs"}],
        stop_grace=0,
    )
    log = volume / "log"
    runs = 1
    while True:
        until(lambda: len(log.read_text().splitlines()) > runs)  # noqa: B023
        runs = len(log.read_text().splitlines())
        lab.agent.kill()
        lab.agent.start()
        if runs >= 4:
            break
    until(lambda: "it is left so" in lab.client.show(one.id).reason)
    left = lab.client.show(one.id)
    assert left.state == "running"
    assert left.health is not None
    assert len(left.health.acted) == 3
    assert "restart came 3 times within an hour" in left.reason
    assert log.read_text() == "run\n" * 4


@pytest.mark.parametrize(("act", "desired"), [("stop", "stopped"), ("kill", "running")])
def test_it_is_ended_and_says_why(lab: Lab, act: str, desired: str) -> None:
    one = running(lab, {"type": "tcp", "port": 9, **FAST, "on_unhealthy": act}, stop_grace=1)
    until(lambda: lab.client.show(one.id).state == "stopped")
    ended = lab.client.show(one.id)
    assert ended.desired == desired
    assert f"it was unhealthy (127.0.0.1:9: nobody listens), and on_unhealthy is {act}" in (
        ended.reason
    )


def test_what_is_frozen_is_not_probed(lab: Lab) -> None:
    one = running(lab, {"type": "tcp", "port": 80, **FAST, "retries": 1, "timeout": 0.3})
    comes(lab, one, "healthy")
    lab.client.pause(one.id)
    at = health(lab, one).at
    # Others are probed meanwhile, again and again.
    other = running(lab, {"type": "tcp", "port": 80, **FAST})
    comes(lab, other, "healthy")
    assert health(lab, one).at == at
    lab.client.unpause(one.id)
    until(lambda: health(lab, one).at != at)
    assert health(lab, one).state == "healthy"


def test_probes_make_no_process(lab: Lab, tmp_path: Path) -> None:
    ones = [
        running(lab, {"type": "http", "port": 80, **FAST}),
        running(lab, {"type": "tcp", "port": 80, **FAST}),
    ]
    for one in ones:
        comes(lab, one, "healthy")
    output = tmp_path / "strace"
    with strace(lab.agent.pid, output, *_PROCESSES, "connect"):
        until(lambda: len(traced(output, r"connect\(.*htons\(80\)")) >= 10)
    started = traced(output, rf"\b({'|'.join(_PROCESSES)})\(")
    assert [line for line in started if "CLONE_THREAD" not in line] == []
