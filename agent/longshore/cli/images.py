"""`image`: what is on the node."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from longshore.cli import agent, image_tables, units
from longshore.cli.each import each
from longshore.cli.errors import FAILED
from longshore.cli.inspect import format_option, show_all
from longshore.cli.output import (
    examples,
    output_option,
    print_json,
    print_table,
)
from longshore.local.client import LocalClient


@click.group(epilog=examples("longshore image load web.tar", "longshore image ls"))
def image() -> None:
    """Images on the node."""


@image.command("ls", epilog=examples("longshore image ls", "longshore image ls -q"))
@click.option("--quiet", "-q", is_flag=True, help="Only names.")
@click.option("--no-trunc", is_flag=True, help="Whole digests.")
@output_option()
@click.pass_context
def list_images(context: click.Context, *, quiet: bool, no_trunc: bool, output: str) -> None:
    """List the images on the node, and the containers that use them."""
    images = agent.connect(context).list_images()
    if output == "json":
        print_json([one.to_dict() for one in images])
    elif quiet:
        for one in images:
            click.echo(one.name)
    else:
        now = time.time()
        print_table(
            image_tables.IMAGES,
            [image_tables.image_row(one, now, whole=no_trunc) for one in images],
        )


@image.command(
    "inspect",
    short_help="All about images.",
    epilog=examples("longshore image inspect busybox", "longshore image inspect -o table web:3"),
)
@click.argument(
    "names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=agent.complete_image
)
@format_option
@output_option("json")
@click.pass_context
def inspect_images(
    context: click.Context, names: Sequence[str], template: str | None, output: str
) -> None:
    """Everything that is known of images: their layers, and how their containers run."""
    show_all(context, names, agent.connect(context).show_image, template, output)


@image.command(
    short_help="Give an image one more name.",
    epilog=examples("longshore image tag web:3 registry.example.org/team/web:3"),
)
@click.argument("name", metavar="IMAGE", shell_complete=agent.complete_image)
@click.argument("new", metavar="NAME")
@output_option()
@click.pass_context
def tag(context: click.Context, name: str, new: str, output: str) -> None:
    """Give IMAGE one more NAME; one that stood for another image is moved to this one."""
    tagged = agent.connect(context).tag_image(name, new)
    if output == "json":
        print_json(tagged.to_dict())
    else:
        click.echo(tagged.name)


@image.command(
    short_help="Remove images.", epilog=examples("longshore image rm busybox web:2 web:3")
)
@click.argument(
    "names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=agent.complete_image
)
@output_option()
@click.pass_context
def rm(context: click.Context, names: Sequence[str], output: str) -> None:
    """Remove images: each by the name given, and its content with its last name.

    One that a container uses is not removed.
    """
    each(context, names, agent.connect(context).remove_image, output)


@image.command(
    short_help="Remove what is not needed.",
    epilog=examples("longshore image prune", "longshore image prune --all --yes"),
)
@click.option("--all", "-a", "everything", is_flag=True, help="Also images no container uses.")
@click.option("--yes", "-y", "--force", "-f", "sure", is_flag=True, help="Do not ask.")
@output_option()
@click.pass_context
def prune(context: click.Context, *, everything: bool, sure: bool, output: str) -> None:
    """Remove content that no image needs, such as what a broken pull has left.

    On a terminal it asks first.
    """
    client = agent.connect(context)
    if not sure and sys.stdin.isatty() and not _confirmed(client, everything=everything):
        click.echo("longshore: nothing was removed", err=True)
        context.exit(FAILED)
    pruned = client.prune_images(all=everything)
    if output == "json":
        print_json(pruned.to_dict())
        return
    for name in pruned.images:
        click.echo(name)
    click.echo(f"{units.size(pruned.bytes)} freed")


def _confirmed(client: LocalClient, *, everything: bool) -> bool:
    unused = [one for one in client.list_images() if not one.used_by] if everything else []
    for one in unused:
        click.echo(f"  {one.name} ({units.size(one.size)})", err=True)
    count = f"{len(unused)} image{'' if len(unused) == 1 else 's'} that no container uses"
    what = f"{count}, and content that no image needs" if unused else "content no image needs"
    return click.confirm(f"Remove {what}?", err=True)
