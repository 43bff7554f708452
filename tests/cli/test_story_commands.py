"""`explain`, `events` and `inspect`: what they ask, print, and end with."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from cli.imaging import DETAIL, NAME, ImageNode
from cli.terminal import LONGSHORE, environment
from cli.test_commands import WEB, spec
from fakes.node import FakeNode
from fakes.service import STORY, VOLUME
from fakes.shell import Shell
from longshore.cli import explain
from longshore.cli.picking import shown
from longshore.errors import ContainerNotFound
from longshore.model.status import ErrorStatus, StepStatus


@pytest.fixture
def web(node: FakeNode) -> FakeNode:
    node.add(WEB)
    return node


def test_explain(shell: Shell, node: FakeNode) -> None:
    lines = shell.out("explain told").splitlines()
    assert lines[0] == f"Container  told ({STORY.container.id})"
    titles = [line for line in lines if line and "  " not in line]
    assert titles == ["What happened", "What comes next"]
    text = " ".join(" ".join(lines).split())
    for wanted in (
        "ago create by test, request r1, generation 1: absent → creating",
        "creating → running: it runs (took 250.0 ms)",
        "its network is not whole cannot create container web: not enough memory",
        "exhausted limits.memory",
        "What comes next now it is started again",
    ):
        assert wanted in text
    assert node.given == [("explain", "told")]


def test_explain_as_json(shell: Shell, node: FakeNode) -> None:
    assert json.loads(shell.out("explain -o json told")) == STORY.to_dict()
    node.fail("explain", ContainerNotFound("cannot find container x: there is none"))
    assert shell.run("explain x").exit_code == 3


def test_steps_have_bars_of_their_length() -> None:
    rows = explain.steps([StepStatus(name=n, seconds=s) for n, s in (("a", 0.3), ("b", 0.1))])
    assert rows == [("a", f"300.0 ms  {'#' * 30}"), ("b", f"100.0 ms  {'#' * 10}")]
    assert explain.steps([]) == []
    assert explain.steps([StepStatus(name="a", seconds=0.0)]) == [("a", "0.0 ms")]


def test_a_failure_is_told_in_full() -> None:
    error = ErrorStatus(code="host_busy", message="cannot: busy", retry=True, hint="wait")
    assert explain.failure(error) == [
        ("Error", "cannot: busy"),
        ("Code", "host_busy, may pass"),
        ("Hint", "wait"),
    ]
    assert explain.failure(None) == []
    assert [explain.when(at, 10.0) for at in (None, 13.0, 9.0)] == ["-", "in 3 seconds", "now"]


@pytest.mark.parametrize(
    ("options", "count", "found"),
    [
        ("", 3, ["absent -> running", "health, running", "missing here: lost"]),
        ("-f container=web", 3, ["absent -> running", "health, running", "missing here: lost"]),
        ("-f kind=health", 2, ["health, running", "missing here: lost"]),
        ("-f state=running -f kind=health", 2, ["health, running", "missing here: lost"]),
        ("-f state=stopped -f container=other", 1, ["missing here: lost"]),
        ("--since 1h -f kind=health", 0, []),
    ],
)
def test_events(shell: Shell, node: FakeNode, options: str, count: int, found: list[str]) -> None:
    shell.out("run", "-d", "--name", "web", "busybox:1")
    node.happens("web", "health")
    node.gap()
    after = [] if "--since" in options else ["--after", "0"]
    with subprocess.Popen(
        [LONGSHORE, "events", *after, *options.split()],
        env=environment(shell),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.terminate()
        rest = process.stdout.read()
    assert rest == ""
    assert len(lines) == len(found)
    assert all(part in line for part, line in zip(found, lines, strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--after 0 --since 3", "give one of both"),
        ("-f frob=x", "container, kind, state"),
        ("-f container", "container, kind, state"),
        ("-f kind=frob", "kinds[0]"),
    ],
)
def test_events_that_nobody_can_mean(shell: Shell, options: str, said: str) -> None:
    result = shell.run(f"events {options}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_inspect_several(shell: Shell, web: FakeNode) -> None:
    web.add(spec(2, "db"))
    both = json.loads(shell.out("inspect web db"))
    assert [one["name"] for one in both] == ["web", "db"]
    result = shell.run("inspect web nope db")
    assert [one["name"] for one in json.loads(result.stdout)] == ["web", "db"]
    assert (result.exit_code, "cannot find container nope" in result.stderr) == (3, True)
    tables = shell.out("inspect -o table web db").split("\n\n")
    assert [table.split()[:2] for table in tables if table.startswith("Container")] == [
        ["Container", "web"],
        ["Container", "db"],
    ]


def test_inspect_images_and_volumes(shell: Shell, node: ImageNode, web: FakeNode) -> None:
    node.details[NAME] = DETAIL
    assert json.loads(shell.out("inspect centos")) == DETAIL.to_dict()
    assert json.loads(shell.out("inspect data")) == VOLUME.to_dict()
    kinds = json.loads(shell.out("inspect web data"))
    assert [one["name"] for one in kinds] == ["web", "data"]
    assert shell.out("inspect -o table data").startswith("Volume")
    assert shell.run("inspect --type image data").exit_code == 3
    assert shell.out("volume inspect -f path data lonely").splitlines() == [
        VOLUME.path,
        VOLUME.path.replace("data/data", "lonely/data"),
    ]
    assert shell.out("image inspect -f digest centos") == f"{DETAIL.digest}\n"


def test_inspect_format(shell: Shell, web: FakeNode) -> None:
    assert shell.out("inspect -f state web") == "running\n"
    assert shell.out("inspect", "-f", "{{.name}} at {{ .nics.0.address }}", "web") == (
        "web at 10.88.0.2\n"
    )
    result = shell.run("inspect -f frob web")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no frob" in result.stderr


VALUE: dict[str, Any] = {
    "name": "web",
    "labels": {"com.example.tier": "db", "com": "x"},
    "nics": [{"address": "10.0.0.1"}],
    "error": None,
    "spec": {"limits": {"cpus": 0.5}},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("name", "web"),
        (".name", "web"),
        ("labels.com.example.tier", "db"),
        ("labels.com", "x"),
        ("nics.0.address", "10.0.0.1"),
        ("nics", '[{"address": "10.0.0.1"}]'),
        ("error", ""),
        ("spec.limits.cpus", "0.5"),
        ("{{name}}/{{.spec.limits}}", 'web/{"cpus": 0.5}'),
    ],
)
def test_picking(template: str, text: str) -> None:
    assert shown(template, VALUE) == text


@pytest.mark.parametrize("path", ["frob", "nics.1", "nics.x", "name.x", "error.code", "spec.x"])
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        shown(path, VALUE)
