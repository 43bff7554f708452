"""update, rollback, rebuild and versions as an operator types them and a scheduler asks for them,
on a real containerd and kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.lab import Lab, code_of, until
from e2e.probes import kernel_limit, page_if_served
from fakes.shell import Shell
from longshore.bus.client import ComputeClient
from longshore.errors import UpdateTakenBack
from longshore.model.status import ContainerStatus

pytestmark = pytest.mark.usefixtures("clean")

MIB = 2**20
#: Which of the images it is made of and what its variable says is on its page.
SERVE = "echo run >> /data/runs; cp /etc/which /www/which; echo $WORD > /www/word; "
HTTPD = ["sh", "-c", SERVE + "exec httpd -f -p 80 -h /www"]
SECOND = "longshore.test/second:1"


@pytest.fixture
def shell(lab: Lab) -> Shell:
    return Shell(lab.agent.socket)


@pytest.fixture
def node(lab: Lab) -> str:
    return lab.client.node_status().name


@pytest.fixture
def web(lab: Lab) -> Iterator[ContainerStatus]:
    """It serves a page at a port of the node, and has a volume."""
    made = lab.client.create(
        lab.spec(
            name="web",
            command=["sh", "-c", "echo first > /etc/which; " + HTTPD[2]],
            env={"WORD": "one"},
            ports=[{"container_port": 80}],
            limits={"memory": 64 * MIB},
            mounts=[{"type": "volume", "name": "by-hand", "target": "/data"}],
        )
    )
    assert serves(made, "word") == "one"
    yield made
    lab.client.delete("web", force=True)
    lab.client.remove_volume("by-hand")


@pytest.fixture
def other(lab: Lab) -> Iterator[ContainerStatus]:
    yield lab.client.create(lab.spec(name="other", command=["sleep", "600"]))
    lab.client.delete("other", force=True)


@pytest.fixture
def second(lab: Lab) -> Iterator[str]:
    """Another image, of the same programs."""
    mark = lab.client.create(
        lab.spec(command=["sh", "-c", "echo second > /etc/which; exec sleep 600"])
    )
    until(lambda: lab.client.diff(mark.id))
    lab.client.commit(mark.id, SECOND)
    lab.client.delete(mark.id, force=True)
    yield SECOND
    lab.client.remove_image(SECOND)


def serves(one: ContainerStatus, path: str) -> str:
    """What its page says, once it is there, at the port where it has been from the beginning."""
    port = one.ports[0].host_port
    return until(lambda: page_if_served("127.0.0.1", port, f"/{path}")).decode().strip()


def limit_of(one: ContainerStatus) -> int:
    assert one.pid is not None
    return kernel_limit(one.pid, "memory")


def runs(lab: Lab, one: ContainerStatus) -> int:
    return int(_inside(lab, one, "wc", "-l", "/data/runs").split()[0])


def _inside(lab: Lab, one: ContainerStatus, *command: str) -> str:
    shell = Shell(lab.agent.socket)
    return shell.out("exec", one.id, *command)


def test_a_limit_is_changed_while_it_runs(
    lab: Lab, shell: Shell, nodes: ComputeClient, node: str, web: ContainerStatus
) -> None:
    assert limit_of(web) == 64 * MIB
    lines = shell.out("update --memory 96m web").splitlines()
    assert lines[1].split()[:6] == ["limits.memory", "64", "MiB", "96", "MiB", "live"]
    assert lines[-1] == "web: version 2 is in use; its process went on"
    now = lab.client.show("web")
    assert (now.pid, now.version) == (web.pid, 2)
    assert limit_of(now) == 96 * MIB
    again = nodes.update(node, "web", {"limits": {"memory": 128 * MIB}})
    assert (again.pid, again.version) == (web.pid, 3)
    assert limit_of(again) == 128 * MIB
    assert shell.out("update --memory 128m web") == "web: nothing changed; version 3 is in use\n"


def test_a_command_is_changed_and_comes_back(
    lab: Lab, shell: Shell, nodes: ComputeClient, node: str, web: ContainerStatus
) -> None:
    lines = shell.out("update -e WORD=two web").splitlines()
    assert lines[1].split()[:4] == ["env[WORD]", "one", "two", "restart"]
    assert lines[-1] == "web: version 2 is in use; it was started again"
    changed = lab.client.show("web")
    assert (changed.nics, changed.ports) == (web.nics, web.ports)
    assert (serves(web, "word"), changed.pid != web.pid) == ("two", True)

    # What is to wait does, over the bus too, until something else starts it.
    waits = nodes.update(node, "web", {"env": {"WORD": "three"}}, apply="restart")
    assert (waits.version, waits.pending_version, waits.pid) == (2, 3, changed.pid)
    assert serves(web, "word") == "two"
    assert "2 (3 once it is started again)" in shell.out("inspect -o table web")
    shell.out("restart -t 0 web")
    assert serves(web, "word") == "three"

    assert shell.out("rollback web 1").splitlines()[-1] == (
        "web: version 4 is in use; it was started again"
    )
    assert serves(web, "word") == "one"
    back = nodes.rollback(node, "web", 2)
    assert (back.version, serves(web, "word")) == (5, "two")
    assert runs(lab, web) == 5

    versions = json.loads(shell.out("versions -o json web"))
    assert [(each["number"], each["state"]) for each in versions] == [
        *((number, "earlier") for number in (1, 2, 3, 4)),
        (5, "in use"),
    ]
    assert [each.to_dict() for each in nodes.versions(node, "web")] == versions
    difference = shell.out("versions --diff 1 3 web").splitlines()
    assert difference[1].split()[:4] == ["env[WORD]", "one", "three", "restart"]
    assert [one.field for one in nodes.compare_versions(node, "web", 1, 3)] == ["env[WORD]"]
    assert shell.out("versions --diff 2 5 web") == "web: versions 2 and 5 are the same\n"
    assert shell.run("versions --diff 1 9 web").exit_code == 2


def test_one_that_cannot_start_is_taken_back(
    lab: Lab, shell: Shell, nodes: ComputeClient, node: str, web: ContainerStatus
) -> None:
    for words in (["--command", "nonesuch"], ["--command", "sh -c 'exit 7'"]):
        result = shell.run("update", "-e", "WORD=bad", *words, "web")
        assert result.exit_code == 1
        assert "is no good" in result.stderr
        assert "version 1 is in use again" in result.stderr
        now = lab.client.show("web")
        assert (now.state, now.version, now.ports) == ("running", 1, web.ports)
        assert serves(web, "word") == "one"
    with pytest.raises(UpdateTakenBack) as caught:
        nodes.update(node, "web", {"command": ["nonesuch"]})
    assert (caught.value.details["version"], caught.value.details["previous"]) == (4, 1)
    assert serves(web, "word") == "one"
    assert runs(lab, web) == 4
    states = [one.state for one in lab.client.versions("web")]
    assert states == ["in use", "taken back", "taken back", "taken back"]
    assert "version 4 was taken back" in shell.out("explain web")


def test_rebuild_keeps_address_and_volume(
    lab: Lab, shell: Shell, nodes: ComputeClient, node: str, web: ContainerStatus, second: str
) -> None:
    shell.out("update", "--command", f"sh -c '{HTTPD[2]}'", "web")
    _inside(lab, web, "touch", "/layer")
    assert serves(web, "which") == "first"
    said = shell.out(f"rebuild web {second}")
    assert said == f"web: version 3 is in use, made of {second}\n"
    anew = lab.client.show("web")
    assert (anew.nics, anew.ports, anew.image) == (web.nics, web.ports, second)
    assert serves(web, "which") == "second"
    assert runs(lab, web) == 3
    assert code_of(lambda: lab.client.copy_out("web", "/layer")) == "path_not_found"
    # It is the image's own file that is there now: what the first wrote is not in this layer.
    again = nodes.rebuild(node, "web", "busybox:latest")
    assert (again.version, again.ports) == (4, web.ports)
    assert code_of(lambda: nodes.rebuild(node, "web", "none.test/x:1", "never")) == (
        "image_not_found"
    )


def test_detached_and_several(
    lab: Lab, shell: Shell, web: ContainerStatus, other: ContainerStatus
) -> None:
    said = shell.out("update -d -e A=1 web other").splitlines()
    assert [line for line in said if ": " in line] == [
        "web: version 2 is on its way",
        "other: version 2 is on its way",
    ]
    for one in (web, other):
        until(lambda ref=one.id: is_settled(lab, ref, 2))  # type: ignore[misc]  # the loop's own
    shown: list[dict[str, Any]] = json.loads(shell.out("update -o json --pids-limit 9 web other"))
    assert [(one["id"], one["version"]) for one in shown] == [(web.id, 3), (other.id, 3)]


def is_settled(lab: Lab, ref: str, version: int) -> bool:
    now = lab.client.show(ref)
    return (now.version, now.previous_version, now.state) == (version, None, "running")
