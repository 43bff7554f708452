"""`stats`: what containers use, live."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing

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
from longshore.cli.tables import Row, short_id
from longshore.local.client import LocalClient
from longshore.model.status import ContainerStats, ContainerStatus

STATS = (
    Column("ID", optional=True),
    Column("NAME", shrink=True),
    Column("CPU %", right=True),
    Column("MEMORY", right=True),
    Column("LIMIT", right=True, optional=True),
    Column("MEM %", right=True),
    Column("NET I/O", right=True),
    Column("BLOCK I/O", right=True, optional=True),
    Column("PIDS", right=True),
)
_NOTHING = "-"


@click.command(
    short_help="What containers use.",
    epilog=examples(
        "longshore stats", "longshore stats web db", "longshore stats --no-stream -o json | jq"
    ),
)
@click.argument("refs", metavar="[CONTAINER]...", nargs=-1, shell_complete=agent.complete_container)
@click.option("--all", "-a", "everything", is_flag=True, help="Also those that do not run.")
@click.option("--no-stream", is_flag=True, help="Once.")
@click.option(
    "--interval",
    type=spec_options.SECONDS,
    default="1",
    show_default=True,
    help="Seconds between two readings, 0.25 at least.",
)
@click.option("--no-trunc", is_flag=True, help="Whole ids.")
@output_option()
@click.pass_context
def stats(
    context: click.Context,
    refs: Sequence[str],
    *,
    everything: bool,
    no_stream: bool,
    interval: float,
    no_trunc: bool,
    output: str,
) -> None:
    """What containers use: all that run, or those that are named; until interrupted.

    CPU % is of one core since the reading before, so the first one has none; --no-stream waits for
    the second. MEMORY is what the kernel could not take back at once.
    With -o json each reading is a line: a list with all that is known of each container.
    """
    client = agent.connect(context)
    readings = client.follow_stats(refs, interval)
    with closing(readings):
        if no_stream:
            last = next(itertools.islice(readings, 1, 2), [])
            if output == "json":
                print_json([one.to_dict() for one in last])
            else:
                print_table(STATS, _rows(client, last, everything=everything, whole=no_trunc))
        elif output == "json":
            for reading in readings:
                print_json_line([one.to_dict() for one in reading])
        else:
            with redrawn(STATS) as draw:
                for reading in readings:
                    draw(_rows(client, reading, everything=everything, whole=no_trunc))


def _rows(
    client: LocalClient, reading: Sequence[ContainerStats], *, everything: bool, whole: bool
) -> Sequence[Row]:
    rows = [_row(one, whole=whole) for one in reading]
    if everything:
        measured = {one.id for one in reading}
        rows += [_idle(one, whole=whole) for one in client.list() if one.id not in measured]
    return rows


def _row(one: ContainerStats, *, whole: bool) -> Row:
    memory, network, block = one.memory, one.network, one.block
    share = memory.working_set / memory.limit if memory.limit else None
    return (
        one.id if whole else short_id(one.id),
        one.name,
        _NOTHING if one.cpu.cores is None else _percent(one.cpu.cores),
        units.size(memory.working_set),
        _NOTHING if memory.limit is None else units.size(memory.limit),
        _NOTHING if share is None else _percent(share),
        _pair(sum(nic.rx_bytes for nic in network), sum(nic.tx_bytes for nic in network))
        if network
        else _NOTHING,
        _pair(sum(disk.read_bytes for disk in block), sum(disk.write_bytes for disk in block)),
        str(one.pids) if one.pids_limit is None else f"{one.pids}/{one.pids_limit}",
    )


def _idle(one: ContainerStatus, *, whole: bool) -> Row:
    id = one.id if whole else short_id(one.id)
    return (id, one.name, *[_NOTHING] * (len(STATS) - 2))


def _pair(come: int, gone: int) -> str:
    return f"{units.size(come)} / {units.size(gone)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
