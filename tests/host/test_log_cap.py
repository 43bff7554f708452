"""A log is kept short: what is kept is whole, whoever writes and reads meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.logkit import MIB, Written
from longshore.errors import Exhausted
from longshore.host import log_cut, log_keeper
from longshore.host.log_index import Index
from longshore.host.log_keeper import LogKeeper
from longshore.host.log_watch import LogWatch
from longshore.host.logs import Logs
from longshore.lifecycle.log_keeping import LogKeeping


@pytest.fixture
def log(tmp_path: Path) -> Written:
    return Written(tmp_path)


def lines(first: int, count: int) -> bytes:
    return b"".join(b"%015d\n" % number for number in range(first, first + count))


def check(text: bytes, last: int) -> int:
    """Whole, numbered without a gap, up to the last; returns how many."""
    assert text.endswith(b"\n")
    numbers = [int(line) for line in text.split(b"\n")[:-1]]
    assert numbers == list(range(last - len(numbers), last))
    assert all(len(line) == 15 for line in text.split(b"\n")[:-1])
    return len(numbers)


def test_the_newest_lines_are_kept_whole(log: Written) -> None:
    for step in range(200):
        log.write(lines(step * 4096, 4096), step + 0.5)  # 64 KiB
        assert log.disk() <= MIB + 2 * 65536
    kept = check(log.text(), 200 * 4096)
    assert 0.6 * MIB <= kept * 16 <= MIB
    assert log.path().stat().st_size == 200 * 65536


def test_times_are_right_after_cuts_and_a_restart(log: Written) -> None:
    for step in range(100):
        log.write(lines(step * 4096, 4096), step + 0.5)
    log.restart()
    for step in range(100, 110):
        log.write(lines(step * 4096, 4096), step + 0.5)
    assert check(log.text(since=105), 110 * 4096) == 5 * 4096
    assert int(log.text(until=105).split()[-1]) == 105 * 4096 - 1
    # From before the head on: all that is kept.
    assert log.text(since=1) == log.text() == log.text(tail=10**9)
    assert check(log.text(tail=7), 110 * 4096) == 7


def test_a_flood_does_not_drive_out_the_other_stream(log: Written) -> None:
    log.write(b"what went wrong\n", 1.0, "stderr")
    for step in range(100):
        log.write(lines(step * 4096, 4096), step + 2.0)
    assert log.text(stream="stderr") == b"what went wrong\n"
    check(log.text(stream="stdout"), 100 * 4096)


def test_what_has_no_lines_is_kept_short_too(log: Written) -> None:
    for step in range(60):
        log.write(b"x" * 65536, step + 0.5)
        assert log.disk() <= MIB + 2 * 65536
    assert set(log.text()) == {ord("x")}
    assert len(log.text()) >= MIB // 2


def test_a_reader_who_is_overtaken_goes_on_with_whole_lines(log: Written) -> None:
    log.write(lines(0, 20 * 4096), 1.0, look=False)
    chunks = Logs(log.layout).read(log.names, tail=None, follow=False, ended=lambda: True)
    first = next(chunks).data
    log.look()  # cuts beyond what it has read
    rest = b"".join(chunk.data for chunk in chunks)
    assert check(rest, 20 * 4096) * 16 < MIB
    assert lines(0, 4096) == first


def test_readers_never_see_a_hole(log: Written) -> None:
    """The cutting thread and readers at once, for as long as the writing takes."""
    over = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        chunks = Logs(log.layout).read(log.names, tail=None, follow=True, ended=over.is_set)
        for chunk in chunks:
            seen.append(chunk.data)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for step in range(400):
        log.write(lines(step * 4096, 4096), step + 0.5)
    over.set()
    (log.layout.folder(log.names) / "wake-up").touch()
    for one in readers:
        one.join(20)
        assert not one.is_alive()
    assert seen
    assert all(b"\0" not in data for data in seen)


def test_where_no_hole_can_be_punched_it_is_emptied(
    log: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_cut, "punch", lambda *_: False)
    for step in range(40):
        log.write(lines(step * 4096, 4096), step + 0.5)
        assert log.disk() <= MIB + 2 * 65536
    text = log.text()
    assert text.endswith(lines(40 * 4096 - 1, 1))
    assert log.text(since=39.2) == lines(39 * 4096, 4096)


def test_offsets_that_are_too_large_are_brought_back(
    log: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_keeper, "_FAR", 4 * MIB)
    for step in range(200):
        log.write(lines(step * 4096, 4096), step + 0.5)
    assert log.path().stat().st_size < 6 * MIB
    assert check(log.text(since=195), 200 * 4096) == 5 * 4096
    log.restart()
    log.write(lines(200 * 4096, 4096), 200.5)
    assert check(log.text(since=198), 201 * 4096) == 3 * 4096


def test_a_full_disk_is_no_reason_not_to_cut(log: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Index, "_write", full)
    log.write(lines(0, 20 * 4096), 1.0, look=False)
    with pytest.raises(Exhausted, match="cannot keep the log"):
        log.look()
    assert log.disk() < MIB
    text = log.text()
    assert check(text, 20 * 4096)
    monkeypatch.undo()
    log.write(lines(20 * 4096, 10), 2.0)
    assert log.text(since=2) == lines(20 * 4096, 10)


def test_emptied_by_somebody(log: Written) -> None:
    log.write(lines(0, 100), 1.0)
    os.truncate(log.path(), 0)
    log.write(lines(500, 3), 9.0)
    assert log.text(since=5) == log.text() == lines(500, 3)


def test_a_container_that_is_gone_is_forgotten(log: Written) -> None:
    log.write(b"x\n", 1.0)
    for path in log.layout.folder(log.names).iterdir():
        path.unlink()
    assert not log.keeper.look(log.names)
    assert not log.keeper._logs


def test_this_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_cut.why_not(tmp_path) is None
    assert log_cut.why_not(Path("/dev/shm")) is None
    monkeypatch.setattr(log_cut, "_fallocate", lambda *_: False)
    assert log_cut.why_not(tmp_path) == f"the file system of {tmp_path} punches no holes"


@pytest.fixture
def keeping(log: Written) -> Iterator[LogKeeping]:
    watch = LogWatch(log.layout.containers)
    one = LogKeeping(watch, LogKeeper(log.layout, MIB), lambda: 0.0, pause=0.0)
    one.start()
    yield one
    assert one.stop(10)


def test_all_of_it_while_another_process_writes(log: Written, keeping: LogKeeping) -> None:
    """A real writer, and the thread that looks: the cap holds, and nothing is lost in it."""
    program = "import sys\nfor n in range(1_500_000): sys.stdout.write('%015d\\n' % n)\n"
    with log.path().open("ab") as file:
        import subprocess
        import sys

        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, timeout=60)
    for _ in range(2000):
        if log.disk() <= MIB + 65536 * 2:
            break
        threading.Event().wait(0.01)
    assert check(log.text(), 1_500_000) * 16 <= MIB
    assert keeping.findings() == []
