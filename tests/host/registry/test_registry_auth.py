"""Who we say we are: challenges, tokens, and where neither goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.bad_images import good
from bench.lab.bad_registry import BadRegistry
from bench.lab.certificates import Authority, Certificate
from bench.lab.faults import Answer, Fault, Request, error, headers, redirect, status
from bench.lab.image import busybox_archive
from bench.lab.registry import PrivateRegistry
from bench.lab.token_server import PASSWORD, REFRESH_TOKEN, USER, TokenServer
from host.registry.reading import Ticks, pull, registries, settings_of
from longshore.errors import (
    ImageSourceDenied,
    ImageSourceFailed,
    ImageSourceUnavailable,
    InvalidRequest,
    LongshoreError,
)
from longshore.host.registry.auth import Challenge, challenges
from longshore.host.registry.refusal import Task, refused
from longshore.model.transfer import Auth, Credential

CAPTAIN = Auth(Credential(USER, PASSWORD))

CHALLENGES: tuple[tuple[list[str], list[Challenge]], ...] = (
    ([], []),
    (['Basic realm="a"'], [Challenge("basic", {"realm": "a"})]),
    (["Basic"], [Challenge("basic", {})]),
    (['BEARER Realm="https://a/t?x=1,2",service="s",scope="repository:a/b:pull,push"'],
     [Challenge("bearer", {"realm": "https://a/t?x=1,2", "service": "s",
                           "scope": "repository:a/b:pull,push"})]),
    (['Basic realm="a", Bearer realm="b" , service=plain'],
     [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b", "service": "plain"})]),
    (['Negotiate', 'Basic realm="x \\"y\\" z"'],
     [Challenge("negotiate", {}), Challenge("basic", {"realm": 'x "y" z'})]),
    (["=;,"], []),
)  # fmt: skip


@pytest.mark.parametrize(("values", "found"), CHALLENGES)
def test_challenges(values: list[str], found: list[Challenge]) -> None:
    assert challenges(values) == found


@pytest.fixture(scope="module")
def tokens(authority: Authority) -> Iterator[TokenServer]:
    signer, tls = authority.issue("auth-signer", rsa=True), authority.issue("auth-tokens")
    with TokenServer(signer, tls) as server:
        yield server


@pytest.fixture(scope="module")
def by_token(
    authority: Authority,
    certificate: Certificate,
    tokens: TokenServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PrivateRegistry]:
    folder = tmp_path_factory.mktemp("by-token")
    archive = busybox_archive(folder / "busybox.tar")
    with PrivateRegistry(folder, tls=certificate, ca=authority.pem, tokens=tokens) as registry:
        for name in ("library/busybox:1", "private/busybox:1"):
            registry.push(archive, name)
        yield registry


@pytest.fixture(scope="module")
def by_password(
    authority: Authority, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateRegistry]:
    folder = tmp_path_factory.mktemp("by-password")
    with PrivateRegistry(folder, tls=certificate, ca=authority.pem, basic=True) as registry:
        registry.push(busybox_archive(folder / "busybox.tar"), "library/busybox:1")
        yield registry


def test_a_token_for_nobody_is_asked_for_once(
    tmp_path: Path, by_token: PrivateRegistry, tokens: TokenServer
) -> None:
    before = len(tokens.asked)
    source = registries(tmp_path, by_token.settings)
    name = f"{by_token.host}/library/busybox:1"
    assert len(pull(source, name)) == 3
    assert len(pull(source, name)) == 3
    assert tokens.asked[before:] == ["repository:library/busybox:pull"]


@pytest.mark.parametrize(
    "auth", [CAPTAIN, Auth(Credential(token=REFRESH_TOKEN))], ids=["password", "refresh token"]
)
def test_a_token_for_who_we_are(tmp_path: Path, by_token: PrivateRegistry, auth: Auth) -> None:
    source = registries(tmp_path, by_token.settings)
    name = f"{by_token.host}/private/busybox:1"
    assert len(pull(source, name, auth)) == 3
    with pytest.raises(ImageSourceDenied) as caught:
        pull(source, name)
    assert str(caught.value) == (
        f"cannot pull {name}: registry {by_token.host} does not let us, or has no such repository"
    )
    assert caught.value.object == name


def test_a_token_of_ones_own_goes_straight_to_the_registry(
    tmp_path: Path, by_token: PrivateRegistry, tokens: TokenServer
) -> None:
    own = tokens.issue("repository:private/busybox:pull", USER)["token"]
    before = len(tokens.asked)
    source = registries(tmp_path, by_token.settings)
    name = f"{by_token.host}/private/busybox:1"
    assert len(pull(source, name, Auth(Credential(token=own)))) == 3
    assert tokens.asked[before:] == []


def test_a_token_that_has_run_out_is_renewed(
    tmp_path: Path, by_token: PrivateRegistry, tokens: TokenServer
) -> None:
    before = len(tokens.asked)
    tokens.stale = 1
    source = registries(tmp_path, by_token.settings)
    assert len(pull(source, f"{by_token.host}/library/busybox:1")) == 3
    assert len(tokens.asked) - before == 2


def test_a_token_is_renewed_by_the_clock(
    tmp_path: Path, by_token: PrivateRegistry, tokens: TokenServer
) -> None:
    before, ticks = len(tokens.asked), Ticks()
    source = registries(tmp_path, by_token.settings, ticks)
    name = f"{by_token.host}/library/busybox:1"
    for later in (0.0, tokens.lifetime - 6.0, 2.0):
        ticks.at += later
        pull(source, name)
    assert len(tokens.asked) - before == 2


def test_a_wrong_password_for_a_token(tmp_path: Path, by_token: PrivateRegistry) -> None:
    source = registries(tmp_path, by_token.settings)
    with pytest.raises(ImageSourceDenied, match=r"token server 127.* wants other credentials"):
        pull(source, f"{by_token.host}/library/busybox:1", Auth(Credential(USER, "wrong-word")))


def test_a_password(tmp_path: Path, by_password: PrivateRegistry) -> None:
    source = registries(tmp_path, by_password.settings)
    name = f"{by_password.host}/library/busybox:1"
    pull(source, name, CAPTAIN)
    refused = [one for one in by_password.requests() if (one.method, one.status) == ("HEAD", 401)]
    assert len(pull(source, name, CAPTAIN)) == 3
    again = [one for one in by_password.requests() if (one.method, one.status) == ("HEAD", 401)]
    assert refused == again  # it knows by now what is wanted
    with pytest.raises(ImageSourceDenied, match="wants a user's name and password") as caught:
        pull(source, name)
    assert "credential" in str(caught.value.hint)
    with pytest.raises(ImageSourceDenied, match="does not know this user and password"):
        pull(source, name, Auth(Credential(USER, "wrong-word")))


def test_credentials_of_the_node(tmp_path: Path, by_password: PrivateRegistry) -> None:
    host, secret = by_password.host, tmp_path / "secret"
    secret.write_text("wrong-word\n")
    credential = f'registry = "{host}"\nusername = "{USER}"'
    source = registries(
        tmp_path,
        f'{by_password.settings}credential = "own"\n'
        f'[credential.own]\n{credential}\npassword_file = "{secret}"\n'
        f'[credential.other]\n{credential}\npassword = "{PASSWORD}"\n'
        f'[credential.far]\nregistry = "quay.io"\ntoken = "far"\n',
    )
    name = f"{host}/library/busybox:1"
    assert len(pull(source, name, Auth(name="other"))) == 3
    with pytest.raises(ImageSourceDenied):
        pull(source, name)
    secret.write_text(f"{PASSWORD}\n")
    assert len(pull(source, name)) == 3
    for unfit, why in (("far", "'far' is for quay.io"), ("x", "'x' is none of this node's")):
        with pytest.raises(InvalidRequest, match=why) as caught:
            source.check(name, Auth(name=unfit))
        assert caught.value.field == "image_credential"
    source.check(name, Auth(name="other"))


def test_nobody_else_sees_the_password(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    """Not by a redirect to another host, and not on the next port either."""
    with BadRegistry(certificate, "basic") as near, BadRegistry(certificate) as far:
        near.serve(good("redirected"), "latest")
        far.serve(good("redirected"), "latest")
        near.order(Fault("blob", redirect(far.url)))
        source = registries(tmp_path, settings_of(near.host, authority.pem))
        assert len(pull(source, f"{near.host}/app", CAPTAIN)) == 4
    assert far.count("blob") == 3
    assert {request.auth for request, _ in far.seen} == {""}
    assert all(request.auth for request, found in near.seen if found == 200)


def test_a_redirect_to_the_registry_itself_keeps_it(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    with BadRegistry(certificate, "basic") as near:
        near.serve(good("inside"), "latest")
        near.order(Fault("blob", redirect(near.url), times=1))
        source = registries(tmp_path, settings_of(near.host, authority.pem))
        assert len(pull(source, f"{near.host}/app", CAPTAIN)) == 4


def test_a_redirect_away_from_tls_is_refused(
    tmp_path: Path, authority: Authority, bad: BadRegistry
) -> None:
    bad.serve(good("plain"), "latest")
    with BadRegistry() as plain:
        bad.order(Fault("blob", redirect(plain.url)))
        source = registries(tmp_path, settings_of(bad.host, authority.pem))
        with pytest.raises(ImageSourceFailed, match="sent us on to a place without TLS"):
            pull(source, f"{bad.host}/app")
        assert plain.seen == []


def _bearer(realm: str) -> Fault:
    challenge = f'Bearer realm="{realm}"'
    return Fault("manifest", error(401, "UNAUTHORIZED", WWW_Authenticate=challenge), method="HEAD")


REALMS = (
    ("http://127.0.0.1:1/token", "wants our credentials sent to 127.0.0.1:1 without TLS"),
    ("https://me:word@127.0.0.1/token", "names no server for tokens"),
    ("/token", "names no server for tokens"),
    ("https://[::1/token", "names no server for tokens"),
    ("", "names no server for tokens"),
)


@pytest.mark.parametrize(("realm", "why"), REALMS)
def test_a_realm_that_is_none(
    tmp_path: Path, authority: Authority, bad: BadRegistry, realm: str, why: str
) -> None:
    bad.order(_bearer(realm))
    source = registries(tmp_path, settings_of(bad.host, authority.pem))
    with pytest.raises(ImageSourceFailed, match=re.escape(why)) as caught:
        pull(source, f"{bad.host}/app", CAPTAIN)
    assert PASSWORD not in str(caught.value.to_dict())


def _token_server(source: str, of: str) -> str:
    return source + f'token_server = "{of}"\n'


@pytest.mark.parametrize("path", ["", "/", "/token"])
def test_the_token_server_that_the_node_means(
    tmp_path: Path, by_token: PrivateRegistry, tokens: TokenServer, path: str
) -> None:
    means = tokens.realm.removesuffix("/token") + path
    source = registries(tmp_path, _token_server(by_token.settings, means))
    assert len(pull(source, f"{by_token.host}/private/busybox:1", CAPTAIN)) == 3


#: The token server that the node means, and the one that the registry names.
ELSEWHERE = (
    ("https://127.0.0.1:1", "{url}/token"),
    ("https://localhost:{port}", "{url}/token"),
    ("http://127.0.0.1:{port}", "{url}/token"),
    ("{url}/auth", "{url}/token"),
    ("{url}/auth", "{url}/auth/../token"),
    ("{url}/auth", "{url}/auth/token"),
    ("{url}", "https://127.0.0.1:99999/token"),
)


@pytest.mark.parametrize(("means", "realm"), ELSEWHERE)
@pytest.mark.parametrize(
    "auth", [CAPTAIN, Auth(Credential(token=REFRESH_TOKEN))], ids=["password", "refresh token"]
)
def test_another_token_server_than_the_node_means(
    tmp_path: Path, authority: Authority, bad: BadRegistry, auth: Auth, means: str, realm: str
) -> None:
    """It is told nothing at all."""
    parts = {"url": bad.url, "port": bad.url.rpartition(":")[2]}
    means, realm = means.format(**parts), realm.format(**parts)
    bad.order(_bearer(realm))
    settings = settings_of(bad.host, authority.pem)
    source = registries(tmp_path, _token_server(settings, means))
    with pytest.raises(ImageSourceDenied, match=f"is not its token server {means}$") as caught:
        pull(source, f"{bad.host}/app", auth)
    assert caught.value.hint is not None
    assert "`token_server`" in caught.value.hint
    assert bad.count("token") == 0
    assert PASSWORD not in str(caught.value.to_dict())


ANSWERS = (
    (status(200, b"<html>"), ImageSourceFailed, "has a server for tokens that gives none", 1),
    (status(200, b'{"token": 5}'), ImageSourceFailed, "gives none", 1),
    (status(200, b'{"token": "a\\nb"}'), ImageSourceFailed, "gives none", 1),
    (status(200, b"[" * 100_000), ImageSourceFailed, "gives none", 1),
    (status(200, b"x" * 2_000_000), ImageSourceFailed, "answered with more than 1048576", 1),
    (status(404), ImageSourceFailed, "is not where the registry says that it is", 1),
    (status(302, Location="https://127.0.0.1:1/"), ImageSourceFailed, "(status 302)", 1),
    (error(403, "DENIED", "go away"), ImageSourceDenied, "(status 403, DENIED: go away)", 1),
    (status(503), ImageSourceUnavailable, "(status 503)", 5),
)


@pytest.mark.parametrize(("change", "kind", "why", "tries"), ANSWERS)
def test_a_bad_token_server(
    tmp_path: Path,
    authority: Authority,
    certificate: Certificate,
    change: object,
    kind: type[LongshoreError],
    why: str,
    tries: int,
) -> None:
    with BadRegistry(certificate, "bearer") as bad:
        bad.serve(good("tokens"), "latest")
        bad.order(Fault("token", change))  # type: ignore[arg-type]  # a table's column
        source = registries(tmp_path, settings_of(bad.host, authority.pem), Ticks())
        with pytest.raises(kind, match=re.escape(why)) as caught:
            pull(source, f"{bad.host}/app", CAPTAIN)
        assert type(caught.value) is kind
        assert (bad.count("token"), bad.count("manifest", "HEAD")) == (tries, 1)


def test_a_registry_that_does_not_take_its_own_tokens(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    with BadRegistry(certificate, "bearer") as bad:
        challenge = f'Bearer realm="{bad.url}/token"'
        refusing = error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
        bad.order(Fault("manifest", refusing, method="HEAD"))
        source = registries(tmp_path, settings_of(bad.host, authority.pem), Ticks())
        with pytest.raises(ImageSourceDenied, match=r"wants other credentials \(status 401\)"):
            pull(source, f"{bad.host}/app")
        assert bad.count("token") == 2


def test_no_known_way_to_say_who_we_are(
    tmp_path: Path, authority: Authority, bad: BadRegistry
) -> None:
    bad.order(Fault("manifest", error(401, "X", WWW_Authenticate="Negotiate"), method="HEAD"))
    source = registries(tmp_path, settings_of(bad.host, authority.pem))
    with pytest.raises(ImageSourceFailed, match="wants authentication by negotiate"):
        pull(source, f"{bad.host}/app", CAPTAIN)


def test_what_we_sent_is_not_in_an_error(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    """A registry may say it back to us; it may not say it to our users."""
    with BadRegistry(certificate, "bearer") as bad:
        bad.serve(good("echo"), "latest")

        def told(request: Request, answer: Answer) -> Answer:
            text = f"you are {USER}:{PASSWORD} by {request.auth}\nsecond line\x1b[0m"
            return error(400, "ODD", text)(request, answer)

        bad.order(Fault("blob", told))
        source = registries(tmp_path, settings_of(bad.host, authority.pem))
        with pytest.raises(ImageSourceFailed) as caught:
            pull(source, f"{bad.host}/app", CAPTAIN)
    assert str(caught.value).endswith(
        f"registry {bad.host} refused it (status 400, ODD: you are {USER}:… by Bearer …)"
    )
    assert PASSWORD not in str(caught.value.to_dict())


LONG = "correct-horse-" * 8
ECHOES = (
    (LONG, "", "(status 400, …)"),
    (f"you:{LONG}", "", "(status 400, you:…)"),
    (f"{'x' * 30}{LONG}", "", f"(status 400, {'x' * 30}…)"),
    ("x" * 50, "", f"(status 400, {'x' * 40})"),
    ("ODD", "y" * 190 + LONG, f"(status 400, ODD: {'y' * 190}…)"),
    ("ODD", LONG[:20] + "\x1b\x00" + LONG[20:], "(status 400, ODD: …)"),
    ("ODD", f"{LONG}-and-more, {LONG}", "(status 400, ODD: …, …)"),
)


@pytest.mark.parametrize(("code", "message", "shown"), ECHOES)
def test_a_secret_is_not_shown_in_part(code: str, message: str, shown: str) -> None:
    """Neither what is cut off nor what is left out makes it unrecognisable."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    secrets = ["horse", LONG, f"{LONG}-and-more"]
    failure = refused(Task("pull x", "x"), "registry r", 400, body, secrets)
    assert str(failure) == f"cannot pull x: registry r refused it {shown}"


def test_an_unasked_for_header_is_no_password(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    """A password goes nowhere before the registry has asked for it in this way."""
    with BadRegistry(certificate) as bad:
        bad.serve(good("unasked"), "latest")
        bad.order(Fault("manifest", headers(WWW_Authenticate='Basic realm="x"')))
        source = registries(tmp_path, settings_of(bad.host, authority.pem))
        pull(source, f"{bad.host}/app", CAPTAIN)
        assert {request.auth for request, _ in bad.seen} == {""}


@pytest.mark.parametrize("token", ["a\r\nX: y", "caf\u00e9", " \x00"])
def test_a_token_that_fits_no_header(tmp_path: Path, token: str) -> None:
    source = registries(tmp_path, "")
    with pytest.raises(InvalidRequest, match="a character that is not allowed") as caught:
        source.check("busybox", Auth(Credential(token=token)))
    assert token not in str(caught.value.to_dict())
