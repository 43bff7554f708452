"""`status`: the node at a glance."""

from __future__ import annotations

import time

import click

from longshore.cli import agent, image_tables, tables
from longshore.cli.output import (
    examples,
    output_option,
    print_facts,
    print_heading,
    print_json,
    print_table,
)


@click.command(
    short_help="The node at a glance.",
    epilog=examples("longshore status", "longshore status -o json | jq '.resources[] | .free'"),
)
@output_option()
@click.pass_context
def status(context: click.Context, output: str) -> None:
    """The node: runtime, neighbours, transfers, capacity, and what it cannot do, with reasons."""
    node = agent.connect(context).node_status()
    if output == "json":
        print_json(node.to_dict())
        return
    now = time.time()
    print_facts(tables.node_facts(node, now))
    for columns, rows in (
        (tables.NEIGHBOURS, tables.neighbour_rows(node, now)),
        (image_tables.TRANSFERS, image_tables.transfer_rows(node, now)),
        (tables.RESOURCES, tables.resource_rows(node)),
        (tables.CANNOT, tables.cannot_rows(node)),
    ):
        if rows:
            print_heading()
            print_table(columns, rows)
