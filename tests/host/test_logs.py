"""Reading and following real files: holes, truncation, files that come and go."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from longshore.errors import HostFailed
from longshore.host import logs as logs_module
from longshore.host.logs import Logs
from longshore.model.layout import Layout
from longshore.model.names import Names
from longshore.model.status import LogChunk

NAMES = Names(str(uuid4()))
PUNCH_HOLE_KEEP_SIZE = 3


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "state", tmp_path / "run")
    layout.folder(NAMES).mkdir(parents=True)
    return layout


def text(chunks: Iterator[LogChunk], stream: str = "stdout") -> bytes:
    return b"".join(chunk.data for chunk in chunks if chunk.stream == stream)


def read(layout: Layout, tail: int | None = None) -> Iterator[LogChunk]:
    return Logs(layout).read(NAMES, tail=tail, follow=False, ended=lambda: True)


def test_both_files_stdout_first(layout: Layout) -> None:
    layout.stdout(NAMES).write_bytes(b"out\n")
    layout.stderr(NAMES).write_bytes(b"err\xff")
    assert list(read(layout)) == [LogChunk("stdout", b"out\n"), LogChunk("stderr", b"err\xff")]


def test_missing_files_and_folder(layout: Layout) -> None:
    assert list(read(layout)) == []
    layout.folder(NAMES).rmdir()
    assert list(read(layout)) == []
    chunks = Logs(layout).read(NAMES, tail=None, follow=True, ended=lambda: True)
    assert list(chunks) == [LogChunk("stdout", b""), LogChunk("stderr", b"")]


@pytest.mark.parametrize(
    ("data", "tail", "expected"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 9, b"a\nb\n"),
        (b"a\nb\n", 0, b""),
        (b"", 3, b""),
        (b"\n\n\n", 1, b"\n"),
        (b"one line", 1, b"one line"),
        (b"x" * 200_000 + b"\n" + b"y" * 150_000 + b"\nz\n", 2, b"y" * 150_000 + b"\nz\n"),
    ],
)
def test_tail(layout: Layout, data: bytes, tail: int, expected: bytes) -> None:
    layout.stdout(NAMES).write_bytes(data)
    assert text(read(layout, tail)) == expected


def punch(path: Path, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file:
        sizes = (ctypes.c_longlong(0), ctypes.c_longlong(length))
        assert libc.fallocate(file.fileno(), PUNCH_HOLE_KEEP_SIZE, *sizes) == 0, os.strerror(
            ctypes.get_errno()
        )


@pytest.mark.parametrize("hole", [4096 * 50, 4096 * 50 + 100])
def test_a_hole_at_the_head_is_skipped(layout: Layout, hole: int) -> None:
    path = layout.stdout(NAMES)
    path.write_bytes(b"o" * 4096 * 50 + b"n" * 4096 + b"\nlast\n")
    punch(path, hole)
    # Nobody knows whether what comes first is a whole line.
    assert text(read(layout)) == b"last\n"
    assert text(read(layout, 1)) == b"last\n"


def test_a_file_that_is_all_hole(layout: Layout) -> None:
    with layout.stdout(NAMES).open("wb") as file:
        file.truncate(2**40)
    assert text(read(layout)) == b""
    assert text(read(layout, 5)) == b""


def test_zeros_that_were_written_are_kept(layout: Layout) -> None:
    layout.stdout(NAMES).write_bytes(b"\0\0a\0")
    assert text(read(layout)) == b"\0\0a\0"


def test_what_comes_after_so_much(layout: Layout) -> None:
    """As who was attached takes up again: nothing twice, nothing left out."""
    layout.stdout(NAMES).write_bytes(b"one\ntwo\nthr")
    layout.stderr(NAMES).write_bytes(b"err\n")

    def behind(out: int, err: int) -> list[LogChunk]:
        after = {"stdout": out, "stderr": err}
        chunks = Logs(layout).read(NAMES, tail=None, follow=True, ended=lambda: True, after=after)
        first = [next(chunks), next(chunks)]
        assert [(one.stream, one.data) for one in first] == [("stdout", b""), ("stderr", b"")]
        assert {one.stream: one.offset for one in first} == {
            name: min(after[name], size) for name, size in (("stdout", 11), ("stderr", 4))
        }
        return list(chunks)

    assert behind(5, 4) == [
        LogChunk("stdout", b"wo\n", offset=5),
        LogChunk("stdout", b"thr", offset=8),
    ]
    assert behind(11, 1) == [LogChunk("stderr", b"rr\n", offset=1)]
    assert behind(11, 4) == []


def test_what_comes_after_more_than_there_is(layout: Layout) -> None:
    """Somebody has emptied it: what is there now is new."""
    layout.stdout(NAMES).write_bytes(b"new\n")
    chunks = Logs(layout).read(
        NAMES, tail=None, follow=False, ended=lambda: True, after={"stdout": 99}
    )
    assert list(chunks) == [LogChunk("stdout", b"new\n")]


def test_what_is_no_file_is_not_waited_for(layout: Layout) -> None:
    os.mkfifo(layout.stdout(NAMES))
    assert list(read(layout)) == []


def test_what_cannot_be_read(layout: Layout) -> None:
    layout.stdout(NAMES).symlink_to("stdout.log")
    with pytest.raises(HostFailed, match="cannot read the log"):
        list(read(layout))


class Follower:
    """Follows in a thread; `until` waits for what has come."""

    def __init__(self, layout: Layout, tail: int | None = None) -> None:
        self.over = threading.Event()
        self.got: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self.beats = 0
        self._news = threading.Condition()
        self._chunks = Logs(layout).read(NAMES, tail=tail, follow=True, ended=self.over.is_set)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for chunk in self._chunks:
            with self._news:
                self.got[chunk.stream] += chunk.data
                self.beats += not chunk.data
                self._news.notify_all()

    def until(self, true: Callable[[], Any]) -> None:
        with self._news:
            assert self._news.wait_for(true, 20), (self.got, self.beats)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def follow(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Follower]]:
    """Without the regular wake-up, so that only what inotify tells can bring news."""
    monkeypatch.setattr(logs_module, "_WAKE", 600.0)
    made: list[Follower] = []

    def start(tail: int | None = None) -> Follower:
        made.append(Follower(layout, tail))
        return made[-1]

    yield start
    for one in made:
        one.over.set()
    (layout.folder(NAMES) / "wake-up").touch()
    for one in made:
        one.join()


def test_following(layout: Layout, follow: Callable[..., Follower]) -> None:
    with layout.stdout(NAMES).open("ab", 0) as out, layout.stderr(NAMES).open("ab", 0) as err:
        out.write(b"old\n1\n")
        one, other = follow(1), follow()
        one.until(lambda: one.got["stdout"] == b"1\n")
        for index in range(50):
            out.write(b"o%d\n" % index)
            err.write(b"e%d\n" % index)
        one.until(lambda: one.got["stdout"].endswith(b"o49\n"))
        one.until(lambda: one.got["stderr"].endswith(b"e49\n"))
        other.until(lambda: other.got["stdout"].count(b"\n") == 52)
        other.until(lambda: other.got["stderr"] == one.got["stderr"])


def test_the_end_is_noticed_by_the_closing(layout: Layout, follow: Callable[..., Follower]) -> None:
    with layout.stdout(NAMES).open("ab", 0) as out:
        one = follow()
        out.write(b"last words")
        one.until(lambda: one.got["stdout"])
    one.until(lambda: one.beats >= 3)  # it looks again, soon after the closing
    one.over.set()
    one.join()


def test_what_was_written_last_is_read_before_the_end(layout: Layout) -> None:
    path = layout.stdout(NAMES)

    def ended() -> bool:
        path.write_bytes(b"just before")
        return True

    chunks = Logs(layout).read(NAMES, tail=None, follow=True, ended=ended)
    assert text(chunks) == b"just before"


def test_what_is_removed_is_read_to_its_end(layout: Layout) -> None:
    """As with a container that goes as soon as it has ended."""
    for path in (layout.stdout(NAMES), layout.stderr(NAMES)):
        path.touch()
    chunks = Logs(layout).read(NAMES, tail=None, follow=True, ended=lambda: True)
    assert [next(chunks).data, next(chunks).data] == [b"", b""]
    for path in (layout.stdout(NAMES), layout.stderr(NAMES)):
        path.write_bytes(path.name.encode())
        path.unlink()
    layout.folder(NAMES).rmdir()
    assert [chunk.data for chunk in chunks] == [
        path.name.encode() for path in (layout.stdout(NAMES), layout.stderr(NAMES))
    ]


def test_truncated_and_replaced(layout: Layout, follow: Callable[..., Follower]) -> None:
    path = layout.stdout(NAMES)
    path.write_bytes(b"a" * 100)
    one = follow()
    one.until(lambda: len(one.got["stdout"]) == 100)
    os.truncate(path, 0)
    path.write_bytes(b"new")
    one.until(lambda: one.got["stdout"].endswith(b"new"))
    path.unlink()
    (layout.folder(NAMES) / "x").write_bytes(b"z")
    (layout.folder(NAMES) / "x").rename(path)
    one.until(lambda: one.got["stdout"].endswith(b"newz"))


def test_a_folder_that_comes_later(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "_WAKE", 0.05)
    layout.folder(NAMES).rmdir()
    one = Follower(layout)
    one.until(lambda: one.beats >= 3)
    layout.folder(NAMES).mkdir()
    layout.stdout(NAMES).write_bytes(b"here")
    one.until(lambda: one.got["stdout"] == b"here")
    one.over.set()
    one.join()


def test_no_descriptor_is_left(layout: Layout) -> None:
    layout.stdout(NAMES).write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        chunks = Logs(layout).read(NAMES, tail=1, follow=True, ended=lambda: False)
        next(chunks)
        chunks.close()
    assert len(os.listdir("/proc/self/fd")) == before
