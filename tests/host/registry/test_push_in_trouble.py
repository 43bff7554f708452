"""Pushing to a registry that breaks off, refuses or forgets, and content that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.lab.bad_images import good, manifest_of
from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import Fault, cut, error, headers, stall, status, take
from bench.lab.image import digest_of
from host.registry.pushing import (
    LAYER_SIZE,
    Lab,
    Memory,
    Push,
    Seen,
    layers_of,
)
from longshore.errors import (
    BadImage,
    HostFailed,
    ImageSourceDenied,
    ImageSourceUnavailable,
    LongshoreError,
    PullCancelled,
)


@pytest.fixture(scope="module")
def lab(authority: Authority, certificate: Certificate) -> Lab:
    return Lab(authority.pem, certificate, authority.issue("signer", rsa=True))


@pytest.mark.parametrize("at", [1, 1000, 1_500_000, LAYER_SIZE])
def test_a_connection_that_breaks_goes_on_where_it_was(bad: BadRegistry, lab: Lab, at: int) -> None:
    layout = good(f"push-cut-{at}", layers=1, size=LAYER_SIZE)
    (layer,) = layers_of(layout)
    bad.order(Fault("upload", take(at), method="PATCH", times=1, least=10_000))
    push = Push(bad.host, lab.ca)
    push(layout)
    assert digest_of(bad.blobs[layer]) == layer
    size, config = push.seen.blobs[layer], manifest_of(layout)["config"]["size"]
    sent = [request.length for request, _ in bad.seen if request.method == "PATCH"]
    assert sorted(sent) == sorted([config, size, size - at if at > 1 else size])
    assert len(push.slept) == 1
    assert bad.count("begin", "POST") == (2 if at > 1 else 3)


def test_a_connection_that_always_breaks_goes_on_while_more_arrives(
    bad: BadRegistry, lab: Lab
) -> None:
    layout = good("push-crawl", layers=1, size=LAYER_SIZE)
    (layer,) = layers_of(layout)
    bad.order(Fault("upload", take(400_000), method="PATCH", times=7, least=10_000))
    push = Push(bad.host, lab.ca)
    push(layout)
    assert digest_of(bad.blobs[layer]) == layer
    assert bad.count("upload", "PATCH") == 7 + 2


def test_a_connection_that_brings_nothing_over_is_given_up(bad: BadRegistry, lab: Lab) -> None:
    bad.order(Fault("upload", take(0), method="PATCH"))
    push = Push(bad.host, lab.ca)
    with pytest.raises(ImageSourceUnavailable):
        push(good("push-nothing", layers=1))
    assert bad.documents == {}
    assert 5 <= bad.count("upload", "PATCH") <= 10


def test_an_upload_that_the_registry_forgot_begins_again(bad: BadRegistry, lab: Lab) -> None:
    layout = good("push-forgot", layers=1, size=LAYER_SIZE)
    bad.order(
        Fault("upload", take(1_000_000), method="PATCH", times=1, least=10_000),
        Fault("upload", error(404, "BLOB_UPLOAD_UNKNOWN"), times=1),
    )
    Push(bad.host, lab.ca)(layout)
    assert digest_of(bad.blobs[layers_of(layout)[0]]) == layers_of(layout)[0]
    assert bad.count("begin", "POST") == 3


def test_an_answer_that_got_lost_is_not_waited_for(bad: BadRegistry, lab: Lab) -> None:
    """The registry has finished the blob, and we were not told."""
    layout = good("push-lost", layers=1)
    bad.order(Fault("upload", cut(-1), method="PUT", times=1))
    Push(bad.host, lab.ca)(layout)
    assert bad.count("upload", "PATCH") == 2
    assert layout.manifests[-1]["digest"] in bad.documents


Order = Callable[[], Fault]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (lambda: Fault("blob", status(503), method="HEAD"), "image_source_unavailable"),
        (lambda: Fault("begin", status(500), method="POST"), "image_source_unavailable"),
        (lambda: Fault("begin", error(429, "TOOMANYREQUESTS", Retry_After="1"), method="POST"),
         "image_source_unavailable"),
        (lambda: Fault("begin", error(403, "DENIED"), method="POST"), "image_source_denied"),
        (lambda: Fault("begin", error(404, "NAME_UNKNOWN"), method="POST"), "image_source_failed"),
        (lambda: Fault("begin", headers(Location=None), method="POST"), "image_source_failed"),
        (lambda: Fault("begin", headers(Location="http://127.0.0.1:1/"), method="POST"),
         "image_source_failed"),
        (lambda: Fault("upload", error(400, "DIGEST_INVALID"), method="PUT"),
         "image_source_failed"),
        (lambda: Fault("upload", error(413, "SIZE_INVALID"), method="PATCH"),
         "image_source_failed"),
        (lambda: Fault("upload", headers(Docker_Content_Digest="sha256:0"), method="PUT"),
         "image_source_failed"),
        (lambda: Fault("begin", stall(-1), method="POST"), "image_source_unavailable"),
        (lambda: Fault("manifest", error(400, "MANIFEST_INVALID"), method="PUT"),
         "image_source_failed"),
        (lambda: Fault("manifest", headers(Docker_Content_Digest="sha256:0"), method="PUT"),
         "image_source_failed"),
        (lambda: Fault("manifest", status(502), method="PUT"), "image_source_unavailable"),
    ],
)  # fmt: skip
def test_registries_that_do_not_take_it(
    bad: BadRegistry, lab: Lab, order: Order, code: str
) -> None:
    bad.order(order())
    push = Push(bad.host, lab.ca, stall=0.3)
    with pytest.raises(LongshoreError) as caught:
        push(good("push-refused", layers=1))
    assert caught.value.code == code
    assert caught.value.message.startswith(f"cannot push {bad.host}/lab/app:1: registry {bad.host}")


@pytest.mark.parametrize(
    ("order", "times"),
    [
        (lambda: Fault("blob", status(503), method="HEAD", times=2), 2),
        (lambda: Fault("begin", status(500), method="POST", times=3), 3),
        (lambda: Fault("upload", status(503), method="PATCH", times=2), 2),
        (lambda: Fault("manifest", status(502), method="PUT", times=1), 1),
        (lambda: Fault("manifest", error(429, "TOOMANYREQUESTS", Retry_After="7"), method="PUT",
                       times=1), 1),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(bad: BadRegistry, lab: Lab, order: Order, times: int) -> None:
    layout = good("push-passes", layers=1)
    fault = order()
    bad.order(fault)
    push = Push(bad.host, lab.ca)
    push(layout)
    assert (fault.times, len(push.slept) >= times) == (0, True)
    assert {layout.manifests[-1]["digest"], "1"} <= set(bad.documents)


def test_the_registry_says_how_long_to_wait(bad: BadRegistry, lab: Lab) -> None:
    bad.order(Fault("begin", error(429, "TOOMANYREQUESTS", Retry_After="7"), method="POST",
                    times=1))  # fmt: skip
    push = Push(bad.host, lab.ca)
    push(good("push-retry-after", layers=1))
    assert sum(push.slept) == pytest.approx(7.0)


def test_cancelled(bad: BadRegistry, lab: Lab) -> None:
    layout = good("push-cancelled", layers=3, size=LAYER_SIZE)
    push = Push(bad.host, lab.ca, seen=Seen(after=500_000))
    with pytest.raises(PullCancelled, match="nobody waits"):
        push(layout)
    assert bad.documents == {}
    assert push.slept == []


def test_one_part_that_fails_ends_the_others(bad: BadRegistry, lab: Lab) -> None:
    layout = good("push-ends", layers=2, size=LAYER_SIZE)
    first, second = layers_of(layout)
    bad.order(
        Fault("blob", error(403, "DENIED"), method="HEAD", target=first),
        Fault("blob", stall(-1), method="HEAD", target=second),
    )
    with pytest.raises(ImageSourceDenied):
        Push(bad.host, lab.ca)(layout)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (OSError(5, "Input/output error"), HostFailed),
        (BadImage("cannot read it: as ordered"), BadImage),
    ],
)
def test_content_that_cannot_be_read(
    bad: BadRegistry, lab: Lab, failure: Exception, kind: type[LongshoreError]
) -> None:
    """Is not the registry's fault, and not tried again."""
    layout = good("push-unreadable", layers=1)
    push = Push(bad.host, lab.ca)
    with pytest.raises(kind):
        push(Memory(layout, {layers_of(layout)[0]: failure}))
    assert (bad.documents, push.slept) == ({}, [])


@pytest.mark.parametrize("by", [-5, 5])
def test_content_of_another_size_than_it_says(bad: BadRegistry, lab: Lab, by: int) -> None:
    layout = good(f"push-size{by}", layers=1)
    content = Memory(layout)
    digest = layers_of(layout)[0].removeprefix("sha256:")
    layout.blobs[digest] = (layout.blobs[digest] + bytes(5))[: len(layout.blobs[digest]) + by]
    with pytest.raises(BadImage, match="does not have the"):
        Push(bad.host, lab.ca)(content)
    assert bad.documents == {}
