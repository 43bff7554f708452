"""Transfers as people see them: on a terminal, and left by a signal."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

from cli.imaging import CENTOS, DETAIL, NAME, ImageNode
from cli.terminal import LONGSHORE, Terminal, environment, on_a_terminal, plain
from fakes.node import BUSYBOX
from fakes.shell import Shell
from longshore.model.transfer import Credential

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
LINE = f"{NAME} (76 MiB, {DETAIL.digest})"


def is_restored(terminal: Terminal) -> bool:
    """Whether it has its cursor again."""
    return terminal.shown.count(HIDE) == terminal.shown.count(SHOW) == 1


@pytest.mark.parametrize("columns", [80, 140])
def test_pull_on_a_terminal(shell: Shell, node: ImageNode, columns: int) -> None:
    held = node.hold("pull_image")
    with on_a_terminal(shell, "pull", "centos", columns=columns) as terminal:
        terminal.until("222222222222")
        terminal.until("unpacking")
        held.set()
        assert terminal.end() == 0
    lines = plain(terminal.shown)
    assert lines[0].startswith(f"Pulling {NAME}")
    assert lines[-1] == LINE
    assert max(len(line) for line in lines[:-1]) <= columns
    assert is_restored(terminal)


def test_of_a_long_name_the_end_is_kept(shell: Shell, node: ImageNode) -> None:
    name = "registry.example.org:5000/billing/ledger-service/web:2026.11.24-r3"
    node.images = [CENTOS.model_copy(update={"name": name, "used_by": ("web",) * 20})]
    with on_a_terminal(shell, "image", "ls") as terminal:
        assert terminal.end() == 0
    row = plain(terminal.shown)[1]
    assert len(row) <= 80
    assert re.match(r"…\S*web:2026\.11\.24-r3  cdcdcdcdcdcd  76 MiB  \d+ years  web, web", row)


def test_bars_go_to_stderr(shell: Shell, node: ImageNode) -> None:
    done = subprocess.run(
        [LONGSHORE, "pull", "centos"], env=environment(shell), capture_output=True, timeout=60
    )
    assert done.stdout.decode() == f"{LINE}\n"
    assert b"\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verb", ["pull", "push", "run -d", "create", "run"])
def test_a_signal_leaves(shell: Shell, node: ImageNode, verb: str, number: signal.Signals) -> None:
    what = "push" if verb == "push" else "pull"
    held = node.hold(f"{what}_image")
    with on_a_terminal(shell, *verb.split(), "centos") as terminal:
        terminal.until("unpacking")
        terminal.process.send_signal(number)
        assert terminal.end() == 130
    assert f"longshore: left the {what} of centos" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert is_restored(terminal)
    assert node.wait_left(f"{what}_image")
    held.set()
    assert node.calls["create"] == 0


def test_the_output_of_a_run_begins_when_the_bars_are_gone(shell: Shell, node: ImageNode) -> None:
    node.state_on_create, node.exit_code = "stopped", 0
    with on_a_terminal(shell, "run", "centos") as terminal:
        assert terminal.end() == 0
    assert is_restored(terminal)


@pytest.mark.parametrize(
    ("options", "keys", "asked", "code"),
    [
        ([], "y\n", [("prune_images", False)], 0),
        ([], "n\n", [], 1),
        ([], "\n", [], 1),
        (["--all"], "y\n", [("prune_images", True)], 0),
    ],
)
def test_prune_asks_on_a_terminal(
    shell: Shell,
    node: ImageNode,
    options: list[str],
    keys: str,
    asked: list[tuple[object, ...]],
    code: int,
) -> None:
    unused = BUSYBOX.model_copy(update={"used_by": ()})
    node.images = [CENTOS, unused]
    with on_a_terminal(shell, "image", "prune", *options) as terminal:
        terminal.until("[y/N]: ")
        told = terminal.shown
        terminal.type(keys)
        assert terminal.end() == code
    assert node.asked == asked
    assert (unused.name in told) is ("--all" in options)
    assert NAME not in told
    assert ("nothing was removed" in terminal.shown) is (code == 1)


def test_a_password_is_asked_for_and_not_shown(shell: Shell, node: ImageNode) -> None:
    with on_a_terminal(shell, "pull", "-q", "--user", "ci", "centos") as terminal:
        terminal.until("Password: ")
        terminal.type("s3cret\n")
        assert terminal.end() == 0
    assert node.credentials == [Credential(username="ci", password="s3cret")]
    assert "s3cret" not in terminal.shown


@pytest.mark.parametrize("words", [["image", "save", "a"], ["image", "load"]])
def test_an_archive_is_nothing_for_a_terminal(
    shell: Shell, node: ImageNode, words: list[str]
) -> None:
    with on_a_terminal(shell, *words) as terminal:
        assert terminal.end() == 2
    assert "archive" in terminal.shown
    assert node.asked == []


def test_nobody_leaves_half_a_file(shell: Shell, node: ImageNode, folder: object) -> None:
    held = node.hold("save_images")
    with on_a_terminal(shell, "image", "save", "-o", f"{folder}/web.tar", "a") as terminal:
        node.wait_for("save_images", 1)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    held.set()
    done = subprocess.run(["ls", str(folder)], capture_output=True, check=True)
    assert b"web.tar" not in done.stdout
