"""What each command asks of the agent, prints, and ends with."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.node import BUSYBOX, NODE, FakeNode
from fakes.shell import Shell
from longshore import errors
from longshore.cli import errors as codes
from longshore.cli.main import cli
from longshore.model.spec import ContainerSpec, parse
from longshore.model.status import LogChunk


def spec(number: int, name: str, **fields: object) -> ContainerSpec:
    base = {"id": f"{number}f1c7a54-2f51-4bb8-8e7f-0d6a0e0f0001", "image": "busybox:1"}
    return parse({**base, "name": name, **fields})


WEB = spec(
    1,
    "web",
    command=["httpd", "-f", "-h", "/www", "-p", "80", "-v", "-v", "-v"],
    ports=[
        {"container_port": 80, "host_port": 8080},
        {"container_port": 53, "host_port": 53, "protocol": "udp", "host_ip": "127.0.0.1"},
    ],
    mounts=[
        {"type": "bind", "source": "/srv", "target": "/www", "read_only": True},
        {"type": "tmpfs", "target": "/tmp", "size": 2**26},
    ],
    limits={"memory": 2**28, "cpus": 0.5},
    labels={"tier": "front"},
)


@pytest.fixture
def web(node: FakeNode) -> FakeNode:
    node.add(WEB)
    return node


def squeezed(text: str) -> list[list[str]]:
    """Cells of a table, by line; no line ends in blanks."""
    lines = text.splitlines()
    assert lines == [line.rstrip() for line in lines]
    return [re.split(r" {2,}", line) for line in lines]


def test_ps(shell: Shell, web: FakeNode) -> None:
    web.add(spec(2, "old"), "stopped", exit_code=137, finished_at=1.0)
    [head, row] = squeezed(shell.out("ps"))
    assert head == ["ID", "NAME", "IMAGE", "COMMAND", "STATUS", "ADDRESS", "PORTS"]
    assert row[:4] == ["1f1c7a54", "web", "busybox:1", "httpd -f -h /www -p 80 -v -v …"]
    assert re.fullmatch(r"Up \d+ \w+", row[4])
    assert row[5:] == ["10.88.0.2", "8080->80/tcp, 127.0.0.1:53->53/udp"]


def test_ps_all(shell: Shell, web: FakeNode) -> None:
    web.add(spec(2, "old"), "stopped", exit_code=137, finished_at=1.0)
    web.add(spec(3, "bad"), "failed")
    web.add(spec(4, "new", nics=[]), "created")
    web.add(spec(5, "going"), "deleting")
    rows = {row[1]: row[4] for row in squeezed(shell.out("ps -a"))[1:]}
    assert re.fullmatch(r"Exited \(137\) \d+ years ago", rows["old"])
    assert rows["bad"] == "Failed: port_in_use"
    assert re.fullmatch(r"Created \d+ years ago", rows["new"])
    assert rows["going"] == "Deleting"


def test_ps_quiet_and_whole(shell: Shell, web: FakeNode) -> None:
    web.add(spec(2, "old"), "stopped")
    assert shell.out("ps -q") == "1f1c7a54\n"
    assert shell.out("ps -aq") == "1f1c7a54\n2f1c7a54\n"
    assert shell.out("ps -q --no-trunc") == f"{WEB.id}\n"
    row = squeezed(shell.out("ps --no-trunc"))[1]
    assert (row[0], row[3]) == (WEB.id, " ".join(WEB.command))


def test_ps_of_an_empty_node(shell: Shell) -> None:
    assert len(shell.out("ps").splitlines()) == 1
    assert json.loads(shell.out("ps -o json")) == []
    assert shell.out("ps -q") == ""


def test_a_control_character_does_not_reach_the_terminal(shell: Shell, node: FakeNode) -> None:
    node.add(spec(1, "web", command=["\x1b[2J", "a\nb"]))
    shown = squeezed(shell.out("ps"))[1][3]
    assert shown == "?[2J a?b".replace("?", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ps -o json", lambda node: [node.containers[WEB.id].to_dict()]),
        ("inspect web", lambda node: node.containers[WEB.id].to_dict()),
        ("inspect -o json web", lambda node: node.containers[WEB.id].to_dict()),
        ("status -o json", lambda node: NODE.to_dict()),
        ("image ls -o json", lambda node: [BUSYBOX.to_dict()]),
    ],
)
def test_json_is_the_agents_value(
    shell: Shell, web: FakeNode, command: str, expected: object
) -> None:
    assert callable(expected)
    assert json.loads(shell.out(command)) == expected(web)


def test_status(shell: Shell, web: FakeNode) -> None:
    text = shell.out("status")
    rows = squeezed(text)
    for wanted in (
        ["Node", "node-1"],
        ["Runtime", "crun 1.21: the fastest that works here (10 ms against runc's 28 ms)"],
        ["Cgroups", "v2"],
        ["Snapshotter", "overlayfs: containerd's default works here"],
        ["Containers", "2 running, 1 stopped"],
        ["", "- adopted web"],
        ["RESOURCE", "TOTAL", "RESERVED", "RATIO", "CAPACITY", "CLAIMED", "FREE"],
        ["cpus (cores)", "3", "1", "4", "8", "1.5", "6.5"],
        ["memory", "16 GiB", "0 B", "1", "16 GiB", "1 GiB", "15 GiB"],
        ["pids", "32,768", "0", "1", "32,768", "100", "32,668"],
        ["CANNOT", "WHY"],
        ["limits.disk", "ext4 without project quota under the state folder"],
    ):
        assert wanted in rows
    assert re.search(r"^Converged +\d+ years ago in 12.0 ms: 3 containers, 1 finding$", text, re.M)
    assert re.search(r"^containerd +up +1\.7\.24 +\d+ years ago$", text, re.M)
    assert re.search(r"^broker +down +- +\d+ years ago +connection refused$", text, re.M)


def test_inspect_table(shell: Shell, web: FakeNode) -> None:
    rows = squeezed(shell.out("inspect -o table web"))
    for wanted in (
        ["Id", WEB.id],
        ["Mount", "/srv at /www (read only, rprivate)"],
        ["Mount", "/tmp (tmpfs, 64 MiB)"],
        ["Limits", "memory 256 MiB, cpus 0.5"],
        ["Nic", "eth0 10.88.0.2/16 02:00:00:00:00:02 on default"],
        ["Label", "tier=front"],
        ["rootfs", "3.1 ms"],
        ["together", "24.1 ms"],
    ):
        assert wanted in rows
    web.add(spec(2, "bad"), "failed")
    rows = squeezed(shell.out("inspect -o table bad"))
    assert ["Error", "port_in_use: cannot publish 0.0.0.0:80/tcp: nginx listens there"] in rows
    assert ["Hint", "choose another host port"] in rows


def test_create_start_stop_rm(shell: Shell, node: FakeNode) -> None:
    out = shell.out("create", "--name", "a", "busybox:1")
    [made] = node.containers.values()
    assert (out, made.state) == (f"{made.id}\n", "created")
    shell.out("run", "-d", "--name", "b", "busybox:1")
    assert shell.out("start a") == "a\n"
    assert shell.out("stop a b") == "a\nb\n"
    assert shell.out("stop -t 2 a") == "a\n"
    assert shell.out("rm a") == "a\n"
    assert json.loads(shell.out("rm -f -o json b"))[0]["state"] == "absent"
    assert node.asked == [
        ("stop", "a", None),
        ("stop", "b", None),
        ("stop", "a", 2.0),
        ("delete", "a", False),
        ("delete", "b", True),
    ]


def test_of_several_the_others_are_done(shell: Shell, web: FakeNode) -> None:
    web.add(spec(2, "db"))
    result = shell.run("rm -f nope web nope2 db")
    assert (result.exit_code, result.stdout) == (3, "web\ndb\n")
    assert result.stderr.count("longshore: cannot find container nope") == 2
    assert web.containers == {}


def test_run_detached_as_json(shell: Shell, node: FakeNode) -> None:
    value = json.loads(shell.out("run -d -o json busybox:1"))
    assert value == node.containers[value["id"]].to_dict()


def test_logs(shell: Shell, web: FakeNode) -> None:
    web.output[WEB.id] = [
        LogChunk("stdout", b"out\n"),
        LogChunk("stderr", b"err\xff\n"),
        LogChunk("stdout", b""),
    ]
    result = shell.run("logs --tail 3 web")
    assert result.stdout_bytes == b"out\n"
    assert result.stderr_bytes == b"err\xff\n"
    assert web.asked == [("logs", "web", 3, False)]
    lines = [json.loads(line) for line in shell.out("logs -o json web").splitlines()]
    assert lines == [
        {"stream": "stdout", "data": "out\n"},
        {"stream": "stderr", "data": "err\N{REPLACEMENT CHARACTER}\n"},
    ]
    web.ended("web", 0)
    assert shell.run("logs -f web").stdout_bytes == b"out\n"


@pytest.mark.parametrize("code", [0, 3])
def test_run_in_the_foreground(shell: Shell, node: FakeNode, code: int) -> None:
    made = spec(1, "job", command=["true"])
    node.output[made.id] = [LogChunk("stdout", b"done\n")]
    node.state_on_create = "stopped"
    node.exit_code = code
    result = shell.run("run", "--rm", "--id", made.id, "--name", "job", "busybox:1", "true")
    assert (result.exit_code, result.stdout_bytes) == (code, b"done\n")
    assert node.containers == {}
    assert node.specs[made.id].auto_remove, "it goes though nobody is there any more"
    assert ("logs", made.id, None, True) in node.asked


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CommandNotFound("cannot start: no such command"), 127),
        (errors.StartFailed("cannot start: exec format error"), 126),
        (errors.NameInUse("cannot create: the name is taken"), 125),
    ],
)
def test_run_in_the_foreground_fails_as_dockers(
    shell: Shell, node: FakeNode, error: errors.LongshoreError, code: int
) -> None:
    node.fail("create", error)
    result = shell.run("run busybox:1 x")
    assert (result.exit_code, result.stderr) == (code, f"longshore: {error.message}\n")


@pytest.mark.parametrize(
    ("error", "left"),
    [(errors.CommandNotFound("cannot start"), 0), (errors.ContainerExists("cannot create"), 1)],
)
def test_rm_after_a_failed_start_removes_only_its_own(
    shell: Shell, web: FakeNode, error: errors.LongshoreError, left: int
) -> None:
    web.fail("create", error)
    assert shell.run("run", "--rm", "--id", WEB.id, "busybox:1").exit_code in (125, 127)
    assert len(web.containers) == left


@pytest.mark.parametrize("cls", errors.BY_CODE.values(), ids=lambda cls: cls.__name__)
def test_every_error_has_its_code(
    shell: Shell, web: FakeNode, cls: type[errors.LongshoreError]
) -> None:
    error = cls("cannot show web: why", hint="do this")
    # The client asks again until it has no more time.
    again = cls in (errors.AgentBusy, errors.Interrupted)
    web.fail("show", *[error] * (50 if again else 2))
    timeout = "0.9" if again else "60"
    result = shell.run("--timeout", timeout, "inspect", "web")
    assert result.stderr == "longshore: cannot show web: why\nhint: do this\n"
    assert result.exit_code == codes.exit_code(error)
    assert result.exit_code in range(1, 7)
    told = shell.run("--timeout", timeout, "inspect", "-o", "json", "web")
    assert json.loads(told.stderr) == error.to_dict()


def test_the_documented_codes_are_those(shell: Shell) -> None:
    text = shell.out("--help")
    for code in {*codes._CODES.values(), codes.USAGE, codes.INTERRUPTED, 0}:
        assert re.search(rf"^ +{code} +\w", text, re.M)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ContainerNotFound(), 3),
        (errors.ImageNotFound(), 3),
        (errors.PortInUse(), 5),
        (errors.ImageInUse(), 5),
        (errors.PullCancelled(), 5),
        (errors.ImageSourceFailed(), 1),
        (errors.ImageSourceDenied(), 1),
        (errors.ImageSourceUnavailable(), 4),
        (errors.BadImage(), 1),
        (errors.Interrupted(), 4),
        (errors.HostBusy(), 4),
        (errors.PolicyForbids(), 1),
        (errors.InvalidSpec(), 2),
        (errors.HostUnavailable(), 4),
        (errors.DeadlineExceeded(), 6),
        (errors.HostFailed(), 1),
        (errors.Exhausted(), 1),
    ],
)
def test_exit_codes(error: errors.LongshoreError, code: int) -> None:
    assert codes.exit_code(error) == code


def test_no_agent(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["--socket", str(folder / "none.sock"), "ps"])
    assert result.exit_code == 4
    assert result.stderr.startswith(f"longshore: cannot reach the agent at {folder}/none.sock: ")
    assert "hint: is longshore-agent running?" in result.stderr


def test_images(shell: Shell, node: FakeNode, tmp_path: Path) -> None:
    [head, row] = squeezed(shell.out("image ls"))
    assert head == ["NAME", "DIGEST", "SIZE", "AGE", "USED BY"]
    assert row[:3] == ["busybox:1", "abababababab", "1.91 MiB"]
    assert squeezed(shell.out("image ls --no-trunc"))[1][1] == BUSYBOX.digest
    assert shell.out("image ls -q") == "busybox:1\n"
    archive = tmp_path / "web.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("index.json"), io.BytesIO())
    size = archive.stat().st_size
    assert shell.out("image", "load", str(archive)).startswith("busybox:1 (10 KiB, sha256:ab")
    result = shell.run("image load -o json -", input=archive.read_bytes())
    assert json.loads(result.stdout)[0]["size"] == size
    assert [one for _, one in node.archives] == [size, size]
    missing = shell.run("image load /nonexistent.tar")
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)


GROUPS = [name for name, command in cli.commands.items() if hasattr(command, "commands")]


def paths() -> list[list[str]]:
    groups = [cli, *(cli.commands[name] for name in GROUPS)]
    prefixes: list[list[str]] = [[], *([name] for name in GROUPS)]
    return [
        [*prefix, name]
        for prefix, group in zip(prefixes, groups, strict=True)
        for name in getattr(group, "commands", {})
    ]


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_every_command_has_examples_that_parse(shell: Shell, path: list[str]) -> None:
    text = shell.out(*path, "--help")
    examples = text.partition("Examples:\n")[2]
    assert examples.strip()
    assert all(len(line) <= 90 for line in text.splitlines())
    mine = [line.strip() for line in examples.splitlines() if "longshore" in line]
    assert any(line.split("longshore ")[1].split()[: len(path)] == path for line in mine)


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_output_is_asked_for_everywhere(shell: Shell, path: list[str]) -> None:
    text = shell.out(*path, "--help")
    # What these write is the container's, or a file.
    without = (["completion"], ["image", "save"], ["exec"], ["attach"], ["cp"])
    assert ("-o, --output [table|json]" in text) is (
        path not in (*without, *([one] for one in GROUPS))
    )
