"""What the README says is so: its generated parts, its messages, its commands.

Its program is run in e2e/test_readme_program.py.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from bench import readme
from longshore import errors
from longshore.bus import wire
from longshore.cli import making
from longshore.cli.main import cli
from longshore.host import flavors
from longshore.host.registry import settings
from longshore.lifecycle.create import CREATE
from longshore.model import spec as specs
from longshore.model.status import ContainerStatus
from longshore.options import OPTIONS

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
TEXT = readme.README.read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [text for of, text in found if of == language]


def test_the_generated_parts_are_up_to_date() -> None:
    assert readme.written(TEXT) == TEXT, "make readme"
    assert set(re.findall(r"<!-- generated: (\S+) -->", TEXT)) == set(readme.PARTS)


def test_a_part_that_is_not_up_to_date_is_found() -> None:
    assert readme.written(TEXT.replace("| `port_in_use` |", "| `port_taken` |")) == TEXT


def test_every_error_option_and_verb_is_in_it() -> None:
    for code in errors.BY_CODE:
        assert f"\n| `{code}` | {errors.BY_CODE[code].__name__} | " in TEXT
    for group, options in OPTIONS.items():
        for option in options:
            assert f"\n| `[{group}] {option.name}` | " in TEXT
    for verb in wire.MESSAGES:
        assert re.search(rf"^{verb} .*→", TEXT, re.MULTILINE), verb


def test_the_message_is_one_that_an_agent_takes_and_the_answer_is_whole() -> None:
    message, answer, _ = map(json.loads, blocks("json"))
    request, spec, start, credential = wire.decode_create(message, "readme")
    assert (request.id, start, credential) == (message["request_id"], True, None)
    assert ContainerStatus.model_validate(answer).to_dict() == answer
    assert specs.parse(answer["spec"]).model_dump(mode="json") == answer["spec"]
    assert spec.model_dump(mode="json") == answer["spec"]


def test_the_steps_are_those_of_a_create_in_their_order() -> None:
    steps = [step.name for step in CREATE]
    listed = re.search(r"^    \w+ → .*?\n\n", TEXT, re.DOTALL | re.MULTILINE)
    assert listed is not None
    assert re.findall(r"\w+", listed[0].replace("(read back)", "")) == steps
    assert [step["name"] for step in json.loads(blocks("json")[1])["steps"]] == steps


def test_the_steps_in_the_transcript_are_those_of_a_create() -> None:
    steps = [step.name for step in CREATE]
    compared = re.search(r"^STEP OF IT, median .*?(?=^message, )", TEXT, re.DOTALL | re.MULTILINE)
    created = re.search(
        r"^Create a container that .*\n((?: {4}\w+ .*\n)+)",
        TEXT[TEXT.index("== How long") :],
        re.MULTILINE,
    )
    assert compared is not None
    assert created is not None
    assert [line.split()[0] for line in compared[0].splitlines()[1:]] == steps
    assert [line.split()[0] for line in created[1].splitlines()] == steps


def test_the_error_is_one_of_ours() -> None:
    error = json.loads(blocks("json")[2])
    assert errors.from_dict(error).to_dict() == error


def commands() -> list[str]:
    """The lines of the cheat sheet, without what is said of them."""
    (sheet,) = (block for block in blocks("") if block.startswith("longshore status "))
    return [re.split(r"\s{3,}", line)[0] for line in sheet.splitlines()]


def test_the_registries_file_is_one_that_an_agent_takes(tmp_path: Path) -> None:
    (tmp_path / "hub.password").write_text("secret\n")
    text = blocks("toml")[0].replace("/etc/longshore/hub", str(tmp_path / "hub"))
    (tmp_path / "registries.toml").write_text(text)
    found = settings.load(tmp_path / "registries.toml")
    assert set(found.registry) == {"docker.io", "registry.example.org:5000", "10.0.0.5:5000"}
    assert found.of("docker.io").credential == "hub"


def test_the_flavors_file_is_one_that_an_agent_takes(tmp_path: Path) -> None:
    (tmp_path / "flavors.toml").write_text(blocks("toml")[1])
    (flavor,) = flavors.load(tmp_path / "flavors.toml").statuses()
    assert (flavor.name, flavor.limits.memory) == ("general-small", 512 * 2**20)


@pytest.mark.parametrize("line", commands())
def test_the_command_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web.tar").touch()
    monkeypatch.chdir(tmp_path)
    _parse(shlex.split(line)[1:])


def test_the_examples_of_what_can_be_asked_for_parse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("password", "shop.toml", "ann.pub"):
        (tmp_path / name).write_text(f"{_KEY}\n")
    lines = blocks("sh")[0].replace("\\\n", " ").splitlines()
    assert len(lines) == 4
    for line in lines:
        asked = making.asked(_parse(shlex.split(line)[1:]).params, {})
        assert asked.spec.name


def test_a_command_that_is_none_is_found() -> None:
    assert len(commands()) > 10
    for line in ("longshore rmx x", "longshore run --memroy 1g x", "longshore start"):
        with pytest.raises(click.UsageError):
            _parse(shlex.split(line)[1:])


def _parse(words: list[str]) -> click.Context:
    """Reads a command line as the program does, and runs nothing. Raises click.UsageError."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, *words = words
        if name not in command.commands:
            raise click.UsageError(f"no such command: {name}")
        command = command.commands[name]
    return command.make_context(command.name, words)
