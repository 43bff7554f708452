"""Tables for people, JSON for programs: the same value in both.

A table row is one line. On a terminal the columns that may shrink do so until it fits; in a
pipe nothing is cut and nothing coloured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])
META = "longshore.output"
_GAP = 2
_SHRUNK_MIN = 8
#: Cells of a column that can be cut, as long as there is another way.
_READABLE = 14
_STYLES = {
    "running": "green",
    "up": "green",
    "failed": "red",
    "down": "red",
    "creating": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "deleting": "yellow",
    "unknown": "yellow",
    "moving": "green",
    "unpacking": "yellow",
}


@dataclass(frozen=True)
class Column:
    """`shrink`: may be cut on a narrow terminal; `keep_end`: at its beginning, because its end says
    more. `optional`: may be left out, before others are cut to almost nothing. `right`: numbers,
    aligned to the right.
    """

    title: str
    shrink: bool = False
    keep_end: bool = False
    optional: bool = False
    right: bool = False


def output_option(default: str = "table") -> Callable[[F], F]:
    """`-o table|json`; the command gets it as `output`. Errors follow it where it was asked for."""

    def remember(context: click.Context, parameter: click.Parameter, value: str) -> str:
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT:
            context.meta[META] = value
        return value

    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default=default,
        show_default=True,
        callback=remember,
        is_eager=True,
        help="For people, or for programs.",
    )


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def print_json(value: Any) -> None:
    """Indented JSON, coloured on a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if sys.stdout.isatty():
        _console().print_json(text, ensure_ascii=False)
    else:
        click.echo(text)


def print_json_line(value: Any) -> None:
    """One line of a stream, at once."""
    click.echo(json.dumps(value, ensure_ascii=False))
    sys.stdout.flush()


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    console = _console()
    _show(console, table_of(console, columns, rows))


def table_of(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    """As wide as the console at most, if that is a terminal."""
    cells = [[_cell(text) for text in row] for row in rows]
    width = console.width if console.is_terminal else None
    widths = _widths(columns, cells, width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for index, width in widths.items():
        one = columns[index]
        table.add_column(
            one.title, no_wrap=True, width=width, justify="right" if one.right else "left"
        )
        for row in cells:
            _cut(row[index], width, keep_end=one.keep_end)
    for row in cells:
        table.add_row(*(row[index] for index in widths))
    return table


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values; a value longer than the terminal goes on below itself."""
    console = _console()
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold", no_wrap=not console.is_terminal)
    for name, value in facts:
        table.add_row(name, _cell(value))
    _show(console, table)


def print_heading(text: str = "") -> None:
    """Sets off what follows by an empty line, and a name if it has none of its own."""
    console = _console()
    console.print()
    if text:
        console.print(Text(text, style="bold"))


def _console() -> Console:
    # A pipe has no width: rich would take it for 80 columns and cut.
    width = None if sys.stdout.isatty() else 100_000
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def _show(console: Console, table: Table) -> None:
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def _cell(text: str) -> Text:
    # Of a control character in a label or a command, a terminal would make something else.
    safe = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    return Text(safe, style=_STYLES.get(text.partition(" ")[0].lower(), ""))


def _cut(text: Text, width: int, *, keep_end: bool) -> None:
    if keep_end and text.cell_len > width:
        plain = text.plain
        while cell_len(plain) > width - 1:
            plain = plain[1:]
        text.plain = f"…{plain}"
    text.truncate(width, overflow="ellipsis")


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], available: int | None
) -> dict[int, int]:
    """Width by the index of each column that is shown.

    Where it is too narrow, optional columns go first, from the right on, as long as the others
    could not stay readable; then the widest that may shrink gives way.
    """
    widths = {
        index: max([len(column.title), *(row[index].cell_len for row in rows)])
        for index, column in enumerate(columns)
    }
    if available is None:
        return widths

    def least(index: int) -> int:
        return min(widths[index], _READABLE) if columns[index].shrink else widths[index]

    for index in reversed(range(len(columns))):
        if columns[index].optional and _total(map(least, widths)) > available:
            del widths[index]
    while _total(widths.values()) > available:
        candidates = [
            index
            for index, width in widths.items()
            if columns[index].shrink and width > max(_SHRUNK_MIN, len(columns[index].title))
        ]
        if not candidates:
            break
        widths[max(candidates, key=widths.__getitem__)] -= 1
    return widths


def _total(widths: Iterable[int]) -> int:
    shown = list(widths)
    return sum(shown) + _GAP * (len(shown) - 1)
