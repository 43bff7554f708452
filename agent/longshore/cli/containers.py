"""`start`, `stop`, `rm`, `ps`, `inspect`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from longshore.cli import agent, facts, spec_options, tables
from longshore.cli.each import each
from longshore.cli.output import (
    examples,
    output_option,
    print_facts,
    print_heading,
    print_json,
    print_table,
)


@click.command(
    short_help="Start containers.", epilog=examples("longshore start web", "longshore start web db")
)
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def start(context: click.Context, refs: Sequence[str], output: str) -> None:
    """Start containers that were created or have stopped."""
    client = agent.connect(context)
    each(context, refs, client.start, output)


@click.command(
    short_help="Stop containers.",
    epilog=examples("longshore stop web", "longshore stop -t 2 web db"),
)
@click.option(
    "--time",
    "-t",
    "grace",
    type=spec_options.SECONDS,
    help="Seconds until SIGKILL; otherwise its own.",
)
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def stop(context: click.Context, refs: Sequence[str], grace: float | None, output: str) -> None:
    """Stop containers: their stop signal first, SIGKILL after their grace time."""
    client = agent.connect(context)
    each(context, refs, lambda ref: client.stop(ref, grace=grace), output)


@click.command(
    short_help="Remove containers.", epilog=examples("longshore rm web", "longshore rm -f web db")
)
@click.option("--force", "-f", is_flag=True, help="Also while it runs.")
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def rm(context: click.Context, refs: Sequence[str], *, force: bool, output: str) -> None:
    """Remove containers, with everything that was made for them."""
    client = agent.connect(context)
    each(context, refs, lambda ref: client.delete(ref, force=force), output)


@click.command(
    epilog=examples(
        "longshore ps", "longshore ps -a --no-trunc", "longshore rm $(longshore ps -aq)"
    )
)
@click.option("--all", "-a", "everything", is_flag=True, help="Also those that do not run.")
@click.option("--quiet", "-q", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Whole ids and commands.")
@output_option()
@click.pass_context
def ps(
    context: click.Context, *, everything: bool, quiet: bool, no_trunc: bool, output: str
) -> None:
    """List the node's containers that run."""
    found = [
        one for one in agent.connect(context).list() if everything or one.state in tables.ACTIVE
    ]
    if output == "json":
        print_json([one.to_dict() for one in found])
    elif quiet:
        for one in found:
            click.echo(one.id if no_trunc else tables.short_id(one.id))
    else:
        now = time.time()
        rows = [tables.container_row(one, now, whole=no_trunc) for one in found]
        print_table(tables.CONTAINERS, rows)


@click.command(
    short_help="All about one container.",
    epilog=examples("longshore inspect web", "longshore inspect -o table web"),
)
@agent.ref_argument()
@output_option("json")
@click.pass_context
def inspect(context: click.Context, ref: str, output: str) -> None:
    """Everything that is known of one container, with how long each step of its start took."""
    status = agent.connect(context).show(ref)
    if output == "json":
        print_json(status.to_dict())
        return
    print_facts(facts.container_facts(status, time.time()))
    if status.steps:
        print_heading("Last start")
        print_table(tables.STEPS, tables.step_rows(status))
