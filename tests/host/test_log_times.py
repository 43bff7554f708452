"""Since, until and times of lines, from the index that is kept beside each log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from host.logkit import Written
from longshore.host.log_index import Index, beside
from longshore.model.status import LogChunk


@pytest.fixture
def log(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def hours(log: Written) -> Written:
    """A line each minute for two hours: number n at second 60 n + 0.5."""
    for minute in range(120):
        log.write(b"%d\n" % minute, 60 * minute + 0.5)
    return log


def numbers(text: bytes) -> list[int]:
    return [int(line) for line in text.split()]


@pytest.mark.parametrize("since", [0, 1, 60, 61, 3600, 3600.5, 3601, 7140.5, 7141, 9999])
@pytest.mark.parametrize("restarted", [False, True])
def test_since_and_until_share_all_lines_out(hours: Written, since: float, restarted: bool) -> None:
    if restarted:
        hours.keeper.close()
        hours.restart()
    expected = [n for n in range(120) if 60 * n + 0.5 >= since]
    assert numbers(hours.text(since=since)) == expected
    assert numbers(hours.text(until=since)) == [n for n in range(120) if n not in expected]


def test_both_at_once_and_the_tail_of_that_time(hours: Written) -> None:
    assert numbers(hours.text(since=600, until=1200)) == list(range(10, 20))
    assert numbers(hours.text(since=600, until=1200, tail=3)) == [17, 18, 19]
    assert numbers(hours.text(since=600, until=660, tail=3)) == [10]


def test_timestamps(log: Written) -> None:
    log.write(b"a\nb", 5.25)
    log.write(b"c\nd\n", 7.5)
    assert log.chunks(timestamps=True) == [
        LogChunk("stdout", b"a\n", 5.25, 0),
        LogChunk("stdout", b"bc\nd\n", 7.5, 2),
    ]
    # Not asked for, none is told.
    assert log.chunks() == [LogChunk("stdout", b"a\nbc\nd\n")]


def test_a_line_is_of_the_time_of_its_end(log: Written) -> None:
    log.write(b"first\nbegun", 5.0)
    log.write(b" ended\n", 60.0)
    assert log.text(since=30) == b"begun ended\n"
    assert log.text(until=30) == b"first\n"


def test_what_is_not_in_the_index_yet_is_as_old_as_the_file(log: Written) -> None:
    log.write(b"old\n", 5.0)
    log.write(b"new\n", 50.0, look=False)
    assert log.text(since=40) == b"new\n"
    assert log.text(since=51) == b""
    assert log.text(until=50) == b"old\n"
    assert [chunk.at for chunk in log.chunks(timestamps=True)] == [5.0, 50.0]


def test_without_an_index_all_is_as_old_as_the_file(log: Written) -> None:
    log.write(b"x\ny\n", 9.0, look=False)
    assert [chunk.at for chunk in log.chunks(timestamps=True)] == [9.0]
    assert log.text(since=10) == b""
    assert not beside(log.path()).exists()


def test_what_was_written_while_the_agent_was_away_gets_one_time(log: Written) -> None:
    log.write(b"a\n", 5.0)
    log.write(b"b\n", 6.0, look=False)
    log.write(b"c\n", 8.0, look=False)
    log.restart()
    log.look()
    log.write(b"d\n", 20.0)
    assert [(one.at, one.data) for one in log.chunks(timestamps=True)] == [
        (5.0, b"a\n"),
        (8.0, b"b\nc\n"),
        (20.0, b"d\n"),
    ]


def test_the_clock_goes_back(log: Written) -> None:
    log.write(b"a\n", 100.0)
    log.write(b"b\n", 50.0)
    log.write(b"c\n", 101.0)
    assert log.text(since=100.5) == b"c\n"
    assert log.text(until=101) == b"a\nb\n"


def test_streams_are_interleaved_by_time(log: Written) -> None:
    for second in range(6):
        log.write(b"%d\n" % second, second + 0.5, "stderr" if second % 2 else "stdout")
    assert log.text() == b"0\n1\n2\n3\n4\n5\n"
    assert log.text(stream="stderr") == b"1\n3\n5\n"
    # Each begins with whole lines where the other comes between.
    log.write(b"one", 10.0)
    log.write(b"two\n", 11.0, "stderr")
    log.write(b" more\n", 12.0)
    assert log.text(since=10) == b"two\none more\n"


def test_a_long_line_comes_in_pieces_of_one_time(log: Written) -> None:
    line = b"x" * 300_000 + b"\n"
    log.write(b"short\n" + line, 3.0)
    chunks = log.chunks(timestamps=True)
    assert b"".join(chunk.data for chunk in chunks) == b"short\n" + line
    assert {chunk.at for chunk in chunks} == {3.0}
    assert chunks[0].data == b"short\n"


def test_an_unfinished_line_is_shown_at_the_end(log: Written) -> None:
    log.write(b"done\nprompt> ", 4.0)
    assert log.text() == log.text(timestamps=True) == b"done\nprompt> "


def test_a_torn_mark_and_a_broken_index(log: Written) -> None:
    log.write(b"a\n", 5.0)
    with beside(log.path()).open("ab") as file:
        file.write(b"torn")
    log.restart()
    log.write(b"b\n", 9.0)
    assert [chunk.at for chunk in log.chunks(timestamps=True)] == [5.0, 9.0]
    beside(log.path()).write_bytes(b"nonsense" * 40)
    assert log.text() == b"a\nb\n"
    log.restart()
    log.write(b"c\n", 12.0)
    assert [chunk.at for chunk in log.chunks(timestamps=True)] == [12.0]


def test_the_index_of_much_is_small(log: Written) -> None:
    for step in range(200):
        log.write(b"x" * 99 + b"\n", 1.0 + step / 1000)
    with Index(log.path()) as index:
        assert len(list(index.marks(0))) == 200 * 100 // 1100 + 1


def test_no_descriptor_is_left(log: Written) -> None:
    before = os.listdir("/proc/self/fd")
    for second in range(20):
        log.write(b"x" * 100_000 + b"\n", second + 0.5)
        log.text(since=3)
    assert os.listdir("/proc/self/fd") == before
