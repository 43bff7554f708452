"""`exec` and `attach`: a command in a running container, and its own process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from signal import Signals

import click

from longshore.cli import agent, errors, interactive, keys, notations
from longshore.cli.interactive import Ways
from longshore.cli.output import examples
from longshore.cli.spec_options import Notation
from longshore.errors import LongshoreError
from longshore.local.client import Stream

NO_TERMINAL = "-t needs a terminal at the input: leave it out"
#: Whatever comes after the container belongs to the command, dashes and all.
_SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": False}
KEYS = Notation("keys", keys.parse)


@click.command(
    "exec",
    context_settings=_SETTINGS,
    short_help="Run a command in a running container.",
    epilog=examples(
        "longshore exec web nginx -t",
        "longshore exec -it web sh",
        "longshore exec -i -u postgres db psql < dump.sql",
        "longshore exec -e DEBUG=1 -w /srv web ./report",
    ),
)
@click.option("--interactive", "-i", "stdin", is_flag=True, help="Send it what is typed or piped.")
@click.option("--tty", "-t", is_flag=True, help="Give it a terminal.")
@click.option(
    "--env",
    "-e",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Beside the container's; KEY alone takes it from this environment.",
)
@click.option("--workdir", "-w", help="Where it starts; otherwise as the container does.")
@click.option("--user", "-u", help="USER[:GROUP], names or numbers; otherwise the container's.")
@click.option(
    "--privileged", is_flag=True, help="With every capability, if the node's policy allows it."
)
@agent.ref_argument()
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(
    context: click.Context,
    /,
    *,
    ref: str,
    command: Sequence[str],
    stdin: bool,
    tty: bool,
    env: Sequence[str],
    workdir: str | None,
    user: str | None,
    privileged: bool,
) -> None:
    """Run a command in a container that runs, and show what it writes.

    Its exit code becomes this command's: 125 if the agent refuses or goes away, 126 if the command
    could not be started, 127 if it was not found. It is killed when this ends before it does, or
    the agent; there are no keys to leave it. Without -t a signal goes to the command, a second one
    ends both.
    """
    if tty and stdin and not sys.stdin.isatty():
        raise click.UsageError(NO_TERMINAL)
    variables = notations.pairs(env, os.environ)

    def begin() -> Stream:
        return agent.connect(context).exec(
            ref,
            list(command),
            env=variables,
            workdir=workdir,
            user=user,
            tty=tty,
            stdin=stdin,
            size=interactive.size() if tty else None,
            privileged=privileged,
        )

    ended(context, lambda: interactive.run(begin, Ways(tty, stdin, told=_signal)))


@click.command(
    short_help="What a container's own process writes and reads.",
    epilog=examples("longshore attach web", "longshore attach --detach-keys ctrl-x,d shell"),
)
@click.option("--no-stdin", is_flag=True, help="Send it nothing.")
@click.option(
    "--detach-keys",
    type=KEYS,
    default=keys.DEFAULT,
    show_default=True,
    help="What leaves one that has a terminal to itself.",
)
@agent.ref_argument()
@click.pass_context
def attach(context: click.Context, ref: str, *, no_stdin: bool, detach_keys: bytes) -> None:
    """Show what a container writes from now on, and send it what is typed.

    Only one that was made with -i gets input. It goes on when this is left, by the keys or
    otherwise; when it ends, its exit code becomes this command's. An agent that is restarted is
    waited for, half a minute at most: the output goes on where it broke off. Without a terminal of
    its own (-t) a signal goes to its process, a second one leaves it.
    """

    def run() -> int | None:
        client = agent.connect(context)
        spec = client.show(ref).spec
        tty, stdin = bool(spec.get("tty")), bool(spec.get("stdin")) and not no_stdin
        if tty and stdin and not sys.stdin.isatty():
            raise click.UsageError("its terminal needs one at the input: --no-stdin")
        size = interactive.size() if tty else None
        code = interactive.run(
            lambda: client.attach(ref, stdin=stdin, size=_other(size)),
            Ways(tty, stdin, detach_keys if tty else b"", told=_signal),
        )
        if code is None:
            click.echo("left; it goes on", err=True)
        return code

    ended(context, run)


def ended(context: click.Context, run: Callable[[], int | None]) -> None:
    """Ends with the process's exit code, or docker's for what kept it from running."""
    try:
        code = run()
    except LongshoreError as error:
        errors.show(error)
        code = errors.run_exit_code(error)
    context.exit(code or 0)


def _signal(stream: Stream, came: Signals) -> None:
    stream.signal(came.name)


def _other(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """One row more: when the true size follows, a program that fills the screen draws it anew."""
    return None if size is None else (size[0] + 1, size[1])
