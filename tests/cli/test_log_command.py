"""`logs`: docker's flags and times, and how a line's time is shown."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from cli.imaging import ImageNode
from fakes.shell import Shell
from longshore.cli.log_times import parse_time, show_time
from longshore.model.spec import parse
from longshore.model.status import LogChunk

NOW = 1_800_000_000.0
WEB = parse({"id": str(uuid4()), "name": "web", "image": "busybox:1"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000", 1_700_000_000.0),
        ("1700000000.25", 1_700_000_000.25),
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("1.5s", NOW - 1.5),
        ("250ms", NOW - 0.25),
        ("-10m", NOW + 600),
        ("2026-01-31T12:00:00Z", 1_769_860_800.0),
        ("2026-01-31T12:00:00.123456789Z", 1_769_860_800.123456),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800.0),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert parse_time(text, NOW) == pytest.approx(expected, abs=1e-5)


def test_a_time_without_a_zone_is_this_computers() -> None:
    assert parse_time("2026-01-31", NOW) == datetime(2026, 1, 31).astimezone().timestamp()


@pytest.mark.parametrize("text", ["", "soon", "10", "10x", "m", "2026-13-01", "1e9", "nan", "--1m"])
def test_no_times(text: str) -> None:
    if text == "10":
        assert parse_time(text, NOW) == 10.0
        return
    with pytest.raises(ValueError, match="is no time: write 10m"):
        parse_time(text, NOW)


def test_shown() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(0))).timestamp() + 0.25
    assert show_time(at) == "2026-01-31T12:00:00.250Z"
    assert len(show_time(0)) == len(show_time(at))


def test_all_flags(shell: Shell, node: ImageNode) -> None:
    node.add(WEB)
    shell.out("logs --tail all --since 1700000000 --until 1700000009.5 --stream stderr -t web")
    chosen = {"since": 1.7e9, "until": 1_700_000_009.5, "stream": "stderr", "timestamps": True}
    assert node.asked[-1] == ("logs", "web", None, False, chosen)
    shell.out("logs -n 0 web")
    plain: tuple[Any, ...] = ("logs", "web", 0, False)
    assert node.asked[-1] == plain
    for wrong in ("--since soon", "--tail -1", "--tail some", "--stream stdin"):
        assert shell.run(f"logs {wrong} web").exit_code == 2


def test_each_line_has_its_time(shell: Shell, node: ImageNode) -> None:
    node.add(WEB)
    node.output[WEB.id] = [
        LogChunk("stdout", b"a\nb\n", 1.0),
        LogChunk("stdout", b"long ", 2.0),
        LogChunk("stderr", b"e\n", 2.5),
        LogChunk("stdout", b"line\nc\n", 3.0),
    ]
    result = shell.run("logs -t web")
    assert result.stdout_bytes.decode().splitlines() == [
        "1970-01-01T00:00:01.000Z a",
        "1970-01-01T00:00:01.000Z b",
        "1970-01-01T00:00:02.000Z long line",
        "1970-01-01T00:00:03.000Z c",
    ]
    assert result.stderr_bytes == b"1970-01-01T00:00:02.500Z e\n"
    first = json.loads(shell.out("logs -t -o json web").splitlines()[0])
    assert first == {"stream": "stdout", "at": 1.0, "data": "a\nb\n"}
