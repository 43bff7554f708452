"""How a transfer is drawn, and how fast it is said to go."""

from __future__ import annotations

import io
from contextlib import closing, suppress
from itertools import count

import pytest
from rich.console import Console

from cli.imaging import COMING, MIB, NAME, layer, transfer
from cli.terminal import plain
from longshore.cli import units
from longshore.cli.pace import Pace
from longshore.cli.progress import Bars, Lines, bars, line
from longshore.model.status import TransferStatus


def drawn(status: TransferStatus, width: int = 80, room: int = 20, pace: Pace | None = None) -> str:
    file = io.StringIO()
    Console(file=file, force_terminal=True, width=width).print(
        bars(status, pace or Pace(), 2.0, width, room)
    )
    return file.getvalue()


def paced(*seen: tuple[float, int]) -> Pace:
    pace = Pace()
    for now, done in seen:
        pace.note(now, done)
    return pace


@pytest.mark.parametrize(
    ("seen", "now", "speed", "left"),
    [
        ([], 1.0, None, None),
        ([(0.0, 0)], 0.1, None, None),
        ([(0.0, 0), (2.0, 200)], 2.0, 100.0, 8.0),
        ([(0.0, 500), (2.0, 700)], 2.0, 100.0, 3.0),  # what was there before counts for nothing
        ([(float(n), n * n) for n in range(11)], 10.0, 15.0, 60.0),  # 25 at 5 s, 100 at 10 s
        ([(0.0, 0), (1.0, 300)], 1.0, 300.0, 700 / 300),
        ([(0.0, 0), (1.0, 300)], 4.0, 75.0, 700 / 75),
        ([(0.0, 0), (1.0, 300)], 6.5, 0.0, None),
        ([(0.0, 0), (1.0, 300), (2.0, 100), (3.0, 150)], 3.0, 50.0, 17.0),
    ],
)
def test_pace(
    seen: list[tuple[float, int]], now: float, speed: float | None, left: float | None
) -> None:
    pace = paced(*seen)
    assert pace.speed(now) == speed
    assert pace.left(now, 1000) == left


def test_pace_forgets_what_it_does_not_need() -> None:
    pace = paced(*((number / 100, number) for number in range(100_000)))
    assert len(pace._seen) < 600


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (0, 900, "0/900 B"),
        (512, 2048, "0.5/2.0 KiB"),
        (112 * MIB, 300 * MIB, "112.0/300.0 MiB"),
        (MIB, 1024 * MIB, "0.0/1.0 GiB"),
    ],
)
def test_share(done: int, total: int, text: str) -> None:
    assert units.share(done, total) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (4, "0:04"), (59.6, "1:00"), (730, "12:10"), (3730, "1:02:10")],
)
def test_clock(seconds: float, text: str) -> None:
    assert units.clock(seconds) == text


@pytest.mark.parametrize("width", [80, 140])
def test_bars(width: int) -> None:
    pace = paced((0.0, 10 * MIB), (2.0, 30 * MIB))
    heading, together, *layers = plain(drawn(COMING[1], width, pace=pace))
    assert heading == f"Pulling {NAME}"
    assert together.startswith("together  ")
    assert together.rstrip().endswith("30.0/150.0 MiB  10 MiB/s, 0:12 left")
    assert [one.split()[0] for one in layers] == ["111111111111", "222222222222"]
    assert [one.split()[-1] for one in layers] == ["moving", "waiting"]
    assert all(len(one) <= width for one in (heading, together, *layers))
    assert len({one.index(" MiB  ") for one in (together, *layers)}) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (transfer("waiting"), "waiting"),
        (transfer("resolving"), "resolving"),
        (COMING[1], "moving 30.0/150.0 MiB (20 %), 10 MiB/s, 0:12 left"),
        (COMING[2], "unpacking 150.0/150.0 MiB (100 %), 1 of 2 layers done"),
        (COMING[3], "done 150.0/150.0 MiB (100 %), 2 of 2 layers done"),
    ],
)
def test_line(status: TransferStatus, said: str) -> None:
    assert line(status, paced((0.0, 10 * MIB), (2.0, 30 * MIB)), 2.0) == said


def test_what_does_not_come_is_said() -> None:
    assert line(COMING[1], paced((0.0, 1)), 6.0).endswith("(20 %), stalled")


def test_where_there_is_no_room_those_at_work_are_shown() -> None:
    layers = [
        *(layer(number, "done", 75 * MIB) for number in range(6)),
        layer(6, "unpacking", 75 * MIB),
        *(layer(number, "waiting") for number in range(7, 10)),
        layer(10, "moving", MIB),
    ]
    lines = plain(drawn(transfer("moving", *layers), room=3))
    assert [one.split()[0][:2] for one in lines[2:5]] == ["66", "77", "aa"]
    assert lines[5:] == ["and 8 more: 6 done, 2 waiting"]


def test_a_long_name_does_not_wrap_and_is_no_markup() -> None:
    status = transfer("moving", layer(1, "moving"), image="glance://[bold]" + "x" * 200)
    lines = plain(drawn(status))
    assert len(lines) == 3
    assert lines[0].startswith("Pulling glance://[bold]xxx")
    assert lines[0].endswith("…")


def test_what_is_sent_is_pushed() -> None:
    assert plain(drawn(transfer("resolving", direction="push")))[0].startswith("Pushing ")


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    ticks = count(0.0, 2.0)
    with closing(Lines(clock=lambda: next(ticks))) as view:
        for status in (COMING[0], *[COMING[1]] * 6, COMING[2], COMING[3]):
            view.show(status)
    out, err = capsys.readouterr()
    assert out == ""
    said = [one.removeprefix(f"{NAME}: ").split()[0] for one in err.splitlines()]
    assert said == ["resolving", "moving", "moving", "unpacking", "done"]


def test_nothing_is_said_of_what_was_here(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    for view in (Lines(), Bars(Console(file=file, force_terminal=True))):
        with closing(view):
            view.show(transfer("done"))
    assert (capsys.readouterr(), file.getvalue()) == (("", ""), "")


def test_bars_are_gone_when_it_is_over() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24)
    with suppress(KeyError), closing(Bars(console)) as view:
        for status in COMING[:3]:
            view.show(status)
        raise KeyError
    text = file.getvalue()
    assert "unpacking" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    view.close()
    view.show(COMING[1])
    assert file.getvalue() == text
    # Each of the four lines is erased again, from the lowest up.
    assert text.endswith("\x1b[1A\x1b[2K" * 4)
