"""Tables that change: drawn again in their place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live

from longshore.cli.output import Column, print_table, table_of
from longshore.cli.tables import Row

Draw = Callable[[Sequence[Row]], None]


@contextmanager
def redrawn(columns: Sequence[Column]) -> Iterator[Draw]:
    """What draws the table; the last one stays."""
    if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        console = Console(file=sys.stdout, highlight=False)
        with Live(console=console, auto_refresh=False, redirect_stderr=False) as live:
            # What is below the terminal's last line is left out, and an ellipsis says so.
            yield lambda rows: live.update(table_of(console, columns, rows), refresh=True)
        return
    drawn = 0

    def draw(rows: Sequence[Row]) -> None:
        nonlocal drawn
        if drawn:
            click.echo()
        drawn += 1
        print_table(columns, rows)
        sys.stdout.flush()

    yield draw
