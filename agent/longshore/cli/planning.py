"""`plan`: what a change of a container would take; and what all have that speak of changes."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from longshore.cli import agent, spec_options, specs
from longshore.cli.agent import complete_image
from longshore.cli.errors import FAILED
from longshore.cli.output import Column, examples, output_option, print_json, print_table
from longshore.model.limits import BYTES
from longshore.model.sizes import size
from longshore.model.status import FieldChange, PlanStatus

F = TypeVar("F", bound=Callable[..., Any])
_SIZES = frozenset(f"limits.{name}" for name in BYTES)
#: The most that a plan takes → what that means for the container.
_SAYS: Mapping[str, str] = {
    "nothing": "nothing would change",
    "live": "all of it can be changed while it runs",
    "restart": "it has to be started again",
    "recreate": "it has to be made anew, around the same files, addresses, ports and volumes",
    "never": "not all of it can be changed: it takes another container",
}


def columns(before: str, after: str) -> Sequence[Column]:
    """Of a table of changes. `before`, `after`: titles of what was and what comes."""
    return (
        Column("FIELD"),
        Column(before, shrink=True),
        Column(after, shrink=True),
        Column("WHEN"),
        Column("WHY", shrink=True, optional=True),
    )


def rows(changes: Sequence[FieldChange]) -> Sequence[Sequence[str]]:
    return [_row(one) for one in changes]


def change_options(command: F) -> F:
    """A patch, or the options of `create` that make one."""
    more = [
        click.option("--patch", metavar="JSON",
                     help="A merge patch (RFC 7396) of its spec; null is the default."),
        click.option("--patch-file", "-f", metavar="FILE",
                     type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
                     help="The same from a file, or from - (stdin)."),
        spec_options.change_options,
        click.option("--image", metavar="IMAGE", shell_complete=complete_image,
                     help="Another image."),
        click.option("--command", metavar="WORDS", help="In place of its command; as a shell "
                     "would split it."),
        click.option("--env-rm", multiple=True, metavar="KEY", help="Without that variable."),
        click.option("--label-rm", multiple=True, metavar="KEY", help="Without that label."),
    ]  # fmt: skip
    for decorate in reversed(more):
        command = decorate(command)
    return command


def asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that they describe; where both say something the options win.

    Raises:
        click.UsageError: there is none, or it is no JSON object.
    """
    patch: dict[str, Any] = {}
    if given["patch_file"] is not None:
        patch = _over(patch, _object("--patch-file", _read(given["patch_file"])))
    if given["patch"] is not None:
        patch = _over(patch, _object("--patch", given["patch"]))
    patch = _over(patch, specs.patch(given, os.environ))
    try:
        if given["command"] is not None:
            patch["command"] = shlex.split(given["command"])
    except ValueError as error:
        raise click.UsageError(f"--command: {error}") from error
    if not patch:
        raise click.UsageError("say what is to change: --patch, or an option of create")
    return patch


@click.command(
    short_help="What would a change take?",
    epilog=examples(
        "longshore plan web --memory 1g --env-rm DEBUG -e LEVEL=info",
        'longshore plan web --patch \'{"restart": {"policy": "always"}}\'',
        "longshore plan web -f patch.json -o json",
    ),
)
@agent.ref_argument()
@output_option()
@change_options
@click.pass_context
def plan(context: click.Context, /, *, ref: str, output: str, **given: Any) -> None:
    """Tell what a change of CONTAINER would take, field by field. Nothing is changed.

    Its options are those of create. What may be given to them more than once takes the place of
    all that it has, but for variables and labels. Ends with 1 if the node would not take it.
    """
    answer = agent.connect(context).plan(ref, asked(given))
    if output == "json":
        print_json(answer.to_dict())
    else:
        _say(ref, answer)
    context.exit(0 if answer.error is None else FAILED)


def _say(ref: str, answer: PlanStatus) -> None:
    if answer.changes:
        print_table(columns("NOW", "THEN"), rows(answer.changes))
    click.echo(f"{ref}: {_SAYS.get(answer.when, answer.when)}")
    if answer.error is not None:
        click.echo(f"this node would not take it: {answer.error.message}")
        if answer.error.hint:
            click.echo(f"hint: {answer.error.hint}", err=True)


def _row(one: FieldChange) -> tuple[str, ...]:
    return (one.field, *(_text(one.field, value) for value in (one.before, one.after)), one.when,
            one.why)  # fmt: skip


def _text(field: str, value: Any) -> str:
    if value is None:
        return "-"
    if field in _SIZES:
        return size(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read(path: Path) -> str:
    try:
        with click.open_file(str(path), encoding="utf-8") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--patch-file: cannot read {path}: {error}") from error


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.UsageError(f"{option}: must be a JSON object")
    return value


def _over(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Both patches as one. Unlike a patch's, a null of theirs stays."""
    result = dict(base)
    for key, value in patch.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _over(result[key], value) if both else value
    return result
