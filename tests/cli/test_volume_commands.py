"""`volume`: what it asks, prints, and ends with."""

from __future__ import annotations

import json

import pytest

from fakes.node import FakeNode
from fakes.service import LONELY, VOLUME
from fakes.shell import Shell
from longshore.cli.completion import PROGRAM, VARIABLE
from longshore.errors import VolumeInUse


def test_create(shell: Shell, node: FakeNode) -> None:
    assert shell.out("volume create -l tier=db --label mark data") == "data\n"
    made = json.loads(shell.out("volume create -o json data"))
    assert (made["name"], made["path"]) == ("data", VOLUME.path)
    assert node.given == [
        ("create_volume", "data", {"tier": "db", "mark": ""}),
        ("create_volume", "data", {}),
    ]
    assert shell.run("volume create ../etc").exit_code == 2


def test_ls(shell: Shell) -> None:
    lines = [line.split() for line in shell.out("volume ls").splitlines()]
    assert lines[0] == ["NAME", "AGE", "USED", "BY", "LABELS"]
    assert lines[1][0] == "data"
    assert lines[1][-3:] == ["db,", "web", "tier=db"]
    assert lines[2][0] == "lonely"
    assert json.loads(shell.out("volume ls -o json")) == [VOLUME.to_dict(), LONELY.to_dict()]
    assert shell.out("volume ls -q") == "data\nlonely\n"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ("-f label=tier", "data\n"),
        ("--filter label=tier=db", "data\n"),
        ("-f label=tier=web", ""),
        ("-f label=tier -f label=mark", ""),
    ],
)
def test_ls_of_some(shell: Shell, filters: str, names: str) -> None:
    assert shell.out(f"volume ls -q {filters}") == names


@pytest.mark.parametrize("text", ["tier=db", "label", "label=", "name=x"])
def test_what_is_no_filter(shell: Shell, text: str) -> None:
    result = shell.run(f"volume ls -f {text}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "label=KEY" in result.stderr


def test_inspect(shell: Shell) -> None:
    assert json.loads(shell.out("volume inspect data")) == VOLUME.to_dict()
    facts = shell.out("volume inspect -o table data").splitlines()
    assert [line.split(None, 1)[0] for line in facts] == [
        "Volume",
        "Created",
        "Folder",
        "Used",
        "Label",
    ]


def test_rm(shell: Shell, node: FakeNode) -> None:
    node.fail(
        "remove_volume",
        VolumeInUse("cannot remove volume data: used by web", hint="delete those containers first"),
    )
    result = shell.run("volume rm data lonely")
    assert result.stdout == "lonely\n"
    assert result.exit_code != 0
    assert "used by web" in result.stderr
    assert node.given == [("remove_volume", "data"), ("remove_volume", "lonely")]


@pytest.mark.parametrize("verb", ["inspect", "rm lonely"])
def test_completion(shell: Shell, verb: str) -> None:
    line = f"{PROGRAM} volume {verb} da"
    words = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_WORDBREAKS": " "}
    assert shell.run("", env={VARIABLE: "bash_complete", **words}).stdout == "plain,data\n"
