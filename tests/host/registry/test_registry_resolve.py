"""What a name stands for: tags, digests, mirrors, and answers that cannot be true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.bad_images import MANIFEST, SCHEMA1, good, manifest_of
from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import Change, Fault, body, cut, error, headers, status
from bench.lab.image import digest_of, json_of
from host.registry.reading import (
    Ticks,
    Watching,
    descriptor,
    pull,
    registries,
    settings_of,
)
from longshore.errors import (
    BadImage,
    ImageNotFound,
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    Interrupted,
    InvalidRequest,
    LongshoreError,
    PullCancelled,
)
from longshore.host.registry.registries import Registries
from longshore.model.reference import parse
from longshore.model.transfer import Auth

OTHER = "sha256:" + "0" * 64
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.fixture
def source(tmp_path: Path, authority: Authority, bad: BadRegistry) -> Registries:
    return registries(tmp_path, settings_of(bad.host, authority.pem), Ticks())


def _manifest_requests(bad: BadRegistry) -> list[str]:
    return [request.method for request, _ in bad.seen if request.kind == "manifest"]


@pytest.mark.parametrize("by", ["tag", "digest", "both"])
def test_a_name(source: Registries, bad: BadRegistry, by: str) -> None:
    digest = bad.serve(good("named"), "v1")
    suffix = {"tag": ":v1", "digest": f"@{digest}", "both": f":v0@{digest}"}[by]
    found = source.resolve(f"{bad.host}/app{suffix}", Auth())
    assert (found.name, found.key) == (f"{bad.host}/app{suffix}", digest)
    assert found.target.media_type == MANIFEST
    assert _manifest_requests(bad) == ["HEAD"]
    assert len(pull(source, found.name)) == 4


NO_HEAD: tuple[tuple[str, Change], ...] = (
    ("has no HEAD", status(405)),
    ("knows no HEAD of manifests", status(404)),
    ("says no digest", headers(Docker_Content_Digest=None)),
    ("says another kind of digest", headers(Docker_Content_Digest="sha512:" + "0" * 128)),
    ("says no type", headers(Content_Type="text/plain; charset=utf-8")),
)


@pytest.mark.parametrize("what", NO_HEAD, ids=[name for name, _ in NO_HEAD])
def test_head_that_does_not_tell_all(
    source: Registries, bad: BadRegistry, what: tuple[str, Change]
) -> None:
    digest = bad.serve(good("headless"), "latest")
    bad.order(Fault("manifest", what[1], method="HEAD"))
    found = source.resolve(f"{bad.host}/app", Auth())
    assert (found.key, found.target.media_type) == (digest, MANIFEST)
    with found.open(Watching()) as content:
        assert digest_of(content.read(content.candidates[0])) == digest
    assert _manifest_requests(bad) == ["HEAD", "GET"]


TYPES: tuple[tuple[dict[str, list[str] | str], str, str], ...] = (
    ({"mediaType": DOCKER_LIST, "manifests": []}, "application/json", DOCKER_LIST),
    ({"manifests": []}, "", "application/vnd.oci.image.index.v1+json"),
    ({"layers": []}, "text/plain", MANIFEST),
    ({"layers": []}, f"{DOCKER_LIST}; charset=utf-8", DOCKER_LIST),
)


@pytest.mark.parametrize(("document", "said", "meant"), TYPES)
def test_types(
    source: Registries,
    bad: BadRegistry,
    document: dict[str, list[str] | str],
    said: str,
    meant: str,
) -> None:
    bad.documents["latest"] = (said, json_of(document))
    bad.order(Fault("manifest", headers(Docker_Content_Digest=None), method="HEAD"))
    assert source.resolve(f"{bad.host}/app", Auth()).target.media_type == meant


LIES: tuple[tuple[str, list[Fault], type[LongshoreError], str], ...] = (
    ("HEAD of another digest",
     [Fault("manifest", headers(Docker_Content_Digest=OTHER), method="HEAD")],
     ImageSourceFailed, f"answers with {OTHER} when asked for sha256:"),
    ("GET of another digest",
     [Fault("manifest", status(404), method="HEAD"),
      Fault("manifest", headers(Docker_Content_Digest=OTHER))],
     ImageSourceFailed, f"says {OTHER} of a document that is sha256:"),
    ("another document",
     [Fault("manifest", status(404), method="HEAD"),
      Fault("manifest", body(lambda _: b"{}")),
      Fault("manifest", headers(Docker_Content_Digest=None))],
     ImageSourceFailed, "answers with sha256:"),
)  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=[name for name, *_ in LIES])
def test_a_digest_binds(
    source: Registries,
    bad: BadRegistry,
    lie: tuple[str, list[Fault], type[LongshoreError], str],
) -> None:
    digest = bad.serve(good("bound"), "latest")
    bad.order(*(Fault(one.kind, one.change, method=one.method) for one in lie[1]))
    with pytest.raises(lie[2], match=re.escape(lie[3])):
        source.resolve(f"{bad.host}/app@{digest}", Auth())


def test_a_target_that_is_not_what_head_said(source: Registries, bad: BadRegistry) -> None:
    bad.serve(good("said"), "latest")
    bad.order(Fault("manifest", body(lambda right: right + b" ")))
    with pytest.raises(ImageSourceFailed, match="answers with other bytes for sha256:"):
        pull(source, f"{bad.host}/app")


def test_a_target_that_is_gone_again(source: Registries, bad: BadRegistry) -> None:
    bad.serve(good("gone"), "latest")
    bad.order(Fault("manifest", status(404)))
    with pytest.raises(ImageSourceFailed, match="does not have sha256:") as caught:
        pull(source, f"{bad.host}/app")
    assert type(caught.value) is ImageSourceFailed


def test_a_config_that_is_not_its_digest(source: Registries, bad: BadRegistry) -> None:
    layout = good("config")
    bad.serve(layout, "latest")
    config = descriptor(manifest_of(layout)["config"])
    bad.blobs[config.digest] = b"x" * config.size
    with source.resolve(f"{bad.host}/app", Auth()).open(Watching()) as content:
        with pytest.raises(BadImage, match=f"other bytes for {config.digest}"):
            content.read(config)
        bad.order(Fault("blob", status(404)))
        with pytest.raises(ImageSourceFailed, match=f"does not have {config.digest}"):
            content.read(config)


def test_a_document_is_not_read_beyond_what_documents_have(
    source: Registries, bad: BadRegistry
) -> None:
    bad.documents["latest"] = (MANIFEST, b" " * (8 * 2**20 + 1))
    found = source.resolve(f"{bad.host}/app", Auth())
    with (
        found.open(Watching()) as content,
        pytest.raises(BadImage, match="are the most for a document"),
    ):
        content.read(found.target)
    bad.order(Fault("manifest", status(404), method="HEAD"))
    with pytest.raises(ImageSourceFailed, match="answered with more than 8388608 bytes"):
        source.resolve(f"{bad.host}/app", Auth())


def test_schema_1(source: Registries, bad: BadRegistry) -> None:
    bad.documents["latest"] = (SCHEMA1, json.dumps({"schemaVersion": 1}).encode())
    with pytest.raises(BadImage, match=r"Docker's first format \(schema 1\)") as caught:
        source.resolve(f"{bad.host}/app", Auth())
    assert caught.value.hint == "pull and push it once with a newer Docker"


@pytest.mark.parametrize(
    "document", [b"<html>", b"[]", b'{"mediaType": "text/x"}', b'{"errors": []}', b"[" * 99999]
)
def test_what_is_no_image(source: Registries, bad: BadRegistry, document: bytes) -> None:
    bad.documents["latest"] = ("text/html", document)
    with pytest.raises(BadImage):
        source.resolve(f"{bad.host}/app", Auth())


STATUSES = (
    (error(404, "MANIFEST_UNKNOWN", "manifest unknown"), ImageNotFound,
     "has no such image in that repository (status 404, MANIFEST_UNKNOWN: manifest unknown)", 1),
    (error(404, "NAME_UNKNOWN", "unknown"), ImageNotFound,
     "has no such repository (status 404, NAME_UNKNOWN: unknown)", 1),
    (status(404, b"<html>"), ImageNotFound, "does not have it (status 404)", 1),
    (error(403, "DENIED", "by policy"), ImageSourceDenied,
     "forbids it (status 403, DENIED: by policy)", 1),
    (error(400, "UNSUPPORTED", ""), ImageSourceFailed, "refused it (status 400, UNSUPPORTED)", 1),
    (status(418, b'{"errors": [{"code": 1, "message": "x"}]}'), ImageSourceFailed,
     "refused it (status 418)", 1),
    (error(429, "TOOMANYREQUESTS", "slow down"), ImageSourceUnavailable,
     "has had too many requests (status 429, TOOMANYREQUESTS: slow down)", 5),
    (status(500), ImageSourceUnavailable, "refused it (status 500)", 5),
    (status(501), ImageSourceFailed, "refused it (status 501)", 1),
    (status(503, b'{"errors": [null]}'), ImageSourceUnavailable, "refused it (status 503)", 5),
    (status(522), ImageSourceUnavailable, "refused it (status 522)", 5),
    (cut(-1), ImageSourceUnavailable, "does not answer: the connection broke off", 5),
    (cut(10), ImageSourceUnavailable, "does not answer: the connection broke off", 5),
    (headers(Location="x"), None, "", 1),
    (status(301), ImageSourceFailed, "sent us to an address that is none", 1),
    (status(301, Location="ftp://x/"), ImageSourceFailed, "sent us to an address that is none", 1),
    (status(301, Location="https://a:b/"), ImageSourceFailed, "address that is none", 1),
    (status(301, Location="https://me:word@a/"), ImageSourceFailed, "address that is none", 1),
    (status(301, Location="latest"), ImageSourceFailed, "sent us on 10 times", 10),
    (status(301, Location="https://127.0.0.1:1/?secret"), ImageSourceUnavailable,
     "127.0.0.1:1, where registry HOST sent us, does not answer: connection refused", 5),
)  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "why", "tries"), STATUSES)
def test_statuses(
    source: Registries,
    bad: BadRegistry,
    change: Change,
    kind: type[LongshoreError] | None,
    why: str,
    tries: int,
) -> None:
    bad.serve(good("statuses"), "latest")
    bad.order(Fault("manifest", status(404), method="HEAD"), Fault("manifest", change))
    if kind is None:
        source.resolve(f"{bad.host}/app", Auth())
    else:
        with pytest.raises(kind) as caught:
            source.resolve(f"{bad.host}/app", Auth())
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"cannot pull {bad.host}/app:latest: ")
        assert why.replace("HOST", bad.host) in str(caught.value)
        assert caught.value.object == f"{bad.host}/app:latest"
        assert "secret" not in str(caught.value.to_dict())
    assert bad.count("manifest") == tries


WAITS = (
    (status(503), 3, [0.5, 1.0, 2.0]),
    (status(503, Retry_After="7"), 2, [7.0, 7.0]),
    (status(429, Retry_After="Wed, 01 Jan 2020 00:00:00 GMT"), 1, [0.5]),
    (status(429, Retry_After="soon"), 1, [0.5]),
    (status(429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"), 1, [60.0]),
    (status(429, Retry_After="99999999999999999999"), 1, [60.0]),
)


@pytest.mark.parametrize(("change", "times", "waits"), WAITS)
def test_what_may_pass_is_waited_for(
    tmp_path: Path,
    authority: Authority,
    bad: BadRegistry,
    change: Change,
    times: int,
    waits: list[float],
) -> None:
    digest, ticks = bad.serve(good("waits"), "latest"), Ticks()
    bad.order(Fault("manifest", change, times=times, method="HEAD"))
    source = registries(tmp_path, settings_of(bad.host, authority.pem), ticks)
    began = ticks.at
    assert source.resolve(f"{bad.host}/app", Auth()).key == digest
    assert ticks.at - began == pytest.approx(sum(waits))
    assert max(ticks.slept) <= 0.5  # and looks up meanwhile


def test_a_wait_ends_at_the_deadline(
    tmp_path: Path, authority: Authority, bad: BadRegistry
) -> None:
    ticks = Ticks()
    bad.order(Fault("manifest", status(503, Retry_After="60"), method="HEAD"))
    settings = settings_of(bad.host, authority.pem)
    source = registries(tmp_path, settings, ticks, pull_timeout=10.0)
    with pytest.raises(ImageSourceUnavailable, match="it took longer than it may"):
        source.resolve(f"{bad.host}/app", Auth())
    assert bad.count("manifest", "HEAD") == 1
    assert sum(ticks.slept) == pytest.approx(10.0)


def test_a_wait_is_called_off(source: Registries, bad: BadRegistry) -> None:
    bad.order(Fault("manifest", status(503, Retry_After="60"), method="HEAD"))
    with pytest.raises(PullCancelled):
        source.resolve(f"{bad.host}/app", Auth(), Watching(PullCancelled("gone"), after=5))


def test_the_agents_end_ends_it(source: Registries, bad: BadRegistry) -> None:
    digest = bad.serve(good("ends"), "latest")
    found = source.resolve(f"{bad.host}/app", Auth())
    source.stop()
    with pytest.raises(Interrupted, match="the agent stops"):
        source.resolve(f"{bad.host}/app", Auth())
    with found.open(Watching()) as content, pytest.raises(Interrupted, match="the agent stops"):
        content.read(content.candidates[0])
    assert found.key == digest


BAD_NAMES = ("App", "app:", "host:port/app", "-", "a//b", "app@sha256:00")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(source: Registries, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        source.check(name, Auth())
    assert caught.value.field == "image"


@pytest.fixture
def mirrors(certificate: Certificate) -> Iterator[list[BadRegistry]]:
    with BadRegistry() as plain, BadRegistry(certificate) as safe:
        yield [plain, safe]


def _mirrored(
    folder: Path, authority: Authority, bad: BadRegistry, mirrors: list[BadRegistry]
) -> Registries:
    urls = json.dumps([one.url for one in mirrors])
    settings = settings_of(bad.host, authority.pem, f"mirrors = {urls}")
    return registries(folder, settings + settings_of(mirrors[1].host, authority.pem), Ticks())


def test_mirrors_go_first(
    tmp_path: Path, authority: Authority, bad: BadRegistry, mirrors: list[BadRegistry]
) -> None:
    mirrors[0].serve(good("mirrored"), "latest")
    source = _mirrored(tmp_path, authority, bad, mirrors)
    assert len(pull(source, f"{bad.host}/app")) == 4
    assert (mirrors[1].seen, bad.seen) == ([], [])


def test_mirrors_in_their_order_and_then_the_registry(
    tmp_path: Path, authority: Authority, bad: BadRegistry, mirrors: list[BadRegistry]
) -> None:
    """The first has nothing, the second lacks blobs, and lies about one."""
    layout = good("ordered")
    for one in (mirrors[1], bad):
        one.serve(layout, "latest")
    manifest = manifest_of(layout)
    del mirrors[1].blobs[manifest["config"]["digest"]]
    mirrors[1].blobs[manifest["layers"][0]["digest"]] += b"more"
    source = _mirrored(tmp_path, authority, bad, mirrors)
    found = pull(source, f"{bad.host}/app")
    assert all(digest_of(content) == digest for digest, content in found.items())
    assert mirrors[0].count("blob") == 3
    assert mirrors[1].count("blob") == 3
    assert bad.count("blob") == 2
    assert bad.count("manifest", "HEAD") == 0


def test_nobody_has_it(
    tmp_path: Path, authority: Authority, bad: BadRegistry, mirrors: list[BadRegistry]
) -> None:
    mirrors[0].order(Fault("manifest", status(503), method="HEAD"))
    source = _mirrored(tmp_path, authority, bad, mirrors)
    with pytest.raises(ImageNotFound, match=f"registry {bad.host} has no such image") as caught:
        pull(source, f"{bad.host}/app")
    told = caught.value.details["mirrors"]
    assert [one.partition(": ")[2] for one in told] == [
        f"mirror {mirrors[0].host} refused it (status 503)",
        f"mirror {mirrors[1].host} has no such image in that repository "
        "(status 404, MANIFEST_UNKNOWN: manifest unknown)",
    ]
    assert mirrors[0].count("manifest", "HEAD") == 2


def test_a_mirror_is_told_which_registry_is_meant(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    """And sees nothing of the registry's credential."""
    with BadRegistry(certificate, "bearer") as mirror:
        mirror.serve(good("told"), "latest")
        settings = (
            f'[registry."docker.io"]\nmirrors = ["{mirror.url}"]\ncredential = "hub"\n'
            f'[credential.hub]\nregistry = "docker.io"\nusername = "u"\npassword = "of-hub"\n'
        )
        source = registries(tmp_path, settings + settings_of(mirror.host, authority.pem))
        found = source.resolve("busybox", Auth())
        assert found.name == "docker.io/library/busybox:latest"
        tokens = [request.auth for request, _ in mirror.seen if request.kind == "token"]
        assert tokens == [""]


URLS = (
    ("https://m.example", "https://m.example/v2"),
    ("https://m.example/prefix", "https://m.example/prefix/v2"),
    ("https://m.example/v2", "https://m.example/v2"),
    ("https://m.example/v2/hub", "https://m.example/v2/hub"),
    ("http://m.example:5000", "http://m.example:5000/v2"),
)


@pytest.mark.parametrize(("url", "api"), URLS)
def test_where_a_mirror_is_reached(tmp_path: Path, url: str, api: str) -> None:
    source = registries(tmp_path, f'[registry."docker.io"]\nmirrors = ["{url}"]\n')
    places = source.repositories(parse("busybox"), Auth(), None, what="pull it")
    assert [place.endpoint.url for place in places] == [api, "https://registry-1.docker.io/v2"]
    assert [place.endpoint.namespace for place in places] == ["docker.io", None]
    push = source.repositories(parse("busybox"), Auth(), None, what="push", actions="pull,push")
    assert [place.endpoint.namespace for place in push] == [None]


@pytest.mark.parametrize(
    ("lines", "url"),
    [("", "https://127.0.0.1:5000/v2"), ("plain_http = true", "http://127.0.0.1:5000/v2")],
)
def test_loopback_is_not_plain_by_itself(tmp_path: Path, lines: str, url: str) -> None:
    source = registries(tmp_path, f'[registry."127.0.0.1:5000"]\n{lines}\n')
    [place] = source.repositories(parse("127.0.0.1:5000/x"), Auth(), None, what="pull it")
    assert place.endpoint.url == url
