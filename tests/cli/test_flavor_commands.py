"""`flavor` and `fits`: what they ask, print, and end with."""

from __future__ import annotations

import json

import pytest

from fakes.node import FakeNode
from fakes.service import FIT, FLAVORS, UNFIT
from fakes.shell import Shell


def squeezed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_flavor_ls(shell: Shell, node: FakeNode) -> None:
    assert squeezed(shell.out("flavor ls")) == [
        ["NAME", "CPUS", "MEMORY", "DISK", "PIDS", "DESCRIPTION"],
        ["bare", "-", "-", "-", "-"],
        ["general-small", "0.5", "1", "TiB", "-", "-", "a", "small", "service"],
    ]
    assert json.loads(shell.out("flavor ls -o json")) == [one.to_dict() for one in FLAVORS]


def test_flavor_show(shell: Shell, node: FakeNode) -> None:
    assert squeezed(shell.out("flavor show general-small")) == [
        ["Flavor", "general-small"],
        ["Description", "a", "small", "service"],
        ["cpus", "0.5"],
        ["memory", "1", "TiB"],
        ["ulimits", "name=nofile", "soft=1024", "hard=4096"],
        ["io", "device=/dev/vda", f"read_bps={2**40}"],
        ["hugepages", f"2MB={2**21}"],
    ]
    assert json.loads(shell.out("flavor show -o json bare")) == FLAVORS[0].to_dict()
    result = shell.run("flavor show none")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "longshore: cannot show flavor none: this node has none of that name\n"
        "hint: longshore flavor ls\n"
    )


def test_fits(shell: Shell, node: FakeNode) -> None:
    options = "fits --name web --memory 2g --flavor general-small -p 80 web:1 sh -c true"
    assert shell.out(options) == "it fits\n"
    verb, asked = node.given[-1]
    assert (verb, asked.name, asked.command) == ("fits", "web", ("sh", "-c", "true"))
    assert (asked.limits.memory, asked.flavor and asked.flavor.name) == (2**31, "general-small")
    assert asked.ports[0].container_port == 80
    assert node.done["create"] == 0
    assert json.loads(shell.out("fits -o json web:1")) == FIT.to_dict()


def test_what_does_not_fit(shell: Shell, node: FakeNode) -> None:
    node.absent = {"web:1"}
    result = shell.run("fits web:1")
    assert result.exit_code == 1
    assert result.stderr == ""
    first, *table = result.stdout.splitlines()
    assert UNFIT.error is not None
    assert first == f"it does not fit: {UNFIT.error.message}"
    assert [line.split() for line in table] == [
        ["MISSING", "ASKED", "FREE"],
        ["memory", "2", "GiB", "512", "MiB"],
    ]
    as_json = shell.run("fits -o json web:1")
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (1, UNFIT.to_dict())


@pytest.mark.parametrize("words", ["fits", "fits --memory x web:1", "flavor show", "fits -d web"])
def test_what_is_wrong_on_the_command_line(shell: Shell, node: FakeNode, words: str) -> None:
    assert shell.run(words).exit_code == 2
    assert node.given == []
