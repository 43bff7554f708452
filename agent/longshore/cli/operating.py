"""`restart`, `kill`, `pause`, `unpause`, `rename`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from longshore.cli import agent, spec_options
from longshore.cli.each import each
from longshore.cli.output import examples, output_option, print_json


@click.command(
    short_help="Restart containers.",
    epilog=examples("longshore restart web", "longshore restart -t 2 web db"),
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
def restart(context: click.Context, refs: Sequence[str], grace: float | None, output: str) -> None:
    """Stop containers that run, as `stop` does, and start them again."""
    client = agent.connect(context)
    each(context, refs, lambda ref: client.restart(ref, grace=grace), output)


@click.command(
    short_help="Send containers a signal.",
    epilog=examples("longshore kill web", "longshore kill -s HUP web db"),
)
@click.option(
    "--signal", "-s", default="SIGKILL", show_default=True, help="A name, such as HUP, or a number."
)
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def kill(context: click.Context, refs: Sequence[str], signal: str, output: str) -> None:
    """Send the first process of containers a signal.

    What SIGKILL ends stays stopped. After any other signal its restart policy decides.
    """
    client = agent.connect(context)
    each(context, refs, lambda ref: client.kill(ref, signal=signal), output)


@click.command(
    short_help="Freeze containers.",
    epilog=examples("longshore pause web", "longshore pause web db"),
)
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def pause(context: click.Context, refs: Sequence[str], output: str) -> None:
    """Freeze all processes of containers; they keep their memory and addresses."""
    each(context, refs, agent.connect(context).pause, output)


@click.command(
    short_help="Let paused containers go on.",
    epilog=examples("longshore unpause web", "longshore unpause web db"),
)
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def unpause(context: click.Context, refs: Sequence[str], output: str) -> None:
    """Let the processes of paused containers go on."""
    each(context, refs, agent.connect(context).unpause, output)


@click.command(short_help="Rename a container.", epilog=examples("longshore rename web web-old"))
@agent.ref_argument()
@click.argument("name", metavar="NEW_NAME")
@output_option()
@click.pass_context
def rename(context: click.Context, ref: str, name: str, output: str) -> None:
    """Give a container another name, whether it runs or not. Its host name stays."""
    status = agent.connect(context).rename(ref, name)
    if output == "json":
        print_json(status.to_dict())
