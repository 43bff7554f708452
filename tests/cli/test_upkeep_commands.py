"""`ps`, `wait`, `container prune` and `plan`: what they ask, print, and end with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from uuid import uuid4

import pytest

from cli.imaging import ImageNode
from fakes.service import PLAN, PRUNED_CONTAINERS, container
from fakes.shell import Shell
from longshore.errors import Conflict, DeadlineExceeded
from longshore.model.filters import Filter
from longshore.model.spec import parse
from longshore.model.status import PlanStatus

ACTIVE = (
    *("creating", "deleting", "paused", "restarting", "running"),
    *("starting", "stopping"),
)


def made(node: ImageNode, name: str, state: str = "running", **changes: object) -> str:
    spec = parse({"id": str(uuid4()), "name": name, "image": "web:1"})
    status = container(spec, state).model_copy(update={"started_at": 2.0, **changes})
    node.containers[spec.id] = node.containers[name] = status
    return spec.id


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", Filter(states=ACTIVE)),
        ("-a", Filter()),
        ("-f status=exited", Filter(states=("stopped",))),
        ("-f status=removing -f status=failed", Filter(states=("deleting", "failed"))),
        ("-a -f label=a=b -f label=c", Filter(labels=("a=b", "c"))),
        ("-f name=^w -f id=a1", Filter(names=("^w",), ids=("a1",), states=ACTIVE)),
        ("-a -f ancestor=web:1", Filter(images=("web:1",))),
        ("-a --filter health=unhealthy", Filter(health=("unhealthy",))),
        ("-a --sort -name", Filter(sort="-name")),
        ("-n 3", Filter(sort="-created", limit=3)),
        ("--latest -f label=x", Filter(sort="-created", limit=1, labels=("x",))),
    ],
)
def test_ps_asks(shell: Shell, node: ImageNode, options: str, expected: Filter) -> None:
    shell.out(f"ps {options}")
    shell.out(f"container ls {options}")
    assert node.filters == [expected, expected]


def test_ps_prints(shell: Shell, node: ImageNode) -> None:
    one, other = made(node, "web"), made(node, "db", "stopped")
    assert shell.out("ps -q") == f"{one[:8]}\n"
    assert shell.out("ps -aq --no-trunc --sort name") == f"{other}\n{one}\n"
    (shown,) = json.loads(shell.out("ps -o json -f status=exited"))
    assert shown["name"] == "db"


@pytest.mark.parametrize(
    "options", ["-f size=1", "-f label", "-f label=", "-n 0", "-n 1 --sort name", "--sort size"]
)
def test_ps_refuses(shell: Shell, options: str) -> None:
    assert shell.run(f"ps {options}").exit_code == 2


def test_wait_prints_exit_codes(shell: Shell, node: ImageNode) -> None:
    made(node, "a", "stopped", exit_code=3)
    made(node, "b", "stopped", exit_code=137)
    made(node, "new", "created", started_at=None)
    made(node, "lost", "stopped")
    assert shell.out("wait a b new lost") == "3\n137\n0\n-\n"
    assert shell.out("wait --condition running a b") == "a\nb\n"
    assert [one["exit_code"] for one in json.loads(shell.out("wait -o json a b"))] == [3, 137]
    conditions = [given[2] for given in node.given if given[0] == "wait"]
    assert conditions == ["not-running"] * 4 + ["running"] * 2 + ["not-running"] * 2
    assert shell.run("wait --condition happy a").exit_code == 2


def test_wait_of_what_does_not_come(shell: Shell, node: ImageNode) -> None:
    made(node, "a", "stopped", exit_code=0)
    late = DeadlineExceeded("cannot wait any longer", details={"condition": "removed"})
    node.fail("wait", late)
    result = shell.run("wait --condition removed --timeout 5 a")
    assert (result.exit_code, result.stdout) == (6, "")
    node.fail("wait", Conflict("cannot wait for container a to be healthy: nothing is probed"))
    result = shell.run("wait --condition healthy a")
    assert (result.exit_code, result.stdout) == (5, "")
    result = shell.run("wait nobody a")
    assert (result.exit_code, result.stdout) == (3, "0\n")


def test_prune(shell: Shell, node: ImageNode) -> None:
    result = shell.run("container prune --filter label=a=b --filter until=24h -f")
    assert (result.exit_code, result.stdout) == (1, "old\nolder\n")
    assert "cannot delete" in result.stderr
    verb, labels, age = node.given[-1]
    assert (verb, labels) == ("prune_containers", ("a=b",))
    assert age == pytest.approx(86400)
    shown = json.loads(shell.run("container prune -f -o json").stdout)
    assert shown == PRUNED_CONTAINERS.to_dict()


@pytest.mark.parametrize(
    ("text", "age"), [("1h30m", 5400), ("2d", 172800), ("45s", 45), ("2099-01-01", 0)]
)
def test_until(shell: Shell, node: ImageNode, text: str, age: float) -> None:
    shell.run(f"container prune -f --filter until={text}")
    assert node.given[-1][2] == pytest.approx(age, abs=1)


@pytest.mark.parametrize("text", ["until=", "until=soon", "until=nan", "label=", "name=x", "x"])
def test_what_is_no_filter_of_prune(shell: Shell, node: ImageNode, text: str) -> None:
    assert shell.run(f"container prune -f --filter {text}").exit_code == 2
    assert node.given == []


@pytest.mark.parametrize(
    ("options", "patch"),
    [
        ("--memory 1g --cpus 2", {"limits": {"memory": 2**30, "cpus": 2.0}}),
        ("-e A=1 --env-rm B", {"env": {"A": "1", "B": None}}),
        ("-l a=b --label-rm c", {"labels": {"a": "b", "c": None}}),
        ("--image web:2", {"image": "web:2"}),
        ("--command 'sh -c \"echo hi\"'", {"command": ["sh", "-c", "echo hi"]}),
        ("-p 8080:80", {"ports": [{"container_port": 80, "host_port": 8080}]}),
        ("--network host", {"host_network": True, "nics": []}),
        ("--ip 10.1.2.3", {"host_network": None, "nics": [{"address": "10.1.2.3"}]}),
        ('--patch \'{"env": {"A": null}}\'', {"env": {"A": None}}),
        (
            '--patch \'{"env": {"A": null, "B": "2"}}\' -e A=1 --init',
            {"env": {"A": "1", "B": "2"}, "init": True},
        ),
    ],
)
def test_plan_asks(shell: Shell, node: ImageNode, options: str, patch: dict[str, object]) -> None:
    shell.run(*shlex.split(f"plan web {options}"))
    (given,) = node.given
    assert given[:2] == ("plan", "web")
    assert given[2] == patch


def test_plan_of_a_file(shell: Shell, node: ImageNode, tmp_path: Path) -> None:
    file = tmp_path / "patch.json"
    file.write_text('{"tty": true, "limits": {"pids": 5}}')
    shell.run(f"plan web -f {file} --pids-limit 7")
    assert node.given == [("plan", "web", {"tty": True, "limits": {"pids": 7}})]


@pytest.mark.parametrize(
    "options", ["", "--patch [1]", "--patch {", "-f /nonexistent", "--command 'a \"'"]
)
def test_plan_refuses(shell: Shell, node: ImageNode, options: str) -> None:
    assert shell.run(*shlex.split(f"plan web {options}")).exit_code == 2
    assert node.given == []


def test_plan_prints(shell: Shell, node: ImageNode, monkeypatch: pytest.MonkeyPatch) -> None:
    result = shell.run("plan web --init")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["FIELD", "NOW", "THEN", "WHEN", "WHY"]
    assert lines[1].split()[:4] == ["env[A]", "-", "1", "restart"]
    assert "1 TiB" in lines[2]
    assert lines[4] == "web: it has to be started again"
    assert lines[5].startswith("this node would not take it: cannot create container web: not")
    assert json.loads(shell.run("plan web --init -o json").stdout) == PLAN.to_dict()
    monkeypatch.setattr(node, "plan", lambda *_: PlanStatus(when="nothing"))
    assert shell.out("plan web --init") == "web: nothing would change\n"
