"""The table of bad registries and bad images: each with the error that it ends in, or how often it
is asked again before all is well. Whatever happens, nothing is left behind in containerd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from bench.lab.bad_images import BAD_IMAGES, good
from bench.lab.bad_registry import BadRegistry
from bench.lab.faults import (
    Change,
    Fault,
    body,
    both,
    cut,
    error,
    headers,
    length,
    ranged,
    redirect,
    stall,
    status,
    unmeasured,
)
from bench.lab.image import digest_of
from host.registry.pulled import HTML, TRIES, Parts, Pull

Order = Callable[[Parts], Sequence[Fault]]


def _layer(change: Change, times: int | None = None) -> Order:
    """Something is wrong with the second layer."""
    return lambda parts: [Fault("blob", change, times, parts.layer)]


def _broken_layer(then: Change) -> Order:
    """The second layer breaks off once, and something is wrong with the rest of it."""
    return lambda parts: [
        Fault("blob", cut(9000), 1, parts.layer),
        Fault("blob", ranged(then), None, parts.layer),
    ]


def _config(change: Change) -> Order:
    return lambda parts: [Fault("blob", change, None, parts.config)]


def _manifest(change: Change, times: int | None = None) -> Order:
    """Whoever asks for it, in whatever way."""
    return lambda _: [Fault("manifest", change, times, method=one) for one in ("GET", "HEAD")]


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@dataclass(frozen=True)
class Row:
    """Args:
    wrong: what is wrong with the registry.
    code: of the error; empty: the image is here in the end.
    layer: how often the second layer was asked for.
    waits: pauses before another try.
    manifest: how often a manifest was asked for; mostly by HEAD for its digest and by GET for
        its bytes, or for the reason of a refusal.
    ranges: whether the registry knows of them.
    """

    wrong: str
    order: Order
    code: str = ""
    layer: int = 1
    waits: int = 0
    manifest: int = 2
    stall: float = 20.0
    ranges: bool = True


UNAVAILABLE, FAILED, DENIED = (
    "image_source_unavailable",
    "image_source_failed",
    "image_source_denied",
)
BAD, MISSING = "bad_image", "image_not_found"
PAGE = status(200, HTML, Content_Type="text/html")
BUSY = error(429, "TOOMANYREQUESTS", Retry_After="3")
NOTHING = digest_of(b"nothing has this digest")
ROWS = (
    # What passes.
    Row("nothing", lambda _: []),
    Row("a connection ends in a blob", _layer(cut(9000), 1), layer=2, waits=1),
    Row("a connection is reset in a blob", _layer(cut(9000, reset=True), 1), layer=2, waits=1),
    Row("connections end in a blob again and again", _layer(cut(9000)), layer=5, waits=4),
    Row("a connection ends before any answer", _layer(cut(-1), 1), layer=2, waits=1),
    Row("503 twice for a blob", _layer(status(503), 2), layer=3, waits=2),
    Row("500 and then 502 for a manifest",
        lambda _: [Fault("manifest", status(code), 1, method="HEAD") for code in (500, 502)],
        manifest=3, waits=1),
    Row("429 with Retry-After", _layer(BUSY, 1), layer=2, waits=1),
    Row("429 with a Retry-After that is none",
        _layer(error(429, "TOOMANYREQUESTS", Retry_After="soon"), 1), layer=2, waits=1),
    Row("429 with a Retry-After beyond all time zones", _layer(error(
        429, "TOOMANYREQUESTS", Retry_After=f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}"), 1),
        layer=2, waits=1),
    Row("a blob stalls", _layer(stall(9000), 1), layer=2, waits=1, stall=0.5),
    Row("a blob does not begin", _layer(stall(-1), 1), layer=2, waits=1, stall=0.5),
    Row("Range is ignored", _layer(cut(9000), 1), layer=2, waits=1, ranges=False),
    Row("Content-Range is of another place", _broken_layer(headers(Content_Range="bytes 0-9/*")),
        layer=3, waits=2),
    Row("Content-Range is nonsense", _broken_layer(headers(Content_Range="some of it")),
        layer=3, waits=2),
    Row("a part is refused by 416", _broken_layer(status(416)), layer=3, waits=2),
    Row("no Content-Length", _layer(unmeasured())),
    Row("no Content-Length, and never all of it",
        _layer(both(body(lambda data: data[:9000]), unmeasured())), layer=5, waits=4),
    Row("an encoding is claimed", _layer(headers(Content_Encoding="gzip"))),
    Row("Docker-Content-Digest is nonsense", _manifest(headers(Docker_Content_Digest="latest"))),
    Row("Docker-Content-Digest is not there", _manifest(headers(Docker_Content_Digest=None))),
    # What ends, after some tries.
    Row("connections end before the first byte", _layer(cut(0)), UNAVAILABLE, TRIES, TRIES - 1),
    Row("there is never an answer", _layer(cut(-1)), UNAVAILABLE, TRIES, TRIES - 1),
    Row("503 for ever", _layer(status(503)), UNAVAILABLE, TRIES, TRIES - 1),
    Row("500 for ever", _manifest(status(500)), UNAVAILABLE, 0, TRIES - 1, TRIES),
    Row("429 for ever", _manifest(BUSY), UNAVAILABLE, 0, TRIES - 1, TRIES),
    Row("a blob always stalls", _layer(stall(0)), UNAVAILABLE, TRIES, TRIES - 1, stall=0.25),
    Row("manifests always stall", _manifest(stall(-1)), UNAVAILABLE, 0, TRIES - 1, TRIES, 0.25),
    Row("answers without a length bring nothing", _layer(both(body(lambda _: b""), unmeasured())),
        UNAVAILABLE, TRIES, TRIES - 1),
    Row("206 without being asked for", _layer(status(206, b"x" * 50)), FAILED, TRIES, TRIES - 1),
    Row("a header without an end", _layer(headers(X="x" * 100_000)), UNAVAILABLE, TRIES, TRIES - 1),
    # What ends at once.
    Row("no such image", _manifest(error(404, "MANIFEST_UNKNOWN")), MISSING, 0),
    Row("no such repository", _manifest(error(404, "NAME_UNKNOWN")), MISSING, 0),
    Row("the image is forbidden", _manifest(error(403, "DENIED")), DENIED, 0),
    Row("a blob is forbidden", _layer(error(403, "DENIED")), DENIED),
    Row("a blob is not there", _layer(error(404, "BLOB_UNKNOWN")), FAILED),
    Row("nothing that HTTP knows", _layer(status(418)), FAILED),
    Row("a page of HTML for a manifest", _manifest(PAGE), BAD, 0),
    Row("a page of HTML for a config", _config(PAGE), BAD, 0),
    Row("a page of HTML for a blob", _layer(PAGE), BAD),
    Row("an empty manifest", _manifest(body(lambda _: b"")), FAILED, 0),
    Row("another manifest than asked for", _manifest(body(lambda _: b"{}")), FAILED, 0),
    Row("a manifest with a bit flipped", lambda _: [Fault("manifest", body(_flipped))], FAILED, 0),
    Row("Docker-Content-Digest is of nothing", _manifest(headers(Docker_Content_Digest=NOTHING)),
        FAILED, 0),
    Row("a manifest of ten megabytes", lambda _: [
        Fault("manifest", body(lambda data: data + b" " * 10_000_000))], FAILED, 0),
    Row("a config with a bit flipped", _config(body(_flipped)), BAD, 0),
    Row("a blob with a bit flipped", _layer(body(_flipped)), BAD),
    Row("a blob of nothing", _layer(body(lambda _: b"")), BAD),
    Row("a blob that is too short", _layer(body(lambda data: data[:-7])), BAD),
    Row("a blob that is too long", _layer(body(lambda data: data + b"x" * 7)), BAD),
    Row("Content-Length is too small", _layer(length(-7)), BAD),
    Row("Content-Length is too large", _layer(length(7)), BAD),
    Row("an answer without a length is too long",
        _layer(both(body(lambda data: data + b"x"), unmeasured())), BAD),
    Row("a part of something larger", _broken_layer(headers(Content_Range="bytes 9000-9999/10001")),
        BAD, 2, 1),
    Row("416, and another size", _broken_layer(status(416, Content_Range="bytes */5")), BAD, 2, 1),
    Row("a redirect to nowhere", _layer(status(307)), FAILED),
    Row("a redirect to a file", _layer(status(307, Location="file:///etc/passwd")), FAILED),
    Row("a redirect with a password in it",
        _layer(status(307, Location="https://a:b@127.0.0.1/")), FAILED),
    Row("a redirect to a place without TLS",
        _layer(status(302, Location="http://127.0.0.1:1/")), FAILED),
    Row("redirects in a circle", _layer(redirect("")), FAILED, 10),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.wrong)
def test_a_bad_registry(pull: Pull, row: Row) -> None:
    layout = good(row.wrong)
    pull.bad.serve(layout)
    pull.bad.ranges = row.ranges
    parts = Parts.of(layout)
    pull.bad.order(*row.order(parts))
    pull.stall = row.stall
    if row.code:
        pull.refused(row.code)
    else:
        pull.done()
    asked = [request for request, _ in pull.bad.seen]
    assert sum(request.target == parts.layer for request in asked) == row.layer
    assert sum(request.kind == "manifest" for request in asked) == row.manifest
    assert pull.ticks.pauses == row.waits


#: Those of BAD_IMAGES that the registry is to blame for.
BLAME = {"config is not there": FAILED, "layer is not there": FAILED}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image(pull: Pull, name: str) -> None:
    pull.bad.serve(BAD_IMAGES[name](f"bad {name}"))
    pull.refused(BLAME.get(name, BAD))
    assert pull.ticks.slept == []


def test_platforms_that_are_there_are_named(pull: Pull) -> None:
    pull.bad.serve(BAD_IMAGES["index has other platforms alone"]("platforms"))
    failure = pull.refused(BAD)
    assert failure.details["platforms"] == ["linux/s390x", "windows/amd64"]
    assert "linux/s390x, windows/amd64" in failure.message


def test_a_registry_that_is_not_there(pull: Pull) -> None:
    with BadRegistry() as gone:
        pull.host = gone.host
    pull.refused(UNAVAILABLE)
    assert pull.ticks.pauses == TRIES - 1


def test_a_digest_that_is_answered_by_another_image(pull: Pull) -> None:
    wanted, given = good("wanted").manifests[0]["digest"], good("given")
    pull.bad.serve(given)
    pull.bad.documents[wanted] = pull.bad.documents["latest"]
    pull.version = f"@{wanted}"
    pull.refused(FAILED)


def test_retry_after_is_kept_to(pull: Pull) -> None:
    pull.bad.serve(good("retry after"))
    pull.bad.order(Fault("manifest", error(429, "TOOMANYREQUESTS", Retry_After="7"), 1,
                         method="HEAD"))  # fmt: skip
    pull.done()
    assert sum(pull.ticks.slept) == pytest.approx(7.0)


def test_retry_after_has_its_bounds(pull: Pull) -> None:
    """An hour is more than anybody waits for a pull."""
    pull.bad.serve(good("retry after an hour"))
    pull.bad.order(Fault("manifest", error(429, "TOOMANYREQUESTS", Retry_After="3600"), 1,
                         method="HEAD"))  # fmt: skip
    pull.done()
    assert sum(pull.ticks.slept) == pytest.approx(60.0)
