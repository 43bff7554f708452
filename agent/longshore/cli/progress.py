"""How a transfer is shown: bars on a terminal, now and then a line elsewhere, or each status as
JSON.

All but JSON go to stderr, so that stdout has what a script wants: a name, an id.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from longshore.cli import units
from longshore.cli.image_tables import short_digest
from longshore.cli.output import print_json_line
from longshore.cli.pace import Pace
from longshore.model.status import LayerStatus, TransferStatus

#: Seconds between two lines of the same state.
_NOW_AND_THEN = 5.0
_WIDTH_MAX = 110
_DIGEST = 12
#: Lines that are no layer's: the heading, the sum, what is not shown, and the shell's own.
_OTHER_LINES = 4
_NOTE = 22
#: Where there is no room for every layer, those that something happens to come first.
_RANK = {"moving": 0, "unpacking": 0, "waiting": 1, "done": 2}
_STYLES = {"moving": "cyan", "unpacking": "yellow", "waiting": "dim", "done": "green"}
_DOING = {"pull": "Pulling", "push": "Pushing"}


class View(Protocol):
    def show(self, status: TransferStatus) -> None: ...

    def close(self) -> None:
        """Nothing is shown after that. From any thread, and more than once."""


def view(output: str = "table", *, quiet: bool = False) -> View:
    """The view that fits where this command's stderr goes."""
    if quiet:
        return Quiet()
    if output == "json":
        return JsonLines()
    if sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return Bars(Console(file=sys.stderr, highlight=False))
    return Lines()


class Quiet:
    """Shows nothing."""

    def show(self, status: TransferStatus) -> None:
        return

    def close(self) -> None:
        return


class JsonLines(Quiet):
    """Each status as a line on stdout."""

    def show(self, status: TransferStatus) -> None:
        print_json_line(status.to_dict())


class Lines(Quiet):
    """A line on stderr when the state changes, and every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pace = Pace()
        self._said: tuple[str, float] | None = None

    def show(self, status: TransferStatus) -> None:
        now = self._clock()
        if status.total:
            self._pace.note(now, status.done)
        if self._said is None and status.state == "done":
            return  # it was here: nothing has come
        if self._said is None or (
            status.state != self._said[0] or now - self._said[1] >= _NOW_AND_THEN
        ):
            self._said = (status.state, now)
            click.echo(f"{status.image}: {line(status, self._pace, now)}", err=True)


class Bars(Quiet):
    """One bar in all and one for each layer, redrawn in place; gone when it is over."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._pace = Pace()
        self._status: TransferStatus | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, status: TransferStatus) -> None:
        if status.total:
            self._pace.note(self._clock(), status.done)
        self._status = status
        with self._lock:
            if status.state != "done" and not self._closed and not self._live.is_started:
                self._live.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._live.stop()

    def _render(self) -> RenderableType:
        if self._status is None:
            return Text()
        room = self._console.height - _OTHER_LINES
        return bars(self._status, self._pace, self._clock(), self._console.width, room)


def line(status: TransferStatus, pace: Pace, now: float) -> str:
    """`moving 110.0/300.0 MiB (36 %), 52.3 MiB/s, 0:04 left`."""
    if not status.total:
        return status.state
    share = units.share(status.done, status.total)
    parts = [f"{status.state} {share} ({100 * status.done // status.total} %)"]
    if status.state == "moving":
        parts += _tempo(status, pace, now)
    elif status.layers:
        done = sum(layer.state == "done" for layer in status.layers)
        parts.append(f"{done} of {len(status.layers)} layers done")
    return ", ".join(parts)


def bars(status: TransferStatus, pace: Pace, now: float, width: int, room: int) -> RenderableType:
    """All of it, in at most `width` cells and about `room` lines for layers."""
    heading = Text(no_wrap=True, overflow="ellipsis")
    heading.append(f"{_DOING.get(status.direction, status.direction)} ", style="bold")
    heading.append(status.image)
    if not status.total:
        return heading.append(f"  {status.state}", style="dim")
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(width=_DIGEST, no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, width=_NOTE)
    sum_note = ", ".join(_tempo(status, pace, now)) if status.state == "moving" else status.state
    grid.add_row(
        Text("together", style="bold"),
        ProgressBar(total=status.total, completed=min(status.done, status.total)),
        units.share(status.done, status.total),
        sum_note,
    )
    shown, others = _fitting(status.layers, max(room, 1))
    for layer in shown:
        grid.add_row(*_layer_row(layer))
    grid.width = min(width, _WIDTH_MAX)
    return Group(heading, grid, *([Text(others, style="dim")] if others else []))


def _layer_row(layer: LayerStatus) -> Sequence[RenderableType]:
    style = _STYLES.get(layer.state, "")
    return (
        Text(short_digest(layer.digest), style="dim" if layer.state == "done" else ""),
        ProgressBar(
            total=layer.total or 1,
            completed=min(layer.done, layer.total) if layer.total else 0,
        ),
        units.share(layer.done, layer.total) if layer.total else "",
        Text(layer.state, style=style),
    )


def _fitting(layers: Sequence[LayerStatus], room: int) -> tuple[Sequence[LayerStatus], str]:
    """Those that there is room for, in their order, and what is to be said of the others."""
    if len(layers) <= room:
        return layers, ""
    ranked = sorted(range(len(layers)), key=lambda index: _RANK.get(layers[index].state, 1))
    chosen = set(ranked[:room])
    others = Counter(layers[index].state for index in range(len(layers)) if index not in chosen)
    told = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
    return [layers[index] for index in sorted(chosen)], f"and {others.total()} more: {told}"


def _tempo(status: TransferStatus, pace: Pace, now: float) -> list[str]:
    speed = pace.speed(now)
    if speed is None:
        return []
    if not speed:
        return ["stalled"]
    left = pace.left(now, status.total)
    rate = f"{units.size(speed)}/s"
    return [rate, f"{units.clock(left)} left"] if left is not None else [rate]
