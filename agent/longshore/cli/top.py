"""`top`: the processes of a container."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from longshore.cli import agent, spec_options, units
from longshore.cli.live import redrawn
from longshore.cli.output import (
    Column,
    examples,
    output_option,
    print_json,
    print_json_line,
    print_table,
)
from longshore.cli.tables import Row
from longshore.model.status import ProcessStatus

PROCESSES = (
    Column("PID", right=True),
    Column("PARENT", right=True),
    Column("USER", shrink=True),
    Column("STATE"),
    Column("STARTED", optional=True),
    Column("CPU TIME", right=True),
    Column("MEMORY", right=True),
    Column("ON THE NODE", right=True, optional=True),
    Column("COMMAND", shrink=True),
)


@click.command(
    short_help="The processes of a container.",
    epilog=examples("longshore top web", "longshore top --watch web"),
)
@agent.ref_argument()
@click.option("--watch", "-w", is_flag=True, help="Again and again, until interrupted.")
@click.option(
    "--interval",
    type=spec_options.SECONDS,
    default="2",
    show_default=True,
    help="Seconds between two looks with --watch.",
)
@output_option()
@click.pass_context
def top(context: click.Context, ref: str, *, watch: bool, interval: float, output: str) -> None:
    """The processes of a container, with their pids in there, and on the node.

    STATE is the kernel's letter: R runs, S and D wait, T and t are stopped, Z has ended.
    With --watch and -o json each look is a line.
    """
    client = agent.connect(context)
    if not watch:
        found = client.top(ref)
        if output == "json":
            print_json([one.to_dict() for one in found])
        else:
            print_table(PROCESSES, _rows(found))
    elif output == "json":
        while True:
            print_json_line([one.to_dict() for one in client.top(ref)])
            time.sleep(interval)
    else:
        with redrawn(PROCESSES) as draw:
            while True:
                draw(_rows(client.top(ref)))
                time.sleep(interval)


def _rows(found: Sequence[ProcessStatus]) -> Sequence[Row]:
    now = time.time()
    return [
        (
            str(one.pid),
            str(one.parent),
            one.user,
            one.state,
            units.ago(one.started_at, now),
            _time(one.cpu_seconds),
            units.size(one.rss),
            str(one.host_pid),
            one.command,
        )
        for one in found
    ]


def _time(seconds: float) -> str:
    """To the hundredth as long as it is little."""
    return f"{seconds:.2f} s" if seconds < 60 else units.clock(seconds)
