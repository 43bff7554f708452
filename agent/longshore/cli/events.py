"""`events`: changes as they happen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click

from longshore.cli import agent, spec_options, tables
from longshore.cli.output import examples, output_option, print_json_line
from longshore.model.interest import GAP
from longshore.model.status import Change

_KEYS = ("container", "kind", "state")


@click.command(
    short_help="Changes as they happen.",
    epilog=examples(
        "longshore events",
        "longshore events --since 10m -f container=web",
        "longshore events --after 0 -f state=stopped -o json | jq .exit_code",
    ),
)
@click.option(
    "--filter",
    "-f",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="container=NAME, kind=state|health|renamed|signalled|limits, or state=NAME.",
)
@click.option(
    "--since",
    type=spec_options.SECONDS,
    help="Also past ones of so many seconds (30, 10m, 1h), as far as the agent has them.",
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    help="Also past ones whose number is above this; 0: all since the agent's start.",
)
@output_option()
@click.pass_context
def events(
    context: click.Context,
    filters: Sequence[str],
    since: float | None,
    after: int | None,
    output: str,
) -> None:
    """What changes of containers, with the reason, as it happens, until interrupted.

    Several filters of one key: any of them; several keys: each of them. Changes from before the
    agent's start are in `longshore explain`.
    """
    if since is not None and after is not None:
        raise click.UsageError("--since and --after: give one of both")
    wanted = _wanted(filters)
    first = 0.0 if since is None else time.time() - since
    changes = agent.connect(context).watch(
        0 if since is not None else after, refs=wanted["container"], kinds=wanted["kind"]
    )
    for change in changes:
        if change.at < first or not _in_state(change, wanted["state"]):
            continue
        if output == "json":
            print_json_line(change.to_dict())
        else:
            click.echo(tables.change_line(change))


def _in_state(change: Change, states: Sequence[str]) -> bool:
    return not states or change.kind == GAP or change.state in states


def _wanted(filters: Sequence[str]) -> Mapping[str, list[str]]:
    wanted: dict[str, list[str]] = {key: [] for key in _KEYS}
    for text in filters:
        key, _, value = text.partition("=")
        if key not in wanted or not value:
            raise click.UsageError(f"--filter {text}: write one of {', '.join(_KEYS)}, and =VALUE")
        wanted[key].append(value)
    return wanted
