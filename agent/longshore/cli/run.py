"""`run` and `create`: a container from docker's options."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from longshore.cli import agent, errors, execs, foreground, keys, making, progress, sitting
from longshore.cli.making import Making
from longshore.cli.output import examples, output_option, print_json
from longshore.cli.transfers import attended
from longshore.errors import LongshoreError
from longshore.model.status import ContainerStatus

# Whatever comes after IMAGE belongs to the command, dashes and all.
_SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": False}


@click.command(
    context_settings=_SETTINGS,
    short_help="Make and start a container.",
    epilog=examples(
        "longshore run -d --name web --memory 256m --cpus 0.5 -p 8080:80 \\",
        "    -v /srv/site:/www:ro busybox:1 httpd -f -h /www",
        "longshore run --rm busybox:1 echo hello",
        "longshore run --rm -it busybox:1 sh",
        "longshore run -d -P --pull always --image-credential ci registry.example.org/web:3",
        "longshore run -d --network none --tmpfs /scratch:size=64m busybox:1 sleep 60",
        "longshore run -d --flavor general-small --init --read-only --userns private \\",
        "    -v data:/var/lib/db --secret id=password,src=./password,uid=70 db:1",
    ),
)
@click.option("--detach", "-d", is_flag=True, help="Print its id and leave it running.")
@click.option(
    "--detach-keys",
    type=execs.KEYS,
    default=keys.DEFAULT,
    show_default=True,
    help="With -t: what leaves it to itself.",
)
@output_option()
@making.options
@click.pass_context
def run(
    context: click.Context, /, *, detach: bool, detach_keys: bytes, output: str, **given: Any
) -> None:
    """Make a container of IMAGE and start it.

    An image that is not here is pulled first, which is shown on stderr. Without -d the container's
    output is shown until it ends, and its exit code becomes this command's: 125 if there is no
    container to start, 126 if it could not be started, 127 if its command was not found. Ctrl-C
    stops it, a second one kills it. With -i it reads what is typed or piped; with -t it has a
    terminal, and Ctrl-C is its.
    """
    if not detach and output == "json":
        raise click.UsageError("-o json needs -d: the foreground shows what the container writes")
    asked = making.asked(given, os.environ)
    spec = asked.spec
    if not detach and spec.tty and spec.stdin and not sys.stdin.isatty():
        raise click.UsageError(execs.NO_TERMINAL)
    if detach:
        _print(_made(context, asked, start=True), output)
        return
    if spec.tty or spec.stdin:

        def sit() -> int | None:
            _made(context, asked, start=False)
            return sitting.run(agent.connect(context), spec, detach_keys)

        execs.ended(context, sit)
    try:
        context.exit(foreground.run(lambda: agent.connect(context), asked))
    except LongshoreError as error:
        errors.show(error)
        context.exit(errors.run_exit_code(error))


@click.command(
    context_settings=_SETTINGS,
    short_help="Make a container.",
    epilog=examples("longshore create --name web -p 8080:80 web:1", "longshore start web"),
)
@output_option()
@making.options
@click.pass_context
def create(context: click.Context, /, *, output: str, **given: Any) -> None:
    """Make a container of IMAGE without starting it, and print its id."""
    asked = making.asked(given, os.environ)
    _print(_made(context, asked, start=False), output)


def _made(context: click.Context, asked: Making, *, start: bool) -> ContainerStatus:
    client = agent.connect(context)
    begin = asked.fetch(client)
    if begin is not None:
        view = progress.view(quiet=asked.quiet)
        attended(begin, view, f"left the pull of {asked.spec.image}")
    return asked.make(client, start=start)


def _print(status: ContainerStatus, output: str) -> None:
    if output == "json":
        print_json(status.to_dict())
    else:
        click.echo(status.id)
