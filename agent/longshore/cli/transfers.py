"""`pull` and `push`, and what every command that waits for an image has in common."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import click

from longshore.cli import agent, credentials, progress, units
from longshore.cli.errors import INTERRUPTED
from longshore.cli.output import examples, output_option, print_json_line
from longshore.model.status import ImageStatus, TransferStatus
from longshore.model.transfer import PullPolicy

R = TypeVar("R")
Steps = Generator[TransferStatus, None, R]


class Policy(click.Choice[str]):
    """A pull policy; docker's and podman's `missing` is one of ours too."""

    def __init__(self) -> None:
        super().__init__([policy.value for policy in PullPolicy])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        given = PullPolicy.IF_NOT_PRESENT.value if value == "missing" else value
        return super().convert(given, param, ctx)


@click.command(
    short_help="Fetch an image.",
    epilog=examples(
        "longshore pull busybox",
        "longshore pull --user ci --password-stdin registry.example.org/web:3 < secret",
        "longshore image pull --policy if-not-present --quiet glance://cirros",
    ),
)
@click.option(
    "--policy", type=Policy(), default="always", show_default=True, help="When to ask its source."
)
@credentials.auth_options
@click.option("--quiet", "-q", is_flag=True, help="Only its name, when it is here.")
@click.argument("image", shell_complete=agent.complete_image)
@output_option()
@click.pass_context
def pull(
    context: click.Context, /, *, image: str, policy: str, quiet: bool, output: str, **asked: Any
) -> None:
    """Fetch IMAGE from its registry, or from Glance (glance://ID or glance://NAME).

    However many ask for an image, it is fetched once. Ctrl-C leaves; the pull ends if nobody else
    waits for it. With -o json each status is a line, and the last line is the image.
    """
    auth = credentials.auth(asked)
    client = agent.connect(context)
    found = attended(
        lambda: client.pull_image(image, PullPolicy(policy), auth),
        progress.view(output, quiet=quiet),
        f"left the pull of {image}; it goes on only if others wait for it",
    )
    if output == "json":
        print_json_line(found.to_dict())
    else:
        click.echo(found.name if quiet else image_line(found))


@click.command(
    short_help="Send an image.",
    epilog=examples(
        "longshore push registry.example.org/team/web:3",
        "longshore push --credential ci web:3 registry.example.org/team/web:3",
        "longshore image push web:3 glance://web",
    ),
)
@credentials.auth_options
@click.option("--quiet", "-q", is_flag=True, help="Only the digest that it has there.")
@click.argument("image", shell_complete=agent.complete_image)
@click.argument("to", required=False)
@output_option()
@click.pass_context
def push(
    context: click.Context,
    /,
    *,
    image: str,
    to: str | None,
    quiet: bool,
    output: str,
    **asked: Any,
) -> None:
    """Send IMAGE to the registry that its name says, or to TO: a name, or glance://NAME.

    What is there already is not sent again. With -o json each status is a line.
    """
    auth = credentials.auth(asked)
    client = agent.connect(context)
    target = to or image
    last = attended(
        lambda: client.push_image(image, target, auth),
        progress.view(output, quiet=quiet),
        f"left the push of {image}; what is there of it already is not sent again",
    )
    if output == "json":
        print_json_line(last.to_dict())
    elif quiet:
        click.echo(last.digest)
    else:
        click.echo(f"{target} ({units.size(last.total)}, {last.digest})")


def image_line(one: ImageStatus) -> str:
    """`docker.io/library/busybox:latest (2.1 MiB, sha256:…)`."""
    return f"{one.name} ({units.size(one.size)}, {one.digest})"


def watched(steps: Steps[R], view: progress.View) -> R:
    """Shows each step, and returns what comes of them."""
    with closing(steps), closing(view):
        while True:
            try:
                view.show(next(steps))
            except StopIteration as end:
                result: R = end.value
                return result


def attended(begin: Callable[[], Steps[R]], view: progress.View, left: str) -> R:
    """As `watched`, until a signal ends it: then says that it was `left`, and exits so."""
    with left_by_signal(left):
        return watched(begin(), view)


@contextmanager
def left_by_signal(left: str) -> Iterator[None]:
    """What a signal ends in here says that it was `left`, and exits so."""
    try:
        with _terminated_as_interrupted():
            yield
    except KeyboardInterrupt:
        click.echo(f"longshore: {left}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Else SIGTERM would leave a terminal behind on which bars were being drawn."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
