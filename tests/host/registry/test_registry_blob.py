"""The bytes of a blob: the right ones, in order, or an error; whatever happens on the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority
from bench.lab.faults import Change, Fault, both, cut, error, headers, length, stall, status
from bench.lab.image import digest_of
from host.registry.reading import Ticks, Watching, drain, registries, settings_of
from longshore.errors import (
    BadImage,
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    PullCancelled,
)
from longshore.host.registry import pools
from longshore.host.registry.blob import BlobReader
from longshore.host.registry.registries import Registries
from longshore.host.registry.wire import connect
from longshore.model.documents import Descriptor
from longshore.model.reference import parse
from longshore.model.transfer import Auth

BLOB = b"".join(sha256(bytes([i % 256, i // 256])).digest() for i in range(8000))
SIZE = len(BLOB)
LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar", digest_of(BLOB), SIZE)


@pytest.fixture
def source(tmp_path: Path, authority: Authority, bad: BadRegistry) -> Registries:
    bad.blobs[LAYER.digest] = BLOB
    return registries(tmp_path, settings_of(bad.host, authority.pem), Ticks(), stall=0.2)


def _reader(
    source: Registries, host: str, offset: int = 0, watch: Watching | None = None
) -> BlobReader:
    places = source.repositories(parse(f"{host}/app"), Auth(), watch, what="pull it")
    return BlobReader(places, LAYER, offset)


def _read(source: Registries, host: str, offset: int = 0, watch: Watching | None = None) -> bytes:
    reader = _reader(source, host, offset, watch)
    try:
        reader.connect()
        return drain(reader.read)
    finally:
        reader.close()


def _starts(bad: BadRegistry) -> list[int | None]:
    return [request.start for request, _ in bad.seen if request.kind == "blob"]


@pytest.mark.parametrize("offset", [0, 1, SIZE // 2, SIZE - 1, SIZE])
def test_from_anywhere(source: Registries, bad: BadRegistry, offset: int) -> None:
    assert _read(source, bad.host, offset) == BLOB[offset:]
    assert _starts(bad) == {0: [None], SIZE: []}.get(offset, [offset])


def test_connections_are_used_again(
    source: Registries, bad: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One TLS handshake for many blobs."""
    connected: list[int] = []

    def counted(host: str, port: int) -> socket.socket:
        connected.append(port)
        return connect(host, port)

    monkeypatch.setattr(pools, "connect", counted)
    for _ in range(5):
        assert _read(source, bad.host) == BLOB
    assert len(connected) == 1


BREAKS: tuple[tuple[str, Change, int], ...] = (
    ("ends early", cut(70_000), 1),
    ("is reset", cut(70_000, reset=True), 1),
    ("ends before the headers", cut(-1), 1),
    ("ends after the headers", cut(0), 4),
    ("ends early, again and again", cut(20_000), 12),
    ("stalls", stall(70_000), 1),
    ("stalls before the headers", stall(-1), 1),
    ("stalls after the headers", stall(0), 1),
    ("is refused for a while", status(503), 4),
    ("is refused for too many requests", status(429, Retry_After="30"), 1),
)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("fault", BREAKS, ids=[name for name, *_ in BREAKS])
def test_a_break_is_mended(
    source: Registries, bad: BadRegistry, fault: tuple[str, Change, int], ranges: bool
) -> None:
    bad.ranges = ranges
    name, change, times = fault
    if name.endswith("again and again") and not ranges:
        times = 4  # Without ranges each try begins at the beginning: only so often is it tried.
    bad.order(Fault("blob", change, times=times))
    assert _read(source, bad.host) == BLOB
    assert bad.count("blob") == times + 1


def test_it_goes_on_where_it_stopped(source: Registries, bad: BadRegistry) -> None:
    bad.order(Fault("blob", cut(100_000), times=1), Fault("blob", cut(30_000), times=2))
    assert _read(source, bad.host, 500) == BLOB[500:]
    starts = _starts(bad)
    assert starts == [500, 30_500, 60_500]


NO_PROGRESS: tuple[tuple[str, Change, str, int], ...] = (
    ("nothing comes", cut(0), "does not answer: the connection broke off", 4),
    ("it stalls", stall(0), "does not answer: nothing came for 0.2 s", 4),
    ("no headers come", cut(-1), "does not answer: the connection broke off", 5),
    ("503", status(503), "(status 503)", 5),
)


@pytest.mark.parametrize("fault", NO_PROGRESS, ids=[name for name, *_ in NO_PROGRESS])
def test_without_progress_it_ends(
    source: Registries, bad: BadRegistry, fault: tuple[str, Change, str, int]
) -> None:
    """The break itself is the first of five failures, or the reason for five tries."""
    _, change, why, tries = fault
    bad.order(Fault("blob", cut(50_000), times=1))
    reader = _reader(source, bad.host)
    assert reader.read(1000) == BLOB[:1000]
    bad.order(Fault("blob", change))
    with pytest.raises(ImageSourceUnavailable) as caught:
        drain(reader.read)
    assert why in str(caught.value)
    assert bad.count("blob") == 1 + tries


def _ranged(value: str | None) -> Change:
    """Another Content-Range, of answers that have one."""
    return lambda request, answer: (
        headers(Content_Range=value)(request, answer) if answer.status == 206 else answer
    )


WRONG_RANGES = (
    ("another start", f"bytes 5-{SIZE - 1}/{SIZE}"),
    ("the start a byte too late", f"bytes 50001-{SIZE - 1}/{SIZE}"),
    ("an end beyond the blob's", f"bytes 50000-{SIZE}/{SIZE}"),
    ("none", None),
    ("nonsense", "bytes x"),
    ("another unit", f"lines 50000-{SIZE - 1}/{SIZE}"),
)


@pytest.mark.parametrize("wrong", WRONG_RANGES, ids=[name for name, _ in WRONG_RANGES])
def test_a_wrong_range_is_not_believed(
    source: Registries, bad: BadRegistry, wrong: tuple[str, str | None]
) -> None:
    bad.order(Fault("blob", _ranged(wrong[1])))
    assert _read(source, bad.host, 50_000) == BLOB[50_000:]
    assert _starts(bad) == [50_000, None]


def test_a_range_that_ends_early_is_gone_on_from(source: Registries, bad: BadRegistry) -> None:
    bad.order(Fault("blob", both(_ranged(f"bytes 50000-59999/{SIZE}"), _first(10_000)), times=1))
    assert _read(source, bad.host, 50_000) == BLOB[50_000:]
    assert _starts(bad) == [50_000, 60_000]


def _first(size: int) -> Change:
    return lambda _, answer: replace(answer, body=answer.body[:size])


SIZES: tuple[tuple[str, int, Change, str], ...] = (
    ("a length that is too great", 0, length(1), f"has {SIZE + 1} bytes for"),
    ("a length that is too small", 0, length(-1), f"has {SIZE - 1} bytes for"),
    ("a total that is too great", 9, _ranged(f"bytes 9-{SIZE - 1}/{SIZE + 1}"), f"{SIZE + 1}"),
    ("a range past its end", 9, status(416, Content_Range="bytes */9"), "has 9 bytes for"),
)


@pytest.mark.parametrize("lie", SIZES, ids=[name for name, *_ in SIZES])
def test_a_size_that_is_not_the_descriptors(
    source: Registries, bad: BadRegistry, lie: tuple[str, int, Change, str]
) -> None:
    _, offset, change, why = lie
    bad.order(Fault("blob", change))
    with pytest.raises(BadImage, match=why) as caught:
        _read(source, bad.host, offset)
    assert f"which should be {SIZE}" in str(caught.value)
    assert bad.count("blob") == 1


@pytest.mark.parametrize("said", [None, f"bytes */{SIZE}", "nonsense"])
def test_416_without_a_reason_reads_from_the_beginning(
    source: Registries, bad: BadRegistry, said: str | None
) -> None:
    bad.order(Fault("blob", both(status(416), headers(Content_Range=said)), times=1))
    assert _read(source, bad.host, 9) == BLOB[9:]
    assert _starts(bad) == [9, None]


def test_a_blob_that_is_not_there(source: Registries, bad: BadRegistry) -> None:
    del bad.blobs[LAYER.digest]
    with pytest.raises(ImageSourceFailed, match=f"does not have {LAYER.digest}") as caught:
        _read(source, bad.host)
    assert type(caught.value) is ImageSourceFailed


def test_a_denied_blob_says_so(source: Registries, bad: BadRegistry) -> None:
    """At once: no other try will help."""
    bad.order(Fault("blob", cut(10_000), times=1))
    reader = _reader(source, bad.host)
    assert reader.read(1000) == BLOB[:1000]
    bad.order(Fault("blob", error(403, "DENIED", "gone")))
    with pytest.raises(ImageSourceDenied, match="DENIED: gone"):
        drain(reader.read)
    assert bad.count("blob") == 2


@pytest.mark.parametrize("at", [-1, 0, 70_000])
def test_a_silent_registry_does_not_hold_up_who_calls_it_off(
    tmp_path: Path, authority: Authority, bad: BadRegistry, at: int
) -> None:
    bad.blobs[LAYER.digest] = BLOB
    source = registries(tmp_path, settings_of(bad.host, authority.pem), stall=3600.0)
    bad.order(Fault("blob", stall(at)))
    watch = Watching(PullCancelled("nobody waits"), after=3)
    with pytest.raises(PullCancelled):
        _read(source, bad.host, watch=watch)
    assert bad.count("blob") == 1


def test_a_transfer_ends_at_its_deadline(
    tmp_path: Path, authority: Authority, bad: BadRegistry
) -> None:
    """Also one that makes progress."""
    bad.blobs[LAYER.digest], ticks = BLOB, Ticks()
    settings = settings_of(bad.host, authority.pem)
    source = registries(tmp_path, settings, ticks, pull_timeout=10.0)
    reader = _reader(source, bad.host)
    assert reader.read(1000) == BLOB[:1000]
    ticks.at += 11.0
    with pytest.raises(ImageSourceUnavailable, match="took longer than it may"):
        reader.read(1000)
    reader.close()


@contextmanager
def _answering(*answers: bytes) -> Iterator[str]:
    """A server that answers each connection with the next of these bytes, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            wire, _ = listener.accept()
            with wire:
                wire.recv(65536)
                wire.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


def _chunked(parts: Sequence[bytes], *, ended: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + chunks + (b"0\r\n\r\n" if ended else b"")


def _rest(start: int) -> bytes:
    head = f"HTTP/1.1 206 OK\r\nContent-Range: bytes {start}-{SIZE - 1}/{SIZE}\r\n\r\n"
    return head.encode() + BLOB[start:]


HALVES = (BLOB[: SIZE // 2], BLOB[SIZE // 2 :])
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"
LENGTHLESS = (
    ("in chunks", [_chunked(HALVES)], None),
    ("in chunks that end early", [_chunked(HALVES[:1]), _rest(SIZE // 2)], None),
    ("in chunks that break off", [_chunked(HALVES[:1], ended=False), _rest(SIZE // 2)], None),
    ("in chunks, a byte too much", [_chunked([*HALVES, b"x"])], "sends more for"),
    ("until the connection ends", [UNTIL_CLOSED + BLOB], None),
    ("until it ends early", [UNTIL_CLOSED + HALVES[0], _rest(SIZE // 2)], None),
    ("until it ends late", [UNTIL_CLOSED + BLOB + b"x"], "sends more for"),
)


@pytest.mark.parametrize("case", LENGTHLESS, ids=[name for name, *_ in LENGTHLESS])
def test_without_a_length(tmp_path: Path, case: tuple[str, list[bytes], str | None]) -> None:
    _, answers, why = case
    with _answering(*answers) as host:
        settings = f'[registry."{host}"]\nplain_http = true\n'
        source = registries(tmp_path, settings, Ticks())
        if why is None:
            assert _read(source, host) == BLOB
        else:
            with pytest.raises(BadImage, match=why):
                _read(source, host)


GARBAGE = (b"", b"\0" * 100, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500)


@pytest.mark.parametrize("answer", GARBAGE)
def test_what_is_no_http(tmp_path: Path, answer: bytes) -> None:
    with _answering(*[answer] * 5) as host:
        settings = f'[registry."{host}"]\nplain_http = true\n'
        source = registries(tmp_path, settings, Ticks())
        with pytest.raises(ImageSourceUnavailable, match="does not answer"):
            _read(source, host)
