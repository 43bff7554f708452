"""`diff`: what a container has changed."""

from __future__ import annotations

import click

from longshore.cli import agent
from longshore.cli.output import examples, output_option, print_json

_LETTERS = {"added": "A", "changed": "C", "deleted": "D"}


@click.command(
    short_help="What a container has changed of its image's files.",
    epilog=examples("longshore diff web", "longshore diff -o json web"),
)
@agent.ref_argument()
@output_option()
@click.pass_context
def diff(context: click.Context, ref: str, output: str) -> None:
    """List what CONTAINER has in its own layer: A added, C changed, D deleted.

    A folder is changed when something in it is. Volumes and other mounts are not part of it.
    """
    differences = agent.connect(context).diff(ref)
    if output == "json":
        print_json([one.to_dict() for one in differences])
        return
    for one in differences:
        # Of a control character in a name a terminal would make something else.
        shown = one.path if one.path.isprintable() else repr(one.path)
        click.echo(f"{_LETTERS[one.kind]} {shown}")
