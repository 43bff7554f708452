"""`logs` and `events`: what goes on until someone ends it."""

from __future__ import annotations

import click

from longshore.cli import agent, tables
from longshore.cli.foreground import write
from longshore.cli.output import examples, output_option, print_json_line


@click.command(
    short_help="What a container wrote.",
    epilog=examples("longshore logs web", "longshore logs -f -n 20 web"),
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the container has ended.")
@click.option(
    "--tail", "-n", type=click.IntRange(min=0), help="Begin with so many lines of each stream."
)
@agent.ref_argument()
@output_option()
@click.pass_context
def logs(context: click.Context, ref: str, *, follow: bool, tail: int | None, output: str) -> None:
    """What a container wrote, its stderr on stderr.

    With -o json each piece is a line: {"stream": "stdout", "data": "…"}.
    """
    for chunk in agent.connect(context).logs(ref, tail=tail, follow=follow):
        if not chunk.data:
            continue
        if output == "json":
            text = chunk.data.decode(errors="replace")
            print_json_line({"stream": chunk.stream, "data": text})
        else:
            write(chunk.stream, chunk.data)


@click.command(
    short_help="Changes as they happen.",
    epilog=examples("longshore events", "longshore events --after 0 -o json | jq .state"),
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    help="Also past ones whose number is above this; 0: all since the agent's start.",
)
@output_option()
@click.pass_context
def events(context: click.Context, *, after: int | None, output: str) -> None:
    """Containers' changes of state as they happen, with their reasons, until interrupted."""
    for change in agent.connect(context).watch(after):
        if output == "json":
            print_json_line(change.to_dict())
        else:
            click.echo(tables.change_line(change))
