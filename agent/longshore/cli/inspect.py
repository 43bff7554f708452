"""`inspect`: all that is known of containers, images and volumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import click

from longshore.cli import agent, errors, facts, image_tables, tables, units
from longshore.cli.output import (
    META,
    examples,
    output_option,
    print_facts,
    print_heading,
    print_json,
    print_table,
)
from longshore.cli.picking import shown
from longshore.errors import LongshoreError, NotFound
from longshore.local.client import LocalClient
from longshore.model.status import ContainerStatus, ImageDetail, Value, VolumeStatus

#: In the order in which a name is looked for.
_SHOW: Mapping[str, Callable[[LocalClient, str], Value]] = {
    "container": lambda client, ref: client.show(ref),
    "image": lambda client, ref: client.show_image(ref),
    "volume": lambda client, ref: client.show_volume(ref),
}


def format_option(command: Any) -> Any:
    """`--format`; the command gets it as `template`."""
    return click.option(
        "--format",
        "-f",
        "template",
        metavar="PATH",
        help="Only this: state, nics.0.address, or '{{.name}} is {{.state}}'.",
    )(command)


@click.command(
    short_help="All about containers, images and volumes.",
    epilog=examples(
        "longshore inspect web",
        "longshore inspect -o table web",
        "longshore inspect -f state web db",
        "longshore inspect --type image busybox",
    ),
)
@click.option("--type", "kind", type=click.Choice(list(_SHOW)), help="Only of this kind.")
@format_option
@click.argument(
    "refs", metavar="NAME...", nargs=-1, required=True, shell_complete=agent.complete_container
)
@output_option("json")
@click.pass_context
def inspect(
    context: click.Context, refs: Sequence[str], kind: str | None, template: str | None, output: str
) -> None:
    """Everything that is known of containers, or else images or volumes, of these names.

    One is shown as it is, several as a list. What is missing is told, and the others are shown.
    """
    client = agent.connect(context)
    kinds = [kind] if kind else list(_SHOW)
    show_all(context, refs, lambda ref: _found(client, kinds, ref), template, output)


def show_all(
    context: click.Context,
    refs: Sequence[str],
    show: Callable[[str], Value],
    template: str | None,
    output: str,
) -> None:
    """Ends with the first failure's code."""
    found: list[Value] = []
    code = 0
    for ref in refs:
        try:
            found.append(show(ref))
        except LongshoreError as error:
            errors.show(error, as_json=context.meta.get(META) == "json")
            code = code or errors.exit_code(error)
    if template is not None:
        for one in found:
            click.echo(_picked(template, one))
    elif output == "json":
        values = [one.to_dict() for one in found]
        if len(refs) > 1:
            print_json(values)
        elif values:
            print_json(values[0])
    else:
        for index, one in enumerate(found):
            if index:
                print_heading()
            _TABLES[type(one)](one)
    context.exit(code)


def _found(client: LocalClient, kinds: Sequence[str], ref: str) -> Value:
    """Raises the first kind's NotFound where none has it."""
    missing: list[LongshoreError] = []
    for kind in kinds:
        try:
            return _SHOW[kind](client, ref)
        except LongshoreError as error:
            # What can be no image's or volume's name has been said to be no container's.
            if not missing and not isinstance(error, NotFound):
                raise
            missing.append(error)
    raise missing[0]


def _picked(template: str, one: Value) -> str:
    try:
        return shown(template, one.to_dict())
    except ValueError as error:
        raise click.UsageError(f"--format {template}: {error}") from error


def _container(value: Value) -> None:
    one = cast(ContainerStatus, value)
    print_facts(facts.container_facts(one, time.time()))
    if one.steps:
        print_heading("Last start")
        print_table(tables.STEPS, tables.step_rows(one))


def _image(value: Value) -> None:
    one = cast(ImageDetail, value)
    print_facts(image_tables.image_facts(one, time.time()))
    if one.layers:
        print_heading("Layers")
        print_table(image_tables.LAYERS, image_tables.layer_rows(one))


def _volume(value: Value) -> None:
    one = cast(VolumeStatus, value)
    shown = [
        ("Volume", one.name),
        ("Created", units.moment(one.created_at)),
        ("Folder", one.path),
        ("Used by", ", ".join(one.used_by)),
        *(("Label", f"{key}={value}") for key, value in sorted(one.labels.items())),
    ]
    print_facts([(name, value) for name, value in shown if value])


_TABLES: Mapping[type[Value], Callable[[Value], None]] = {
    ContainerStatus: _container,
    ImageDetail: _image,
    VolumeStatus: _volume,
}
