"""Pushing: to Debian's registry with each kind of authentication, and what is sent of an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.bad_images import good, index_of, manifest_of
from bench.lab.bad_registry import TOKEN, BadRegistry
from bench.lab.built import Built
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import Fault, headers
from bench.lab.image import Layout, digest_of
from bench.lab.registry import PrivateRegistry, skopeo
from bench.lab.token_server import PASSWORD, USER, TokenServer
from bench.lab.wire import Wire
from host.registry.pushing import (
    LAYER_SIZE,
    USER_PASSWORD,
    Lab,
    Memory,
    Push,
    layers_of,
)
from longshore.errors import (
    ImageSourceDenied,
    InvalidRequest,
)
from longshore.model.transfer import Credential


@pytest.fixture(scope="module")
def lab(authority: Authority, certificate: Certificate) -> Lab:
    return Lab(authority.pem, certificate, authority.issue("signer", rsa=True))


@pytest.fixture(scope="module")
def basic(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRegistry]:
    folder = tmp_path_factory.mktemp("push-basic")
    with PrivateRegistry(folder, tls=lab.server, ca=lab.ca, basic=True) as registry:
        yield registry


def test_to_a_registry_that_wants_a_password(
    basic: PrivateRegistry, lab: Lab, tmp_path: Path
) -> None:
    layout = good("push-basic", layers=3)
    push = Push(basic.host, lab.ca, "deep/path/app:1", USER_PASSWORD)
    assert push(layout) == layout.manifests[-1]["digest"]
    layers = layers_of(layout)
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
    assert sorted(again.seen.done) == sorted(layers_of(layout))


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
    assert json.loads(shown)["Layers"] == layers_of(layout)
