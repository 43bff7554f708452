"""Images by the command line: what each command asks of the agent, prints, and ends with."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cli.imaging import CENTOS, COMING, DETAIL, LAYERS, MIB, NAME, ImageNode, transfer
from fakes.node import BUSYBOX, NODE, NOW
from fakes.shell import Shell
from longshore import errors
from longshore.cli.completion import PROGRAM, VARIABLE
from longshore.model.commit import Commit
from longshore.model.status import ErrorStatus, NodeStatus, PruneStatus
from longshore.model.transfer import Credential, PullPolicy

LINE = f"{NAME} (76 MiB, {DETAIL.digest})\n"
PASSWORD = Credential(username="ci", password="s3cret")
TOKEN = Credential(token="ey.J")


@pytest.mark.parametrize("verb", ["pull", "image pull"])
def test_pull(shell: Shell, node: ImageNode, verb: str) -> None:
    result = shell.run(f"{verb} centos")
    assert (result.exit_code, result.stdout) == (0, LINE)
    said = [one.removeprefix(f"{NAME}: ").split()[0] for one in result.stderr.splitlines()]
    assert said == ["resolving", "moving", "unpacking", "done"]
    assert node.asked == [("pull_image", "centos", PullPolicy.ALWAYS, None)]
    assert node.credentials == [None]


def test_pull_quietly(shell: Shell, node: ImageNode) -> None:
    assert shell.out("pull --quiet centos") == f"{NAME}\n"
    assert shell.out("push -q centos") == f"{DETAIL.digest}\n"


def test_pull_as_json_is_a_line_each(shell: Shell, node: ImageNode) -> None:
    lines = [json.loads(line) for line in shell.out("pull -o json centos").splitlines()]
    assert lines == [one.to_dict() for one in (*COMING, CENTOS)]
    [line] = shell.out("pull -q -o json centos").splitlines()
    assert json.loads(line) == CENTOS.to_dict()


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ("--policy never", PullPolicy.NEVER),
        ("--policy missing", PullPolicy.IF_NOT_PRESENT),
        ("--policy=if-not-present", PullPolicy.IF_NOT_PRESENT),
        ("--policy always", PullPolicy.ALWAYS),
    ],
)
def test_pull_policy(shell: Shell, node: ImageNode, options: str, policy: PullPolicy) -> None:
    assert shell.run(f"pull {options} centos").exit_code == 0
    assert node.asked == [("pull_image", "centos", policy, None)]


@pytest.mark.parametrize("verb", ["pull", "push"])
@pytest.mark.parametrize(
    ("options", "stdin", "credential", "name"),
    [
        ("--user ci --password-stdin", b"s3cret\n", PASSWORD, None),
        ("-u ci --password-stdin", b"s3cret\r\n", PASSWORD, None),
        ("-u ci --password-stdin", b"s3cret", PASSWORD, None),
        ("--token-stdin", b"ey.J\n", TOKEN, None),
        ("--credential ours", b"", None, "ours"),
    ],
)
def test_who_asks(
    shell: Shell,
    node: ImageNode,
    verb: str,
    options: str,
    stdin: bytes,
    credential: Credential | None,
    name: str | None,
) -> None:
    result = shell.run(f"{verb} {options} centos", input=stdin)
    assert result.exit_code == 0
    assert node.credentials == [credential]
    assert node.asked[0][-1] == name
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    ("options", "stdin", "says"),
    [
        ("--user ci", b"", "--user needs --password-stdin, or a terminal to ask at"),
        ("--password-stdin", b"x", "whose password? give --user NAME"),
        ("--user= --password-stdin", b"x", "--user is empty"),
        ("--user ci --password-stdin", b"", "stdin has no password"),
        ("--user ci --password-stdin", b"\n", "stdin has no password"),
        ("--user ci --password-stdin", b"two\nlines", "stdin has no password"),
        ("--user ci --password-stdin", b"\xff\n", "is not UTF-8"),
        ("--token-stdin", b"x" * 70_000, "stdin has no token: one line of at most 64 KiB"),
        ("--token-stdin --user ci", b"x", "a token stands for itself"),
        ("--token-stdin --password-stdin", b"x", "a token stands for itself"),
        ("--credential a --user ci", b"x", "a credential is named (a): drop --user"),
        ("--credential a --token-stdin", b"x", "a credential is named (a)"),
        (
            "--policy sometimes",
            b"",
            "'sometimes' is not one of 'always', 'if-not-present', 'never'",
        ),
    ],
)
def test_what_is_no_credential(
    shell: Shell, node: ImageNode, options: str, stdin: bytes, says: str
) -> None:
    result = shell.run(f"pull {options} centos", input=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert node.asked == []


@pytest.mark.parametrize("verb", ["pull", "push"])
def test_a_transfer_that_fails(shell: Shell, node: ImageNode, verb: str) -> None:
    error = errors.ImageSourceDenied(f"cannot {verb} {NAME}: denied", hint="log in")
    node.fail(f"{verb}_image", error, error)
    result = shell.run(f"{verb} centos")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f"longshore: cannot {verb} {NAME}: denied\nhint: log in\n")
    told = shell.run(f"{verb} -o json centos")
    assert len(told.stdout.splitlines()) == len(COMING) - 1
    assert json.loads(told.stderr) == error.to_dict()


def test_push(shell: Shell, node: ImageNode) -> None:
    result = shell.run("image push centos registry.example.org/centos:7")
    assert result.stdout == f"registry.example.org/centos:7 (150 MiB, {DETAIL.digest})\n"
    shell.run("push centos")
    last = json.loads(shell.out("push -o json centos glance://web").splitlines()[-1])
    assert (last["digest"], last["state"]) == (DETAIL.digest, "done")
    assert [one[1:3] for one in node.asked] == [
        ("centos", "registry.example.org/centos:7"),
        ("centos", "centos"),
        ("centos", "glance://web"),
    ]


def test_run_pulls_an_image_that_is_not_here(shell: Shell, node: ImageNode) -> None:
    options = "--registry-user ci --registry-password-stdin"
    result = shell.run(f"run -d {options} centos", input=b"s3cret\n")
    [made] = node.containers.values()
    assert (result.exit_code, result.stdout) == (0, f"{made.id}\n")
    assert re.search(f"^{NAME}: moving 30.0/150.0 MiB", result.stderr, re.M)
    assert node.asked == [("pull_image", "centos", PullPolicy.IF_NOT_PRESENT, None)]
    assert node.credentials == [PASSWORD, PASSWORD]  # of the pull, and of the create


@pytest.mark.parametrize(
    ("options", "pulls"),
    [("", 0), ("--pull never", 0), ("--pull missing", 0), ("--pull always", 1)],
)
def test_of_an_image_that_is_here(shell: Shell, node: ImageNode, options: str, pulls: int) -> None:
    shell.out(f"create -q {options} busybox:1")
    assert node.calls["pull_image"] == pulls
    assert node.done["create"] == 1


def test_never_means_never(shell: Shell, node: ImageNode) -> None:
    for verb, code in (("create", 3), ("run -d", 3), ("run", 125)):
        assert shell.run(f"{verb} --pull never centos").exit_code == code
    assert (node.calls["pull_image"], node.calls["create"]) == (0, 0)


def test_a_named_credential_goes_with_the_spec(shell: Shell, node: ImageNode) -> None:
    assert shell.out("create -q --image-credential ours centos")
    assert node.asked == [("pull_image", "centos", PullPolicy.IF_NOT_PRESENT, "ours")]
    [spec] = node.specs.values()
    assert (spec.image_credential, node.credentials) == ("ours", [None, None])


def test_run_in_the_foreground_pulls_too(shell: Shell, node: ImageNode) -> None:
    node.state_on_create, node.exit_code = "stopped", 3
    result = shell.run("run --rm centos")
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"{NAME}: resolving\n" in result.stderr
    assert (node.calls["pull_image"], node.containers) == (1, {})


def test_a_pull_that_fails_makes_nothing(shell: Shell, node: ImageNode) -> None:
    error = errors.ImageSourceUnavailable("cannot pull centos: no answer")
    node.fail("pull_image", error, error)
    assert shell.run("run -d centos").exit_code == 4
    result = shell.run("run --rm centos")
    assert result.exit_code == 125
    assert result.stderr.endswith("longshore: cannot pull centos: no answer\n")
    assert node.calls["create"] == 0


def published(node: ImageNode) -> list[tuple[int, str, int | None]]:
    [spec] = node.specs.values()
    return [(one.container_port, one.protocol, one.host_port) for one in spec.ports]


def test_publish_all(shell: Shell, node: ImageNode) -> None:
    shell.out("run -d -q -P -p 8080:80 -p 9:53/tcp centos")
    assert published(node) == [
        (80, "tcp", 8080),
        (53, "tcp", 9),
        (53, "udp", None),
        (8443, "tcp", None),
    ]


def test_publish_all_of_nothing(shell: Shell, node: ImageNode) -> None:
    node.details[NAME] = DETAIL.model_copy(update={"exposed_ports": ()})
    shell.out("create --publish-all -p 1 centos")
    assert published(node) == [(1, "tcp", None)]


@pytest.mark.parametrize("port", ["80/sctp", "http", "70000/tcp"])
def test_what_cannot_be_published(shell: Shell, node: ImageNode, port: str) -> None:
    node.details[NAME] = DETAIL.model_copy(update={"exposed_ports": ("22/tcp", port)})
    result = shell.run("run -d -P centos")
    assert result.exit_code == 2
    start = f"longshore: cannot publish what centos exposes (22/tcp, {port}): "
    assert result.stderr.startswith(start)
    assert result.stderr.endswith("hint: drop -P, and publish with -p\n")
    assert node.calls["create"] == 0


def test_inspect(shell: Shell, node: ImageNode) -> None:
    node.details[NAME] = DETAIL
    assert json.loads(shell.out("image inspect centos")) == DETAIL.to_dict()
    text = shell.out("image inspect -o table centos")
    rows = [re.split(r" {2,}", line) for line in text.splitlines()]
    for wanted in (
        ["Image", NAME],
        ["Also", "registry.example.org/centos:7"],
        ["Platform", "linux/arm64/v8"],
        ["Size", "76 MiB"],
        ["Used by", "db, web"],
        ["Entrypoint", "'/entry point' -x"],
        ["Exposes", "80/tcp, 53/udp, 8443"],
        ["Healthcheck", '{"Test": ["CMD", "true"]}'],
        ["Env", "B=2"],
        ["Label", "a=1"],
        ["LAYER", "SIZE", "TYPE"],
        [LAYERS[1], "75 MiB", "vnd.oci.image.layer.v1.tar+gzip"],
    ):
        assert wanted in rows
    assert shell.run("image inspect nope").exit_code == 3


def test_ls(shell: Shell, node: ImageNode) -> None:
    node.images = [CENTOS, BUSYBOX]
    head, first, second = shell.out("images").splitlines()
    assert re.split(r" {2,}", head) == ["NAME", "DIGEST", "SIZE", "AGE", "USED BY"]
    assert re.fullmatch(rf"{NAME} +cdcdcdcdcdcd +76 MiB  \d+ years  db, web", first)
    assert re.search(r"\d+ years$", second)


def test_tag(shell: Shell, node: ImageNode) -> None:
    assert shell.out("image tag centos web:3") == "docker.io/library/web:3\n"
    assert json.loads(shell.out("tag -o json centos a/b"))["name"] == "docker.io/a/b:latest"
    assert node.asked[0] == ("tag_image", "centos", "web:3")


def test_rm(shell: Shell, node: ImageNode) -> None:
    result = shell.run("rmi a used b")
    assert (result.exit_code, result.stdout) == (5, "a\nb\n")
    assert result.stderr == "longshore: cannot remove image used: web uses it\n"
    assert json.loads(shell.out("image rm -o json a")) == [CENTOS.to_dict()]


@pytest.mark.parametrize("options", ["", "--yes", "-f"])
def test_prune_asks_only_on_a_terminal(shell: Shell, node: ImageNode, options: str) -> None:
    assert shell.out(f"image prune {options}") == "76 MiB freed\n"
    assert shell.out(f"image prune -a {options}") == f"{NAME}\n76 MiB freed\n"
    pruned = PruneStatus(images=(NAME,), bytes=76 * MIB)
    assert json.loads(shell.out("image prune --all -o json")) == pruned.to_dict()
    assert node.asked == [("prune_images", one) for one in (False, True, True)]


def test_commit(shell: Shell, node: ImageNode) -> None:
    made = f"docker.io/library/web:4 (76 MiB, {DETAIL.digest})\n"
    assert shell.out("commit web web:4") == made
    words = ["-a", "Ops", "-m", "a fix", "-c", "CMD x y", "--change", "EXPOSE 80", "--no-pause"]
    assert json.loads(shell.out("commit", "-o", "json", *words, "web", "web:4"))["size"] == 76 * MIB
    plain, full = (one[-1] for one in node.asked)
    assert plain == Commit()
    assert (full.author, full.message, full.pause) == ("Ops", "a fix", False)
    assert list(full.changes) == ["CMD x y", "EXPOSE 80"]


def test_save_to_a_pipe(shell: Shell, node: ImageNode) -> None:
    for words in ("image save a b", "save -o - a b"):
        assert shell.run(words).stdout_bytes == b"archive"
    assert node.asked == [("save_images", "a", "b")] * 2


def test_save_to_a_file(shell: Shell, node: ImageNode, tmp_path: Path) -> None:
    file, link = tmp_path / "web.tar", tmp_path / "link.tar"
    file.write_bytes(b"older, and longer")
    (tmp_path / "web.tar.part").write_bytes(b"of one that died")
    link.symlink_to(file)
    assert shell.out("image", "save", "-o", str(link), "a") == f"{link} (7 B)\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.tar", "web.tar"]
    assert (link.is_symlink(), file.read_bytes()) == (True, b"archive")


def test_save_that_fails_leaves_what_was_there(
    shell: Shell, node: ImageNode, tmp_path: Path
) -> None:
    for before in (None, b"older"):
        file = tmp_path / "web.tar"
        if before:
            file.write_bytes(before)
        node.fail("save_images", errors.HostUnavailable("cannot save: containerd is away"))
        result = shell.run("image", "save", "-o", str(file), "a")
        assert (result.exit_code, result.stdout) == (4, "")
        assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == (
            {"web.tar": before} if before else {}
        )


def test_save_to_a_device_does_not_replace_it(
    shell: Shell, node: ImageNode, tmp_path: Path
) -> None:
    null = tmp_path / "null"
    os.mknod(null, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    shell.out("image", "save", "-o", str(null), "a")
    assert stat.S_ISCHR(null.stat().st_mode)
    assert [one.name for one in tmp_path.iterdir()] == ["null"]


def test_two_saves_to_one_file(shell: Shell, node: ImageNode, tmp_path: Path) -> None:
    file = tmp_path / "web.tar"
    seen: list[Any] = []
    arrive = node._arrive

    def meanwhile(verb: str) -> None:
        if verb == "save_images" and not seen:
            seen.append(shell.run("image", "save", "-o", str(file), "b"))
        arrive(verb)

    node._arrive = meanwhile  # type: ignore[method-assign]  # in the midst of the first
    assert shell.out("image", "save", "-o", str(file), "a") == f"{file} (7 B)\n"
    [second] = seen
    assert second.exit_code == 1
    assert "another save writes it just now" in second.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["web.tar"]


def test_save_where_nothing_can_be_written(shell: Shell, node: ImageNode) -> None:
    result = shell.run("image save -o /nonexistent/web.tar a")
    assert result.exit_code == 1
    assert "'/nonexistent/web.tar': No such file or directory" in result.stderr


def test_load(shell: Shell, node: ImageNode, tmp_path: Path) -> None:
    archive = tmp_path / "web.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("index.json"), io.BytesIO())
    for words in (["image", "load", str(archive)], ["load", "-i", str(archive)], ["load"]):
        result = shell.run(*words, "-o", "table", input=archive.read_bytes())
        assert (result.exit_code, result.stderr) == (0, "")
    size = archive.stat().st_size
    assert [one for _, one in node.archives] == [size] * 3
    twice = shell.run("load", "-i", str(archive), str(archive))
    assert (twice.exit_code, "given twice" in twice.stderr) == (2, True)


FAILED = ErrorStatus(code="image_not_found", message="cannot pull web: there is none")


def test_status_shows_what_is_under_way(
    shell: Shell, node: ImageNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = (
        COMING[1].model_copy(update={"started_at": NOW, "waiters": 3}),
        transfer("waiting", image="glance://1", direction="push"),
        transfer("failed", image="web").model_copy(update={"error": FAILED}),
    )
    status = NodeStatus.model_validate({**NODE.to_dict(), "transfers": under_way})
    monkeypatch.setattr(node, "node_status", lambda: status)
    rows = [re.split(r" {2,}", line) for line in shell.out("status").splitlines()]
    head = ["TRANSFER", "IMAGE", "STATE", "DONE", "LAYERS", "WAITERS", "SINCE", "ERROR"]
    first, second, third = rows[rows.index(head) + 1 :][:3]
    assert first[:-1] == ["pull", NAME, "moving", "30.0/150.0 MiB (20 %)", "0/2", "3"]
    assert second == ["push", "glance://1", "waiting", "-", "0/0", "1", "-"]
    assert third == ["pull", "web", "failed", "-", "0/0", "1", "-", FAILED.message]


def test_dockers_words_are_not_listed(shell: Shell) -> None:
    listed = re.findall(r"^  (\w+) ", shell.out("--help"), re.M)
    assert {"pull", "push", "commit", "image"} <= set(listed)
    assert {"images", "rmi", "tag", "load", "save"}.isdisjoint(listed)
    assert f"Usage: {PROGRAM} rmi " in shell.out("rmi --help")


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("run busy", []),
        ("run cen", ["centos:7"]),
        ("run -p :80 centos:", ["7"]),
        ("image rm te", ["team/web:1"]),
        ("image rm team/web:1 r.", ["r.example.org:5000/web:2"]),
        ("image tag docker.io/", ["docker.io/library/centos:7", "docker.io/team/web:1"]),
        ("image save -o x.tar r.example.org:", ["5000/web:2"]),
        ("rmi r.example.org:5000/web:", ["2"]),
        ("pull --policy=al", ["always"]),
        ("push cen", ["centos:7"]),
        ("push x", []),
    ],
)
def test_completion(shell: Shell, node: ImageNode, line: str, offers: list[str]) -> None:
    names = ["docker.io/library/centos:7", "docker.io/team/web:1", "r.example.org:5000/web:2"]
    node.images = [BUSYBOX.model_copy(update={"name": name}) for name in names]
    env = {
        VARIABLE: "bash_complete",
        "COMP_LINE": f"longshore {line}",
        "COMP_POINT": str(len(f"longshore {line}")),
        "COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
    }
    said = shell.run("", env=env).stdout.split()
    assert said == [f"plain,{offer}" for offer in offers]
