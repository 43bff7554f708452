"""Who the node is to Keystone, tokens that end, and neighbours that are away."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.lab.openstack import ADMIN_PASSWORD, NODE_PASSWORD, PrivateOpenStack
from host.glance.kit import (
    NOBODY,
    Clock,
    Recorder,
    failure,
    glance_of,
    pull,
    refusal,
    settings_of,
)
from host.glance.proxy import GlanceProxy
from longshore.errors import InvalidRequest
from longshore.host.glance.api import SILENCE
from longshore.host.glance.settings import settings
from longshore.host.glance.source import Glance
from longshore.host.sources import Sources
from longshore.model.reference import GLANCE
from longshore.model.transfer import Auth, Credential

KEYSTONE = "http://keystone.example.org:5000"


def test_a_wrong_password(cloud: PrivateOpenStack, spool: Path, clock: Clock, web: str) -> None:
    node = glance_of(cloud, spool, clock, password="not the one")
    error = refusal(node, web)
    assert error.code == "image_source_denied"
    assert "not the one" not in str(error.to_dict())
    assert "Keystone" in error.message
    assert "[glance]" in str(error.hint)


def test_a_project_that_it_is_not_in(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, web: str
) -> None:
    node = glance_of(cloud, spool, clock, project_name="admin")
    assert refusal(node, web).code == "image_source_denied"


def test_an_application_credential(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, web: str
) -> None:
    made = cloud.openstack(
        "application", "credential", "create", "--secret", "shared", "node", "-f", "json"
    )
    options = {
        "username": None,
        "password": None,
        "application_credential_id": made.get("id") or made["ID"],
    }
    node = glance_of(cloud, spool, clock, application_credential_secret="shared", **options)
    assert pull(node, web)
    wrong = glance_of(cloud, spool, clock, application_credential_secret="guessed", **options)
    error = refusal(wrong, web)
    assert error.code == "image_source_denied"
    assert "guessed" not in str(error.to_dict())


def test_a_token_that_ended_is_renewed(
    cloud: PrivateOpenStack, behind: Glance, proxy: GlanceProxy, web: str
) -> None:
    source = behind.resolve(f"{GLANCE}{web}", NOBODY)
    first = proxy.asked[-1].token
    assert first is not None
    cloud.revoke(first)
    with source.open(Recorder()) as content:
        assert content.candidates
    second = proxy.asked[-1].token
    assert second != first
    assert [one.token for one in proxy.requests("/file")] == [first, second]


def test_a_token_of_the_request(
    cloud: PrivateOpenStack, glance: Glance, spool: Path, archive: bytes
) -> None:
    private = cloud.upload("the admin's own", archive, visibility="private")
    admin = Auth(Credential(token=cloud.new_token("admin", ADMIN_PASSWORD, "admin")))
    assert refusal(glance, private).code == "image_not_found"
    assert glance.resolve(f"{GLANCE}{private}", admin).name == f"{GLANCE}{private}"
    wrong = Auth(Credential(token="no token at all"))
    error = refusal(glance, private, wrong)
    assert error.code == "image_source_denied"
    assert "no token at all" not in str(error.to_dict())
    assert "the request's token" in error.message


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (Auth(name="hub"), "image_credential"),
        (Auth(Credential("user", "secret word")), "credential"),
    ],
)
def test_a_registrys_credentials_are_refused(glance: Glance, auth: Auth, field: str) -> None:
    error = failure(lambda: glance.check("glance://web", auth))
    assert (error.code, error.field) == ("invalid_request", field)
    assert "secret word" not in str(error.to_dict())


def test_a_neighbour_that_is_down_is_asked_once_in_a_while(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, web: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for option, service in (("auth_url", "Keystone"), ("endpoint_override", "Glance")):
        options: dict[str, Any] = {option: address}
        node = glance_of(cloud, spool, clock, **options)
        clock.slept.clear()
        first, second = refusal(node, web), refusal(node, web)
        assert first.code == second.code == "image_source_unavailable"
        assert f"{service} ({address}" in first.message
        assert "does not answer: Connection refused" in first.message
        assert "not asked again" in second.message
        assert len(clock.slept) == 2
        clock.time += SILENCE + 1
        assert (
            "not asked again"
            not in failure(
                lambda one=node: one.resolve(f"{GLANCE}{web}", NOBODY)  # type: ignore[misc]  # as above
            ).message
        )


def test_one_that_takes_the_connection_and_says_nothing(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, web: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        node = glance_of(cloud, spool, clock, auth_url=address, timeout=0.2)
        error = refusal(node, web)
    assert error.code == "image_source_unavailable"
    assert "in time" in error.message
    assert clock.slept == []


@pytest.mark.parametrize("service", ["keystone", "glance"])
def test_a_crash_and_what_comes_after(
    cloud: PrivateOpenStack, glance: Glance, clock: Clock, web: str, service: str
) -> None:
    assert pull(glance, web)
    cloud.kill(service)
    try:
        if service == "glance":
            # Its own connection was kept, and is broken now.
            error = refusal(glance, web)
            assert error.code == "image_source_unavailable"
    finally:
        cloud.start_service(service)
    clock.time += SILENCE + 1
    assert pull(glance, web)


def test_a_server_that_is_no_keystone(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, web: str
) -> None:
    node = glance_of(cloud, spool, clock, auth_url=cloud.glance_url)
    assert refusal(node, web).code == "image_source_failed"


@pytest.mark.parametrize("options", [{"region_name": "there"}, {"valid_interfaces": ["admin"]}])
def test_a_catalogue_without_glance(
    cloud: PrivateOpenStack, spool: Path, clock: Clock, options: dict[str, Any]
) -> None:
    node = glance_of(cloud, spool, clock, **options)
    error = refusal(node, "web")
    assert error.code == "image_source_failed"
    assert "no image service" in error.message


BAD = (
    ({"auth_url": "keystone:5000"}, "auth_url"),
    ({"auth_url": "http://user:secret@keystone:5000"}, "auth_url"),
    ({"auth_url": "http://["}, "auth_url"),
    ({"endpoint_override": "ftp://glance"}, "endpoint_override"),
    ({"username": None}, "username"),
    ({"password": None}, "password"),
    ({"application_credential_id": "abc"}, "username"),
    ({"username": None, "application_credential_id": "abc"}, "application_credential_secret"),
    ({"cafile": "/nowhere/ca.pem"}, "cafile"),
)


@pytest.mark.parametrize(("options", "option"), BAD)
def test_a_configuration_that_does_not_fit(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot use the configuration") as caught:
        settings_of(**{"auth_url": KEYSTONE, **options})
    assert caught.value.field == f"glance.{option}"
    assert "secret@" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (KEYSTONE, f"{KEYSTONE}/v3"),
        (f"{KEYSTONE}/v3", f"{KEYSTONE}/v3"),
        ("https://cloud/identity/", "https://cloud/identity/v3"),
    ],
)
def test_keystones_address_with_and_without_its_version(text: str, url: str) -> None:
    assert settings_of(text).auth_url == url


def test_secrets_are_not_in_the_text_of_settings() -> None:
    assert NODE_PASSWORD not in repr(settings_of(KEYSTONE))


def test_a_node_without_glance(glance: Glance) -> None:
    assert settings(SimpleNamespace(auth_url=None)) is None
    error = failure(lambda: Sources(glance, None).check("glance://web", NOBODY))
    assert error.code == "invalid_request"
    assert "no Glance configured" in error.message
