"""`start`, `stop`, `rm`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from longshore.cli import agent, spec_options
from longshore.cli.each import each
from longshore.cli.output import (
    examples,
    output_option,
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
