"""`versions`: the configurations that a container has had, and how they differ."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from longshore.cli import agent, units
from longshore.cli.output import Column, examples, output_option, print_json, print_table
from longshore.cli.planning import columns, rows
from longshore.model.status import VersionStatus

_VERSIONS = (
    Column("VERSION", right=True),
    Column("STATE"),
    Column("ASKED"),
    Column("BY", shrink=True, optional=True),
    Column("CHANGES", shrink=True),
    Column("WHY", shrink=True, optional=True),
)


@click.command(
    short_help="The configurations that a container has had.",
    epilog=examples(
        "longshore versions web",
        "longshore versions --diff 1 3 web",
        "longshore rollback web 1",
    ),
)
@click.option(
    "--diff", nargs=2, type=click.IntRange(min=1), metavar="A B", help="How B differs from A."
)
@agent.ref_argument()
@output_option()
@click.pass_context
def versions(context: click.Context, ref: str, diff: tuple[int, int] | None, output: str) -> None:
    """List the versions of CONTAINER's configuration, the oldest first: the last ten.

    CHANGES are against the version before it.
    """
    client = agent.connect(context)
    if diff is not None:
        changes = client.compare_versions(ref, *diff)
        if output == "json":
            print_json([one.to_dict() for one in changes])
        elif changes:
            print_table(columns(*(f"VERSION {number}" for number in diff)), rows(changes))
        else:
            click.echo(f"{ref}: versions {diff[0]} and {diff[1]} are the same")
        return
    found = client.versions(ref)
    if output == "json":
        print_json([one.to_dict() for one in found])
    else:
        now = time.time()
        print_table(_VERSIONS, [_row(one, now) for one in found])


def _row(one: VersionStatus, now: float) -> Sequence[str]:
    fields = ", ".join(change.field for change in one.changes)
    return (str(one.number), one.state, units.ago(one.at, now), one.by, fields or "-", one.reason)
