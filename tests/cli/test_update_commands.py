"""`update`, `rollback`, `rebuild` and `versions`: what they ask, print, and end with."""

from __future__ import annotations

import json
import shlex
import signal
from typing import Any

import pytest

from bus.kit import until
from cli.imaging import ImageNode
from cli.terminal import on_a_terminal
from fakes.node import NOW, status
from fakes.service import PLAN, VERSIONS
from fakes.shell import Shell
from longshore.cli.facts import version_text
from longshore.cli.tables import status_text
from longshore.cli.updating import effect
from longshore.errors import (
    ContainerNotFound,
    DeadlineExceeded,
    HostBusy,
    InvalidRequest,
    StartFailed,
    UpdateTakenBack,
)
from longshore.model.spec import parse
from longshore.model.status import ContainerStatus, FieldChange
from longshore.model.transfer import Auth, Credential, PullPolicy

ID = "6f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001"
TAKEN_BACK = UpdateTakenBack(
    "cannot update container web: version 2 is no good: its process ended at once; version 1 is "
    "in use again",
    object="web",
    details={"version": 2, "previous": 1, "why": StartFailed("it ended").to_dict()},
)


def one(name: str = "web", **changes: Any) -> ContainerStatus:
    made = status(parse({"id": ID, "name": name, "image": "busybox:1"}), "running")
    return made.model_copy(update=changes)


@pytest.fixture(autouse=True)
def containers(node: ImageNode) -> None:
    for number, name in enumerate(("web", "db")):
        made = one(name, id=f"{ID[:-1]}{number}")
        node.containers[made.id] = made


def changing(node: ImageNode) -> list[tuple[Any, ...]]:
    verbs = ("update", "rollback", "rebuild")
    return [given for given in node.given if given[0] in verbs]


@pytest.mark.parametrize(
    ("options", "patch", "apply"),
    [
        ("--memory 1g --cpus 2", {"limits": {"memory": 2**30, "cpus": 2.0}}, "now"),
        ("-m 1g --restart always", {"limits": {"memory": 2**30}, "restart": {"policy": "always"}},
         "now"),
        ("--apply restart -e A=1 --env-rm B", {"env": {"A": "1", "B": None}}, "restart"),
        ('--patch \'{"env": {"A": null}}\' --init', {"env": {"A": None}, "init": True}, "now"),
    ],
)  # fmt: skip
def test_update_asks(
    shell: Shell, node: ImageNode, options: str, patch: dict[str, Any], apply: str
) -> None:
    shell.out(*shlex.split(f"update {options} web db"))
    assert changing(node) == [("update", name, patch, apply) for name in ("web", "db")]
    assert [request.wait for request in node.requests] == [None, None]
    assert len({request.id for request in node.requests}) == 2


def test_update_prints(shell: Shell, node: ImageNode) -> None:
    lines = shell.out("update -e A=1 web").splitlines()
    assert lines[0].split() == ["FIELD", "WAS", "IS", "WHEN", "WHY"]
    assert lines[1].split()[:4] == ["env[A]", "-", "1", "restart"]
    assert lines[4:] == ["web: version 2 is in use; its process went on"]
    assert ("compare_versions", f"{ID[:-1]}0", 1, 2) in node.given
    detached = shell.out("update -d --apply restart -e A=1 web").splitlines()
    assert detached[-1] == "web: version 3 is on its way"
    assert node.requests[-1].wait == "accepted"
    shown = json.loads(shell.out("update -o json -e A=1 web db"))
    assert [(each["name"], each["version"]) for each in shown] == [("web", 4), ("db", 2)]
    assert [given[0] for given in node.given[-2:]] == ["update", "update"]


def test_update_of_what_is_gone_by_then(shell: Shell, node: ImageNode) -> None:
    node.fail("compare_versions", ContainerNotFound("cannot find container web: there is none"))
    assert shell.out("update --init web") == "web: version 2 is in use; its process went on\n"


@pytest.mark.parametrize(
    ("before", "now", "when", "says"),
    [
        ({}, {}, "live", "nothing changed; version 1 is in use"),
        ({"pending_version": 2}, {}, "live", "nothing changed; version 1 is in use"),
        ({}, {"version": 2}, "live", "version 2 is in use; its process went on"),
        ({}, {"version": 2, "started_at": NOW + 1}, "restart",
         "version 2 is in use; it was started again"),
        ({}, {"version": 2, "started_at": NOW + 1}, "recreate",
         "version 2 is in use; it was made anew around its files"),
        ({}, {"pending_version": 2}, "restart", "version 2 waits until it is started again"),
        ({"state": "stopped"}, {"state": "stopped", "version": 2}, "restart",
         "version 2 is what it will be started with"),
    ],
)  # fmt: skip
def test_what_a_change_did(
    before: dict[str, Any], now: dict[str, Any], when: str, says: str
) -> None:
    changes = [FieldChange(field="a", when=when, why="")]
    assert effect(one(**before), one(**now), changes, detach=False) == says


@pytest.mark.parametrize("now", [{"pending_version": 2}, {"version": 2, "previous_version": 1}])
def test_what_is_not_waited_for(now: dict[str, Any]) -> None:
    assert effect(one(), one(**now), (), detach=True) == "version 2 is on its way"


def test_one_that_is_taken_back(shell: Shell, node: ImageNode) -> None:
    """The rest goes on; and it says which version serves."""
    node.fail("update", TAKEN_BACK)
    result = shell.run("update --init web db")
    assert (result.exit_code, result.stderr) == (1, f"longshore: {TAKEN_BACK.message}\n")
    assert result.stdout.splitlines()[-1] == "db: version 2 is in use; its process went on"
    node.fail("rollback", TAKEN_BACK)
    result = shell.run("rollback -o json web")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr) == TAKEN_BACK.to_dict()


def test_it_waits_for_the_verdict(shell: Shell, node: ImageNode) -> None:
    node.fail("update", *[DeadlineExceeded("on trial", details={"on_trial": True})] * 3)
    shell.out("update --init web")
    assert (node.calls["update"], node.done["update"]) == (4, 1)


def test_other_failures(shell: Shell, node: ImageNode) -> None:
    for error, code in (
        (HostBusy("cannot update: version 2 is on trial"), 4),
        (InvalidRequest("cannot roll back"), 2),
        (DeadlineExceeded("no answer"), 6),
    ):
        node.fail("rollback", error)
        assert shell.run("rollback web").exit_code == code
    assert shell.run("rollback nobody").exit_code == 3


@pytest.mark.parametrize(
    "words",
    [
        *("update web", "update --init", "update web --apply soon --init", "update web --patch ["),
        *("rollback", "rollback web 0", "rollback web two", "rebuild web", "versions"),
        *("rebuild --pull sometimes web web:2", "versions web --diff 1", "versions --diff 0 1 web"),
    ],
)
def test_usage(shell: Shell, node: ImageNode, words: str) -> None:
    assert shell.run(words).exit_code == 2
    assert node.given == []


def test_rollback(shell: Shell, node: ImageNode) -> None:
    last = "web: version 2 is in use; its process went on"
    assert shell.out("rollback web").splitlines()[-1] == last
    shell.out("rollback --apply restart web 3")
    shown = json.loads(shell.out("rollback -d -o json web"))
    assert (shown["name"], shown["version"]) == ("web", 4)
    assert changing(node) == [
        ("rollback", "web", None, "now"),
        ("rollback", "web", 3, "restart"),
        ("rollback", "web", None, "now"),
    ]
    assert node.requests[-1].wait == "accepted"


def test_rebuild(shell: Shell, node: ImageNode) -> None:
    said = "web: version 2 is in use, made of busybox:1\n"
    assert shell.out("rebuild web busybox:1") == said
    assert node.asked == []
    # One that is not here is pulled first, for all to see.
    result = shell.run("rebuild --user ci --password-stdin web web:2", input=b"pw\n")
    assert (result.exit_code, result.stdout) == (0, "web: version 3 is in use, made of web:2\n")
    assert [asked[:2] for asked in node.asked] == [("pull_image", "web:2")]
    assert "done" in result.stderr
    shown = json.loads(shell.run("rebuild -q -d --pull always -o json web web:2").stdout)
    assert shown["version"] == 4
    assert node.requests[-1].wait == "accepted"
    auth = Auth(Credential("ci", "pw"))
    assert changing(node) == [
        ("rebuild", "web", "busybox:1", PullPolicy.IF_NOT_PRESENT, Auth()),
        ("rebuild", "web", "web:2", PullPolicy.IF_NOT_PRESENT, auth),
        ("rebuild", "web", "web:2", PullPolicy.ALWAYS, Auth()),
    ]
    assert shell.run("rebuild --pull never web web:9").exit_code == 3
    assert len(changing(node)) == 3


def test_versions(shell: Shell, node: ImageNode) -> None:
    lines = shell.out("versions web").splitlines()
    assert lines[0].split() == ["VERSION", "STATE", "ASKED", "BY", "CHANGES", "WHY"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert "taken back" in lines[2]
    assert lines[2].endswith("env[A], limits.memory, mounts  its process ended at once")
    shown = json.loads(shell.out("versions -o json web"))
    assert shown == [version.to_dict() for version in VERSIONS]


def test_versions_compared(shell: Shell, node: ImageNode, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shell.out("versions --diff 1 3 web").splitlines()
    assert lines[0].split() == ["FIELD", "VERSION", "1", "VERSION", "3", "WHEN", "WHY"]
    assert "1 TiB" in lines[2]
    assert node.given == [("compare_versions", "web", 1, 3)]
    shown = json.loads(shell.out("versions web --diff 1 3 -o json"))
    assert shown == [change.to_dict() for change in PLAN.changes]
    monkeypatch.setattr(node, "compare_versions", lambda *_: ())
    assert shell.out("versions --diff 1 3 web") == "web: versions 1 and 3 are the same\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("update --init web", "left the update of web; it goes on: longshore versions web"),
        ("rollback web", "left the rollback of web; it goes on: longshore versions web"),
        ("rebuild web busybox:1", "left the rebuild of web; it goes on: longshore explain web"),
    ],
)
def test_a_signal_leaves_it_to_the_agent(
    shell: Shell, node: ImageNode, words: str, left: str, number: signal.Signals
) -> None:
    held = node.hold(words.split()[0])
    with on_a_terminal(shell, *words.split()) as terminal:
        until(lambda: changing(node))
        terminal.process.send_signal(number)
        assert terminal.end() == 130
    held.set()
    assert f"longshore: {left}" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_version_is_shown(shell: Shell, node: ImageNode) -> None:
    assert version_text(one()) == "1"
    on_trial = one(version=3, previous_version=2)
    assert version_text(on_trial) == "3 (on trial; 2 comes back if it is no good)"
    assert version_text(one(version=2, pending_version=3)) == "2 (3 once it is started again)"
    assert status_text(on_trial, NOW + 1) == "Up 1 second, on trial"
    node.containers[f"{ID[:-1]}0"] = on_trial
    for words in ("inspect -o table web", f"explain {ID[:-1]}0"):
        assert "3 (on trial; 2 comes back" in shell.out(words)
    shown = json.loads(shell.out("inspect web"))
    assert (shown["version"], shown["previous_version"], shown["pending_version"]) == (3, 2, None)
