"""`logs`: what goes on until someone ends it."""

from __future__ import annotations

from collections.abc import Callable

import click

from longshore.cli import agent
from longshore.cli.foreground import write
from longshore.cli.log_times import Tail, Time, show_time
from longshore.cli.output import examples, output_option, print_json_line
from longshore.model.logs import STREAMS, lines_of
from longshore.model.status import LogChunk


@click.command(
    short_help="What a container wrote.",
    epilog=examples(
        "longshore logs web",
        "longshore logs -f -n 20 web",
        "longshore logs -t --since 10m --until 5m --stream stderr web",
        "longshore logs --since 2026-01-31T12:00:00Z web",
    ),
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the container has ended.")
@click.option(
    "--tail",
    "-n",
    type=Tail(),
    default="all",
    help="Begin with so many lines of each stream, or all.",
)
@click.option("--since", type=Time(), help="Only what was written since: 10m ago, or a date.")
@click.option("--until", type=Time(), help="Only what was written before.")
@click.option("--timestamps", "-t", is_flag=True, help="Tell when each line was written.")
@click.option("--stream", type=click.Choice(STREAMS), help="Only this one.")
@agent.ref_argument()
@output_option()
@click.pass_context
def logs(
    context: click.Context,
    ref: str,
    *,
    follow: bool,
    tail: int,
    since: float | None,
    until: float | None,
    timestamps: bool,
    stream: str | None,
    output: str,
) -> None:
    """What a container wrote, its stderr on stderr.

    A line is of the second in which its end was written; of what was written while the agent was
    away, of that in which the last of it was. With -o json each piece is a line: {"stream":
    "stdout", "data": "…"}, and with -t "at", in Unix seconds.
    """
    chunks = agent.connect(context).logs(
        ref,
        tail=None if tail < 0 else tail,
        follow=follow,
        since=since,
        until=until,
        timestamps=timestamps,
        stream=stream,
    )
    show = _json if output == "json" else _timed() if timestamps else _plain
    for chunk in chunks:
        if chunk.data:
            show(chunk)


def _plain(chunk: LogChunk) -> None:
    write(chunk.stream, chunk.data)


def _json(chunk: LogChunk) -> None:
    text = chunk.data.decode(errors="replace")
    at = {"at": chunk.at} if chunk.at else {}
    print_json_line({"stream": chunk.stream, **at, "data": text})


def _timed() -> Callable[[LogChunk], None]:
    """A very long line comes in several pieces: the time is before its first."""
    within: set[str] = set()

    def show(chunk: LogChunk) -> None:
        time = f"{show_time(chunk.at)} ".encode()
        lines = lines_of(chunk.data)
        first = b"" if chunk.stream in within else time
        write(chunk.stream, first + time.join(lines))
        (within.discard if lines[-1].endswith(b"\n") else within.add)(chunk.stream)

    return show
