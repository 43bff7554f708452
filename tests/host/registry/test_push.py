"""Pushing: to Debian's registry with each kind of authentication, and to one that breaks off."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.lab.bad_images import good, index_of, manifest_of
from bench.lab.bad_registry import TOKEN, BadRegistry
from bench.lab.built import Built
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import Fault, cut, error, headers, stall, status, take
from bench.lab.image import Layout, digest_of
from bench.lab.registry import PrivateRegistry, skopeo
from bench.lab.token_server import PASSWORD, USER, TokenServer
from bench.lab.wire import Wire
from longshore.errors import (
    BadImage,
    HostFailed,
    ImageSourceDenied,
    ImageSourceUnavailable,
    InvalidRequest,
    LongshoreError,
    PullCancelled,
)
from longshore.host.registry import pools
from longshore.host.registry.auth import Authorizer
from longshore.host.registry.exchange import Endpoint
from longshore.host.registry.http import Repository
from longshore.host.registry.patience import Patience, Time
from longshore.host.registry.push import push
from longshore.host.registry.refusal import Task
from longshore.model.documents import Descriptor
from longshore.model.reference import parse
from longshore.model.transfer import Credential, Reader

LAYER_SIZE = 3_000_000


@dataclass(frozen=True)
class Lab:
    ca: Path
    server: Certificate
    signer: Certificate


@pytest.fixture(scope="module")
def lab(authority: Authority, certificate: Certificate) -> Lab:
    return Lab(authority.pem, certificate, authority.issue("signer", rsa=True))


@pytest.fixture(scope="module")
def basic(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRegistry]:
    folder = tmp_path_factory.mktemp("push-basic")
    with PrivateRegistry(folder, tls=lab.server, ca=lab.ca, basic=True) as registry:
        yield registry


class Memory:
    """Content of a layout. `broken`: digest → what reading it raises after half of it."""

    parallel = 2

    def __init__(self, layout: Layout, broken: Mapping[str, BaseException] | None = None) -> None:
        last = layout.manifests[-1]
        self.candidates = [Descriptor(last["mediaType"], last["digest"], last["size"])]
        self.layout = layout
        self._broken = broken or {}

    def read(self, descriptor: Descriptor) -> bytes:
        return self.layout.blobs[descriptor.digest.removeprefix("sha256:")]

    def open(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        content = self.read(descriptor)
        if failure := self._broken.get(descriptor.digest):
            return nullcontext(_Broken(io.BytesIO(content[: len(content) // 2]), failure))
        return nullcontext(io.BytesIO(content[offset:]))


@dataclass
class _Broken:
    good: io.BytesIO
    failure: BaseException

    def read(self, size: int, /) -> bytes:
        part = self.good.read(size)
        if not part:
            raise self.failure
        return part


@dataclass
class Seen:
    """A watch that remembers. `after`: bytes of a blob after which nobody waits any more."""

    after: int | None = None
    digest: str = ""
    blobs: Mapping[str, int] = field(default_factory=dict)
    steps: dict[str, list[int]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def check(self) -> None:
        if self.after is not None and any(steps[-1] > self.after for steps in self.steps.values()):
            raise PullCancelled("cannot push it: nobody waits for it any more")

    def planned(self, digest: str, blobs: Mapping[str, int]) -> None:
        self.digest, self.blobs = digest, blobs

    def fetched(self, blob: str, done: int) -> None:
        self.steps.setdefault(blob, []).append(done)

    def unpacking(self, blob: str) -> None:
        raise AssertionError("nothing is unpacked when an image is sent")

    def finished(self, blob: str) -> None:
        self.done.append(blob)


@dataclass
class Push:
    """One push to `host`, on a clock of its own. `slept`: seconds of each pause."""

    host: str
    ca: Path
    name: str = "lab/app:1"
    credential: Credential | None = None
    stall: float = 20.0
    seen: Seen = field(default_factory=Seen)
    slept: list[float] = field(default_factory=list)

    def __call__(self, content: Memory | Layout) -> str:
        content = content if isinstance(content, Memory) else Memory(content)
        reference = parse(f"{self.host}/{self.name}")
        tls = pools.context(str(self.ca))
        sockets = pools.Pools(tls, tls, {})
        endpoint = Endpoint(f"https://{self.host}/v2", sockets)
        patience = Patience(
            Task(f"push {reference.name}", reference.name),
            self.seen.check,
            self.stall,
            1e12,
            Time(sleep=self.slept.append, random=lambda: 1.0),
        )
        who = Authorizer(endpoint.where, lambda: self.credential, plain=False)
        try:
            repository = Repository(endpoint, reference.path, who, patience, "pull,push")
            return push(repository, reference, content, self.seen)
        finally:
            sockets.close()


USER_PASSWORD = Credential(USER, PASSWORD)


def _layers(layout: Layout) -> list[str]:
    return [layer["digest"] for layer in manifest_of(layout)["layers"]]


def test_to_a_registry_that_wants_a_password(
    basic: PrivateRegistry, lab: Lab, tmp_path: Path
) -> None:
    layout = good("push-basic", layers=3)
    push = Push(basic.host, lab.ca, "deep/path/app:1", USER_PASSWORD)
    assert push(layout) == layout.manifests[-1]["digest"]
    layers = _layers(layout)
    assert sorted(push.seen.done) == sorted(layers)
    assert push.seen.blobs == {
        layer["digest"]: layer["size"] for layer in manifest_of(layout)["layers"]
    }
    assert {blob: steps[-1] for blob, steps in push.seen.steps.items()} == push.seen.blobs
    target = tmp_path / "copy"
    skopeo("copy", "--all", "--preserve-digests", *basic.access("src"),
           f"docker://{basic.host}/deep/path/app:1", f"dir:{target}")  # fmt: skip
    assert digest_of((target / "manifest.json").read_bytes()) == layout.manifests[-1]["digest"]
    for layer in layers:
        assert (target / layer.removeprefix("sha256:")).stat().st_size == push.seen.blobs[layer]


def test_what_the_registry_has_is_not_sent_again(basic: PrivateRegistry, lab: Lab) -> None:
    layout = good("push-again", layers=2)
    Push(basic.host, lab.ca, "again/app:1", USER_PASSWORD)(layout)
    again = Push(basic.host, lab.ca, "again/app:2", USER_PASSWORD)
    again(layout)
    uploads = [one for one in basic.requests(r"/v2/again/app/blobs/uploads/.*")
               if one.method == "PATCH" and one.status == 202]  # fmt: skip
    assert len(uploads) == 3
    assert sorted(again.seen.done) == sorted(_layers(layout))


def test_all_of_an_index_is_sent(lab: Lab, built: Built, tmp_path: Path) -> None:
    """Made by buildah, with five platforms; what two of them share goes once."""
    with PrivateRegistry(tmp_path, tls=lab.server, ca=lab.ca) as registry:
        for form in ("oci-index", "docker-list"):
            layout = _layout_of(built.form(form))
            push = Push(registry.host, lab.ca, f"several/{form}:1")
            assert push(layout) == digest_of(built.document(form))
            assert sorted(push.seen.done) == sorted(push.seen.blobs)
            target = tmp_path / f"{form}-copy"
            skopeo("copy", "--all", "--preserve-digests", *registry.access("src"),
                   f"docker://{registry.host}/several/{form}:1", f"dir:{target}")  # fmt: skip
            assert (target / "manifest.json").read_bytes() == built.document(form)


def _layout_of(folder: Path) -> Layout:
    """A folder of skopeo's `dir:`."""
    layout = Layout()
    for path in folder.iterdir():
        if path.name != "version":
            content = path.read_bytes()
            layout.blobs[digest_of(content).removeprefix("sha256:")] = content
    document = (folder / "manifest.json").read_bytes()
    media = json.loads(document)["mediaType"]
    layout.manifests.append(layout.add(media, document))
    return layout


def test_with_tokens(lab: Lab, tmp_path: Path) -> None:
    layout = good("push-token")
    with (
        TokenServer(lab.signer, lab.server) as tokens,
        PrivateRegistry(tmp_path, tls=lab.server, ca=lab.ca, tokens=tokens) as registry,
    ):
        Push(registry.host, lab.ca, credential=USER_PASSWORD)(layout)
        assert tokens.asked == ["repository:lab/app:pull,push"]
        with pytest.raises(ImageSourceDenied):
            Push(registry.host, lab.ca, "lab/other:1")(layout)
        with pytest.raises(ImageSourceDenied) as caught:
            Push(registry.host, lab.ca, credential=Credential(USER, "not-the-one"))(layout)
        assert "not-the-one" not in str(caught.value.to_dict())
        assert registry.requests(r"/v2/lab/other/manifests/.*") == []


def test_by_digest(bad: BadRegistry, lab: Lab) -> None:
    layout = good("push-digest")
    digest = layout.manifests[-1]["digest"]
    Push(bad.host, lab.ca, f"lab/app@{digest}")(layout)
    assert set(bad.documents) == {digest}
    other = digest_of(b"another image")
    with pytest.raises(InvalidRequest) as caught:
        Push(bad.host, lab.ca, f"lab/app@{other}")(layout)
    assert (caught.value.field, other in bad.documents) == ("image", False)


@pytest.mark.parametrize("at", [1, 1000, 1_500_000, LAYER_SIZE])
def test_a_connection_that_breaks_goes_on_where_it_was(bad: BadRegistry, lab: Lab, at: int) -> None:
    layout = good(f"push-cut-{at}", layers=1, size=LAYER_SIZE)
    (layer,) = _layers(layout)
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
    (layer,) = _layers(layout)
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
    assert digest_of(bad.blobs[_layers(layout)[0]]) == _layers(layout)[0]
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


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_who_we_are_goes_to_nobody_else(lab: Lab, kind: str) -> None:
    """Uploads that go to another host go without Authorization."""
    with (
        BadRegistry(lab.server, auth=kind) as registry,
        BadRegistry(lab.server, host="localhost") as elsewhere,
    ):
        begun = elsewhere.url + "/v2/up/blobs/uploads/"
        elsewhere.begin("one")
        registry.order(Fault("begin", headers(Location=f"{begun}one"), method="POST", times=1))
        layout = good("push-elsewhere", layers=1)
        content = Memory(layout)
        content.parallel = 1
        Push(registry.host, lab.ca, credential=USER_PASSWORD)(content)
        assert {request.auth for request, _ in elsewhere.seen} == {""}
        assert [request.method for request, _ in elsewhere.seen] == ["PATCH", "PUT"]
        shown = TOKEN if kind == "bearer" else "Basic "
        assert all(shown in request.auth for request, _ in registry.seen[-3:])


def test_cancelled(bad: BadRegistry, lab: Lab) -> None:
    layout = good("push-cancelled", layers=3, size=LAYER_SIZE)
    push = Push(bad.host, lab.ca, seen=Seen(after=500_000))
    with pytest.raises(PullCancelled, match="nobody waits"):
        push(layout)
    assert bad.documents == {}
    assert push.slept == []


def test_one_part_that_fails_ends_the_others(bad: BadRegistry, lab: Lab) -> None:
    layout = good("push-ends", layers=2, size=LAYER_SIZE)
    first, second = _layers(layout)
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
        push(Memory(layout, {_layers(layout)[0]: failure}))
    assert (bad.documents, push.slept) == ({}, [])


@pytest.mark.parametrize("by", [-5, 5])
def test_content_of_another_size_than_it_says(bad: BadRegistry, lab: Lab, by: int) -> None:
    layout = good(f"push-size{by}", layers=1)
    content = Memory(layout)
    digest = _layers(layout)[0].removeprefix("sha256:")
    layout.blobs[digest] = (layout.blobs[digest] + bytes(5))[: len(layout.blobs[digest]) + by]
    with pytest.raises(BadImage, match="does not have the"):
        Push(bad.host, lab.ca)(content)
    assert bad.documents == {}


def test_the_same_document_twice_in_an_index(bad: BadRegistry, lab: Lab) -> None:
    platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "arm64")]
    layout = index_of(good("push-twice"), platforms)
    Push(bad.host, lab.ca)(layout)
    assert bad.count("manifest", "PUT") == 2


def test_debians_registry_behind_a_wire_that_breaks(basic: PrivateRegistry, lab: Lab) -> None:
    layout = good("push-wire", layers=1, size=LAYER_SIZE)
    with Wire(basic.port, cuts=[1_000_000]) as wire:
        push = Push(f"127.0.0.1:{wire.port}", lab.ca, "wire/app:1", USER_PASSWORD)
        assert push(layout) == layout.manifests[-1]["digest"]
        assert wire.left == 0
    assert len(push.slept) == 1
    shown = skopeo(
        "inspect",
        "--cert-dir",
        basic.home / "trusted",
        "--creds",
        f"{USER}:{PASSWORD}",
        f"docker://{basic.host}/wire/app:1",
    )
    assert json.loads(shown)["Layers"] == _layers(layout)
