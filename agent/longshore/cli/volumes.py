"""`volume`: folders of the node that stay when containers go."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from longshore.cli import agent, notations, units
from longshore.cli.each import each
from longshore.cli.inspect import format_option, show_all
from longshore.cli.output import (
    Column,
    examples,
    output_option,
    print_json,
    print_table,
)
from longshore.cli.tables import Row
from longshore.model.status import VolumeStatus

VOLUMES = (
    Column("NAME", shrink=True),
    Column("AGE"),
    Column("USED BY", shrink=True),
    Column("LABELS", shrink=True, optional=True),
)


@click.group(epilog=examples("longshore volume create --label tier=db data", "longshore volume ls"))
def volume() -> None:
    """Named volumes of the node."""


@volume.command(
    short_help="Make a volume.",
    epilog=examples("longshore volume create data", "longshore volume create -l tier=db data"),
)
@click.argument("name", metavar="VOLUME")
@click.option("--label", "-l", multiple=True, metavar="KEY[=VALUE]", help="For your own use.")
@output_option()
@click.pass_context
def create(context: click.Context, name: str, label: Sequence[str], output: str) -> None:
    """Make VOLUME, empty. One that is there with the same labels is fine.

    A container that names one makes it too.
    """
    try:
        labels = notations.labels(label)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    made = agent.connect(context).create_volume(name, labels)
    if output == "json":
        print_json(made.to_dict())
    else:
        click.echo(made.name)


@volume.command("ls", epilog=examples("longshore volume ls", "longshore volume ls -q"))
@click.option("--quiet", "-q", is_flag=True, help="Only names.")
@click.option(
    "--filter", "-f", "filters", multiple=True, metavar="label=KEY[=VALUE]",
    help="Only those with that label.",
)  # fmt: skip
@output_option()
@click.pass_context
def list_volumes(
    context: click.Context, *, quiet: bool, filters: Sequence[str], output: str
) -> None:
    """List the volumes of the node, and the containers that have them."""
    wanted = [_filter(text) for text in filters]
    volumes = [
        one
        for one in agent.connect(context).list_volumes()
        if all(key in one.labels and value in (None, one.labels[key]) for key, value in wanted)
    ]
    if output == "json":
        print_json([one.to_dict() for one in volumes])
    elif quiet:
        for one in volumes:
            click.echo(one.name)
    else:
        now = time.time()
        print_table(VOLUMES, [_row(one, now) for one in volumes])


@volume.command(
    "inspect",
    short_help="All about volumes.",
    epilog=examples("longshore volume inspect data", "longshore volume inspect -o table data"),
)
@click.argument(
    "names", metavar="VOLUME...", nargs=-1, required=True, shell_complete=agent.complete_volume
)
@format_option
@output_option("json")
@click.pass_context
def inspect_volumes(
    context: click.Context, names: Sequence[str], template: str | None, output: str
) -> None:
    """Everything that is known of volumes."""
    show_all(context, names, agent.connect(context).show_volume, template, output)


@volume.command(
    short_help="Remove volumes.",
    epilog=examples("longshore volume rm data", "longshore volume rm a b"),
)
@click.argument(
    "names", metavar="VOLUME...", nargs=-1, required=True, shell_complete=agent.complete_volume
)
@output_option()
@click.pass_context
def rm(context: click.Context, names: Sequence[str], output: str) -> None:
    """Remove volumes with all that is in them.

    One that a container has is not removed.
    """
    each(context, names, agent.connect(context).remove_volume, output)


def _filter(text: str) -> tuple[str, str | None]:
    kind, _, label = text.partition("=")
    key, equals, value = label.partition("=")
    if kind != "label" or not key:
        raise click.UsageError(f"--filter {text}: write label=KEY or label=KEY=VALUE")
    return key, value if equals else None


def _row(one: VolumeStatus, now: float) -> Row:
    return (
        one.name,
        units.span(now - one.created_at),
        ", ".join(one.used_by),
        ", ".join(f"{key}={value}" for key, value in sorted(one.labels.items())),
    )
