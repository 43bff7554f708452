"""`wait`, and `container` with `prune`: many containers at once."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import click

from longshore.cli import agent, errors, spec_options
from longshore.cli.errors import FAILED
from longshore.cli.output import META, examples, output_option, print_json
from longshore.errors import LongshoreError
from longshore.local.client import LocalClient
from longshore.model.filters import Filter
from longshore.model.status import ContainerStatus

#: Words of `wait` after which there is an exit code to print.
_ENDS = frozenset({"not-running", "next-exit", "removed"})
_CONDITIONS = ("not-running", "next-exit", "removed", "running", "healthy")
#: States of what `container prune` deletes.
_ENDED = ("created", "stopped", "error", "failed")
#: What docker lets one say behind `container`, and where it has another name without that.
_LONG = frozenset(
    "attach commit cp create diff exec inspect kill logs ls pause plan ps rename restart rm run "
    "start stats stop top unpause update wait".split()
)
_SHORT = {"ls": "ps"}
_PARTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)


@click.command(
    short_help="Wait for containers.",
    epilog=examples(
        "longshore wait job",
        "longshore wait --condition healthy --timeout 2m web db",
        "longshore wait --condition removed $(longshore ps -q -f label=batch)",
    ),
)
@click.option(
    "--condition", type=click.Choice(_CONDITIONS), default="not-running", show_default=True,
    help="What is waited for; next-exit: its next end from now on.",
)  # fmt: skip
@click.option("--timeout", type=spec_options.SECONDS, help="Otherwise as long as it takes.")
@agent.ref_argument(many=True)
@output_option()
@click.pass_context
def wait(
    context: click.Context,
    refs: Sequence[str],
    condition: str,
    timeout: float | None,
    output: str,
) -> None:
    """Wait until containers have ended, and print their exit codes.

    All are waited for at once; their exit codes come in the order of the command line. With running
    or healthy their names are printed instead. Ends with 5 if it cannot come about any more, and
    with 6 when the time is over.
    """
    client = agent.connect(context)
    pool = ThreadPoolExecutor(len(refs), thread_name_prefix="wait")
    code = 0
    done: list[ContainerStatus] = []
    try:
        waits = [pool.submit(client.wait, ref, condition, timeout) for ref in refs]
        for ref, one in zip(refs, waits, strict=True):
            try:
                status = one.result()
            except LongshoreError as error:
                errors.show(error, as_json=context.meta.get(META) == "json")
                code = code or errors.exit_code(error)
                continue
            done.append(status)
            if output == "table":
                click.echo(_exit_code(status) if condition in _ENDS else ref)
                sys.stdout.flush()
    finally:
        # Interrupted, it leaves: the connection's end is the end of every wait.
        client.close()
        pool.shutdown(wait=False, cancel_futures=True)
    if output == "json":
        print_json([one.to_dict() for one in done])
    context.exit(code)


class Containers(click.Group):
    """Takes docker's long forms too: `container start` is `start`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        program = ctx.parent.command if ctx.parent is not None else None
        if own is not None or cmd_name not in _LONG or not isinstance(program, click.Group):
            return own
        return program.get_command(ctx, _SHORT.get(cmd_name, cmd_name))


@click.group(cls=Containers, epilog=examples("longshore container prune -f"))
def container() -> None:
    """All containers of the node; docker's long forms, such as container ls, work too."""


@container.command(
    short_help="Delete those that do not run.",
    epilog=examples(
        "longshore container prune",
        "longshore container prune -f --filter until=24h --filter label=batch",
    ),
)
@click.option("--yes", "-y", "--force", "-f", "sure", is_flag=True, help="Do not ask.")
@click.option(
    "--filter", "filters", multiple=True, metavar="label=KEY[=VALUE]|until=TIME",
    help="Only those with that label; only those that ended before that: 24h, 1h30m, "
         "2026-01-31T12:00:00, or Unix seconds.",
)  # fmt: skip
@output_option()
@click.pass_context
def prune(context: click.Context, *, sure: bool, filters: Sequence[str], output: str) -> None:
    """Delete all containers that have ended, failed, or were never started.

    On a terminal it asks first. What cannot be deleted is told, and the others go.
    """
    now = time.time()
    labels, age = _asked(filters, now)
    client = agent.connect(context)
    if not sure and sys.stdin.isatty() and not _confirmed(client, labels, now - age):
        click.echo("longshore: nothing was deleted", err=True)
        context.exit(FAILED)
    pruned = client.prune_containers(labels, age)
    if output == "json":
        print_json(pruned.to_dict())
    else:
        for name in pruned.containers:
            click.echo(name)
        for failure in pruned.failures:
            click.echo(f"longshore: {failure.message}", err=True)
    context.exit(FAILED if pruned.failures else 0)


def _confirmed(client: LocalClient, labels: Sequence[str], before: float) -> bool:
    ended = [
        one
        for one in client.list(Filter(states=_ENDED, labels=tuple(labels)))
        if (one.finished_at or one.created_at) <= before
    ]
    for one in ended:
        click.echo(f"  {one.name} ({one.state}, {one.image})", err=True)
    what = f"{len(ended)} container{'' if len(ended) == 1 else 's'}, with all their data"
    return click.confirm(f"Delete {what}?", err=True)


def _asked(filters: Sequence[str], now: float) -> tuple[Sequence[str], float]:
    """Labels, and an age in seconds."""
    labels: list[str] = []
    age = 0.0
    for text in filters:
        kind, _, value = text.partition("=")
        if kind == "label" and value:
            labels.append(value)
        elif kind == "until" and value:
            try:
                age = max(age, now - _time(value, now), 0.0)
            except (ValueError, OverflowError) as error:
                raise click.UsageError(f"--filter {text}: {error}") from error
        else:
            raise click.UsageError(
                f"--filter {text}: write label=KEY, label=KEY=VALUE or until=TIME"
            )
    return labels, age


def _time(text: str, now: float) -> float:
    """Unix seconds of `24h` (before now), of an ISO time, or of Unix seconds.

    Raises:
        ValueError: it is none of them.
    """
    parts = _PARTS.fullmatch(text)
    if parts is not None:
        return now - sum(
            float(part or 0) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True)
        )
    for read in (float, lambda date: datetime.fromisoformat(date).timestamp()):
        try:
            at = read(text)
        except ValueError:
            continue
        if math.isfinite(at):
            return at
    raise ValueError("is no time: write 24h, 1h30m or 2026-01-31T12:00:00")


def _exit_code(one: ContainerStatus) -> str:
    """As docker has it: 0 of what has never run; `-` where nobody saw how it ended."""
    if one.exit_code is not None:
        return str(one.exit_code)
    return "0" if one.started_at is None else "-"
