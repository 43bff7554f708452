"""`ps`: the node's containers, and which of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from longshore.cli import agent, tables
from longshore.cli.output import examples, output_option, print_json, print_table
from longshore.model.filters import EVERYTHING, Filter

#: docker's words for states that have another name here.
_STATES: Mapping[str, str] = {"exited": "stopped", "removing": "deleting"}
#: What stands before `=` → the filter's field.
_KINDS: Mapping[str, str] = {
    "label": "labels",
    "status": "states",
    "state": "states",
    "name": "names",
    "id": "ids",
    "ancestor": "images",
    "image": "images",
    "health": "health",
}
_READ: Mapping[str, Callable[[str], str]] = {"states": lambda word: _STATES.get(word, word)}


@click.command(
    epilog=examples(
        "longshore ps",
        "longshore ps -a --no-trunc",
        "longshore ps -f label=tier=web -f status=exited --sort -created",
        "longshore rm $(longshore ps -aq)",
    )
)
@click.option("--all", "-a", "everything", is_flag=True, help="Also those that do not run.")
@click.option("--quiet", "-q", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Whole ids and commands.")
@click.option(
    "--filter", "-f", "filters", multiple=True, metavar="KIND=VALUE",
    help="Of label, status, name (a regular expression), id, ancestor (an image) and health; "
         "of one kind any, but each of the labels.",
)  # fmt: skip
@click.option("--sort", metavar="[-]KEY", help="created, name, state or image; - is backwards.")
@click.option("--last", "-n", type=click.IntRange(min=1), help="The last N made, newest first.")
@click.option("--latest", "-l", is_flag=True, help="The same as --last 1.")
@output_option()
@click.pass_context
def ps(
    context: click.Context,
    *,
    everything: bool,
    quiet: bool,
    no_trunc: bool,
    filters: Sequence[str],
    sort: str | None,
    last: int | None,
    latest: bool,
    output: str,
) -> None:
    """List the node's containers that run.

    With a status, or --last, also others.
    """
    count = 1 if latest else last
    if count is not None and sort is not None:
        raise click.UsageError("--last has an order of its own: drop --sort")
    wanted = asked(filters)
    if not (everything or wanted.states or count):
        wanted = replace(wanted, states=tuple(sorted(tables.ACTIVE)))
    if count is not None:
        wanted = replace(wanted, sort="-created", limit=count)
    elif sort is not None:
        wanted = replace(wanted, sort=sort)
    found = agent.connect(context).list(wanted)
    if output == "json":
        print_json([one.to_dict() for one in found])
    elif quiet:
        for one in found:
            click.echo(one.id if no_trunc else tables.short_id(one.id))
    else:
        now = time.time()
        rows = [tables.container_row(one, now, whole=no_trunc) for one in found]
        print_table(tables.CONTAINERS, rows)


def asked(texts: Sequence[str]) -> Filter:
    """What --filter says, each time that it is given. Raises click.UsageError."""
    given: dict[str, Any] = {}
    for text in texts:
        kind, equals, value = text.partition("=")
        field = _KINDS.get(kind)
        if field is None or not equals or not value:
            raise click.UsageError(
                f"--filter {text}: write KIND=VALUE, where KIND is one of {', '.join(_KINDS)}"
            )
        given[field] = (*given.get(field, ()), _READ.get(field, str)(value))
    return replace(EVERYTHING, **given)
